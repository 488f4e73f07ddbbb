"""Histories come in whole, once, and again only where they changed; what was changed here stays."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from loopwright.core.errors import Invalid, NotFound, PolicyBlocked
from loopwright.core.nouns import MetricPoint
from loopwright.engine.operation import Upload
from loopwright.loops.bringing import Asked, Report, source_key
from loopwright.loops.parcels import RunParcel, points_of, read_parcel, written
from loopwright.loops.recorded import bring_recorded
from loopwright.ports.histories import PastRun
from loopwright.registry import guarding, versions
from loopwright.tracking import intake, lifecycle
from loopwright.workspace import Workspace
from tests.loops.past import at_database, brought, compared, opened, store, workspace

KINDS = ["three", "two", "files"]


def _counts(report: Report, what: str) -> dict[str, int]:
    return {kind: count[what] for kind, count in report.counts.items() if count.get(what)}


def _runs(target: Workspace, name: str) -> list[Any]:
    with target.context().read() as tx:
        from loopwright.ports.ledger import PageRequest

        page = tx.runs.page("default", PageRequest(limit=1000), kind="run")
    return [run for run in page.items if run.name == name]


@pytest.mark.parametrize("kind", KINDS)
def test_a_history_comes_in_and_is_the_same(kind: str, tmp_path: Path) -> None:
    at = store(kind, tmp_path)
    with workspace(tmp_path) as target:
        report = brought(at, target)
        assert report.ok
        assert not report.problems
        assert report.counts["runs"] == {"found": 13, "new": 13}
        found = compared(at, target)
        assert found.differences == ()
        assert found.digest_there == found.digest_here
        assert found.there == found.here
        assert found.here["files"] > 30
        assert found.here["points"] > 300


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_time_changes_nothing(kind: str, tmp_path: Path) -> None:
    at = store(kind, tmp_path)
    with workspace(tmp_path) as target:
        brought(at, target)
        before = target.ports.ledger.check().rows
        again = brought(at, target)
        assert target.ports.ledger.check().rows == before
        assert set(_counts(again, "same")) == {kind for kind, count in again.counts.items() if count}
        assert not _counts(again, "new")
        assert not _counts(again, "changed")


def test_a_dry_run_tells_what_would_come_and_writes_nothing(tmp_path: Path) -> None:
    at = store("three", tmp_path)
    with workspace(tmp_path) as target:
        before = target.ports.ledger.check().rows
        told = brought(at, target, Asked(dry_run=True))
        assert target.ports.ledger.check().rows == before
        done = brought(at, target)
        assert _counts(told, "new") == _counts(done, "new")
        assert (told.params, told.tags, told.files, told.bytes) == (
            done.params,
            done.tags,
            done.files,
            done.bytes,
        )


def test_later_only_what_is_new_or_changed_comes(tmp_path: Path) -> None:
    at = store("three", tmp_path)
    with workspace(tmp_path) as target:
        brought(at, target)
        with at_database(at) as rows:
            (going,) = rows.execute("select run_uuid from runs where name = 'still running'").fetchone()
            rows.execute("insert into metrics values ('m', 1.5, 7, ?, 3, 0)", (going,))
            rows.execute("insert into latest_metrics values ('m', 1.5, 7, 3, 0, ?)", (going,))
            rows.execute("update runs set status = 'FINISHED', end_time = 9 where run_uuid = ?", (going,))
        again = brought(at, target)
        assert _counts(again, "changed") == {"runs": 1}
        assert not _counts(again, "new")
        assert compared(at, target).ok
        assert _runs(target, "still running")[0].state == "finished"


def test_what_was_changed_here_stays_unless_asked(tmp_path: Path) -> None:
    at = store("three", tmp_path)
    with workspace(tmp_path) as target:
        brought(at, target)
        ctx, run = target.context(), _runs(target, "odd")[0]
        intake.set_tag(ctx, run.id, "mine", "yes")
        with at_database(at) as rows:
            rows.execute("insert into tags values ('theirs', 'new', ?)", (run.id,))
        kept = brought(at, target)
        assert _counts(kept, "ours") == {"runs": 1}
        assert kept.ok
        assert kept.problems[0].id == run.id
        assert "theirs" not in _runs(target, "odd")[0].tags
        replaced = brought(at, target, Asked(overwrite=True))
        assert _counts(replaced, "changed") == {"runs": 1}
        tags = _runs(target, "odd")[0].tags
        assert tags["theirs"] == "new"
        assert "mine" not in tags


def test_a_model_with_a_name_that_is_here_stays_apart(tmp_path: Path) -> None:
    at = store("three", tmp_path)
    with workspace(tmp_path) as target:
        from loopwright.registry import registered

        registered.create(target.context(), "delays", description="ours")
        report = brought(at, target, Asked(overwrite=True))
        assert _counts(report, "ours") == {"models": 1, "versions": 3}
        assert registered.show(target.context(), "delays").asset.description == "ours"


def test_numbers_stages_aliases_and_files_of_versions_are_kept(tmp_path: Path) -> None:
    at = store("three", tmp_path)
    with workspace(tmp_path) as target:
        brought(at, target)
        ctx = target.context()
        by_alias = versions.by_alias(ctx, "delays", "champion").version
        assert (by_alias.number, by_alias.stage, by_alias.tags["checked"]) == (3, "Production", "yes")
        with pytest.raises(NotFound):
            versions.show(ctx, "delays", 2)
        from loopwright.registry.verbs import files_of

        assert "MLmodel" in files_of(ctx, by_alias)


def test_an_alias_that_policies_guard_is_left(tmp_path: Path) -> None:
    at = store("three", tmp_path)
    with workspace(tmp_path) as target:
        ctx = target.context()
        ctx.write(lambda tx: guarding.set_guards(tx, ctx.space, "delays", "champion", ("policy:gate/x",)))
        report = brought(at, target)
        assert report.notes["aliases that policies guard here"] == 1
        with pytest.raises(Invalid):
            versions.by_alias(ctx, "delays", "champion")
        with pytest.raises(PolicyBlocked):
            versions.set_alias(ctx, "delays", "champion", 3)


def test_into_a_named_space(tmp_path: Path) -> None:
    at = store("two", tmp_path)
    with workspace(tmp_path) as target:
        brought(at, target)
        other = target.context(space="other")

        class Other:
            def call(self, name: str, /, **arguments: Any) -> Any:
                from loopwright.engine.operation import invoke

                upload = arguments.pop("upload", None)
                return invoke(target.operations[name], other, arguments, upload=upload)

        from contextlib import closing

        from loopwright.loops.bringing import bring

        with closing(opened(at)) as history:
            report = bring(history, Other(), Asked())
        assert report.notes["experiments under another id"] == 5
        assert report.counts["runs"]["failed"] == 13  # a run has one id in all spaces
        assert "another space" in report.problems[0].why


def test_events_tell_what_came_in_once(tmp_path: Path) -> None:
    at = store("two", tmp_path)
    with workspace(tmp_path) as target:
        brought(at, target)
        with target.context().read() as tx:
            lines = tx.journal.read(0, 10_000)
        runs = [line for line in lines if line.kind == "run.imported"]
        assert len(runs) == 13
        assert all(len(line.payload["content"]) == 64 for line in runs)


def test_the_report_is_kept_as_a_run(tmp_path: Path) -> None:
    at = store("two", tmp_path)
    with workspace(tmp_path) as target:
        history = opened(at)
        killed = target.call("runs.start", name="import", kind="import", params={"source": history.address})
        report, run_id = bring_recorded(history, target, Asked(), lambda _: None)
        history.close()
        kept = target.call("runs.show", run_id=run_id).run
        assert kept.kind == "import"
        assert kept.facts["report"]["counts"]["runs"]["new"] == report.counts["runs"]["new"]
        assert target.call("runs.show", run_id=killed.id).run.state == "killed"


# -- parcels -------------------------------------------------------------------------------


def test_points_travel_as_they_are() -> None:
    sent = [MetricPoint(key="k", value=value, step=-3, at_us=7) for value in (1.0, float("inf"), 0.1)]
    parcel = RunParcel(seen="", past=PastRun(id="r", experiment_id="1", status="FINISHED"), into="1")
    file = io.BytesIO(b"".join(written(parcel, points=[sent, sent])))
    assert read_parcel(file) == parcel
    assert list(points_of(file)) == [sent, sent]


@pytest.mark.parametrize("cut", [0, 2, 4, 9, -1])
def test_a_parcel_cut_short_leaves_nothing(cut: int, tmp_path: Path) -> None:
    points = [[MetricPoint(key="k", value=1.0)]]
    parcel = RunParcel(seen="", past=PastRun(id="r1", experiment_id="1", status="FINISHED"), into="0")
    data = b"".join(written(parcel, points=points))
    with workspace(tmp_path) as target:
        before = target.ports.ledger.check().rows
        with pytest.raises(Invalid):
            target.call("imports.take", source=source_key("x"), upload=Upload(chunks=[data[:cut]]))
        assert target.ports.ledger.check().rows == before


def test_a_parcel_names_only_files_that_were_sent(tmp_path: Path) -> None:
    from loopwright.tracking.adopting import NewFile

    past = PastRun(id="r1", experiment_id="1", status="FINISHED")
    parcel = RunParcel(
        seen="", past=past, into="0", files=(NewFile(path="a", digest="0" * 64, size_bytes=1),)
    )
    with workspace(tmp_path) as target, pytest.raises(Invalid, match="not here"):
        target.call("imports.take", source=source_key("x"), upload=Upload(chunks=written(parcel)))


def test_a_deleted_run_and_experiment_come_as_they_are(tmp_path: Path) -> None:
    at = store("three", tmp_path)
    with workspace(tmp_path) as target:
        brought(at, target)
        ctx = target.context()
        from loopwright.tracking import experiments

        gone = experiments.by_name(ctx, "thrown away")
        assert gone.deleted_at is not None
        experiments.untrash(ctx, gone.id)
        assert len(_runs(target, "with it")) == 1  # the run came back with it
        lifecycle.restore_run(ctx, _deleted(at))
        assert len(_runs(target, "gone")) == 1


def _deleted(at: Path) -> str:
    with at_database(at) as rows:
        return str(rows.execute("select run_uuid from runs where name = 'gone'").fetchone()[0])
