"""The conformance suite of searches: every store answers as the slow evaluator does, page by page."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from msgspec.structs import replace

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.nouns import Asset, FoundRun, MetricPoint, Run, RunState
from loopwright.core.queries import (
    All,
    AnyOf,
    Comparison,
    Condition,
    Field,
    FieldKind,
    Not,
    Operator,
    RunQuery,
    SortKey,
)
from loopwright.ports.ledger import Artifact, Ledger, PageRequest, Transaction
from loopwright.testing.querying import ordered

__all__ = ["SearchSuite", "some_query", "some_runs"]

_BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
_LONG = "x" * 150
_FOREIGN = ("ü", "Ü5", "5 K", "5 \u212a", "stra\u1e9e")
_TEXTS = ("a", "B", "b%", "a_c", "AB", "ab*", "[x]?", f"{_LONG}1", f"{_LONG}2", *_FOREIGN)
_NUMBERS = (-1.5, 0.0, 1.0, 2.0, math.nan, math.inf, 1e-300)
_TEXT_TESTS: tuple[Operator, ...] = ("=", "!=", "LIKE", "ILIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL")
_ORDERS = ("start_time", "end_time", "run_name", "run_id", "status", "user_id", "artifact_uri")
_NUMBER_TESTS: tuple[Operator, ...] = ("=", "!=", "<", "<=", ">", ">=")
_PATTERNS = ("a%", "%B", "_", "%*", "[x]%", "A_C", "%", "x%2", "Ü_", "%k", "STRAß")


def some_runs(rng: random.Random, count: int) -> list[tuple[Run, list[MetricPoint]]]:
    """Runs of three experiments with few different values, so that conditions hit and orders tie."""
    found = []
    for number in range(count):
        started = _BEGIN + timedelta(milliseconds=rng.randrange(5)) if rng.random() < 0.9 else None
        datasets = [
            {"name": rng.choice("de"), "digest": rng.choice("12"), "context": rng.choice(["train", "test"])}
            for _ in range(rng.randrange(3))
        ]
        run = Run(
            id=f"r{rng.randrange(10**6):06}-{number}",
            space="default" if rng.random() < 0.95 else "other",
            kind="run",
            name=rng.choice(_TEXTS),
            state=rng.choice(list(RunState)),
            created_at=_BEGIN,
            created_by="me",
            experiment=rng.choice(["e1", "e1", "e2", "e3"]),
            started_at=started,
            ended_at=_BEGIN + timedelta(seconds=rng.randrange(3)) if rng.random() < 0.5 else None,
            params={key: rng.choice(_TEXTS) for key in "pq" if rng.random() < 0.7},
            tags={key: rng.choice(_TEXTS) for key in ("t", "mlflow.user") if rng.random() < 0.7},
            facts={"datasets": datasets} if datasets else {},
            deleted_at=_BEGIN if rng.random() < 0.1 else None,
        )
        points = [
            MetricPoint(key=key, value=rng.choice(_NUMBERS), step=step, at_us=step)
            for key in "mn"
            if rng.random() < 0.7
            for step in range(rng.randrange(1, 3))
        ]
        found.append((run, points))
    return found


def _some_comparison(rng: random.Random) -> Comparison:
    kind: FieldKind = rng.choice(["metric", "param", "tag", "attribute", "dataset"])
    keys = {
        "metric": "mnz",
        "param": "pqz",
        "tag": "tz",
        "dataset": ("name", "digest", "context"),
        "attribute": ("run_id", "run_name", "status", "user_id", "start_time", "end_time"),
    }
    field = Field(kind, rng.choice(keys[kind]))
    if kind == "metric" or field.key in {"start_time", "end_time"}:
        wanted = (
            rng.choice([-1.5, 0.0, 1.0, 3.0]) if kind == "metric" else 1_704_067_200_000 + rng.randrange(4)
        )
        return Comparison(field, rng.choice(_NUMBER_TESTS), wanted)
    op = rng.choice(_TEXT_TESTS)
    texts = (*_TEXTS, "d", "1", "train", "RUNNING", "FINISHED")
    if op in {"IS NULL", "IS NOT NULL"}:
        return Comparison(field, op)
    if op in {"IN", "NOT IN"}:
        return Comparison(field, op, tuple(rng.sample(texts, 2)))
    return Comparison(field, op, rng.choice(_PATTERNS if "LIKE" in op else texts))


def _some_condition(rng: random.Random, depth: int) -> Condition:
    if depth == 0 or rng.random() < 0.4:
        return _some_comparison(rng)
    parts = tuple(_some_condition(rng, depth - 1) for _ in range(rng.randrange(1, 4)))
    made: list[Condition] = [All(parts), AnyOf(parts), Not(parts[0])]
    return rng.choice(made)


def some_query(rng: random.Random) -> RunQuery:
    """A question about such runs."""
    fields = [Field("metric", "m"), Field("metric", "z"), Field("param", "p"), Field("tag", "t")]
    fields += [Field("attribute", key) for key in _ORDERS]
    chosen = rng.sample(fields, rng.randrange(4))
    return RunQuery(
        experiments=tuple(rng.sample(["e1", "e2", "e3", "none"], rng.randrange(1, 4))),
        where=_some_condition(rng, 2) if rng.random() < 0.8 else None,
        order=tuple(SortKey(field, descending=rng.random() < 0.5) for field in chosen),
        lifecycle=rng.choice(["active", "active", "deleted", "all"]),
    )


def _fill(tx: Transaction, runs: list[tuple[Run, list[MetricPoint]]]) -> None:
    for run, points in runs:
        tx.runs.add(run)
        if points:
            tx.metrics.log(run.id, points)


def _walked(ledger: Ledger, query: RunQuery, limit: int) -> list[str]:
    ids, token = list[str](), ""
    while True:
        with ledger.read() as tx:
            page = tx.runs.search("default", query, PageRequest(limit=limit, token=token))
        ids += [each.run.id for each in page.items]
        if not (token := page.next_token):
            return ids


class SearchSuite:
    """What searches, and what stands beside runs, must do. Subclass it with a fixture `ledger`."""

    @pytest.mark.parametrize("seed", range(4))
    def test_searches_answer_as_the_slow_evaluator(self, ledger: Ledger, seed: int) -> None:
        """In its order, on pages of any size, none twice and none left out."""
        rng = random.Random(seed)
        runs = some_runs(rng, 60)
        ledger.write(lambda tx: _fill(tx, runs))
        inside = [run.id for run, _ in runs if run.space == "default"]
        with ledger.read() as tx:
            known = list(tx.runs.latest(inside))
        for _ in range(40):
            query = some_query(rng)
            wanted = [each.run.id for each in ordered(query, known)]
            assert _walked(ledger, query, rng.choice([1, 3, 7, 1000])) == wanted, query
            most = rng.choice([1, 5, 1000])
            with ledger.read() as tx:
                assert tx.runs.count("default", query, most) == min(most, len(wanted)), query

    def test_what_is_found_is_the_run_with_its_latest_metrics(self, ledger: Ledger) -> None:
        """By name, NaN as NaN."""
        run, _ = some_runs(random.Random(1), 1)[0]
        run = replace(run, space="default", deleted_at=None)
        points = [
            MetricPoint(key="b", value=1.0, step=2, at_us=5),
            MetricPoint(key="b", value=9.0, step=1, at_us=9),
            MetricPoint(key="a", value=math.nan, step=0, at_us=1),
        ]
        ledger.write(lambda tx: _fill(tx, [(run, points)]))
        query = RunQuery(experiments=(str(run.experiment),))
        with ledger.read() as tx:
            found = tx.runs.search("default", query, PageRequest()).items
            assert found == tx.runs.latest([run.id]) or _same(found[0], tx.runs.latest([run.id])[0])
            with pytest.raises(NotFound):
                tx.runs.latest(["none"])
        assert found[0].run == run
        assert [(p.key, p.step) for p in found[0].metrics] == [("a", 0), ("b", 2)]
        assert math.isnan(found[0].metrics[0].value)

    def test_searches_see_what_params_and_tags_have_become(self, ledger: Ledger) -> None:
        """Changed, added, removed."""
        run, _ = some_runs(random.Random(1), 1)[0]
        run = replace(
            run, space="default", deleted_at=None, experiment="e", params={}, tags={"t": "1", "u": "1"}
        )
        ledger.write(lambda tx: tx.runs.add(run))
        ledger.write(lambda tx: tx.runs.update(replace(run, params={"p": "1"}, tags={"t": "2"})))

        def count(kind: FieldKind, key: str, value: str) -> int:
            query = RunQuery(experiments=("e",), where=Comparison(Field(kind, key), "=", value))
            with ledger.read() as tx:
                return len(tx.runs.search("default", query, PageRequest()).items)

        assert [count("param", "p", "1"), count("tag", "t", "2"), count("tag", "t", "1")] == [1, 1, 0]
        assert count("tag", "u", "1") == 0

    @pytest.mark.parametrize("seed", range(3))
    def test_points_are_found_by_their_places(self, ledger: Ledger, seed: int) -> None:
        """As the history has them, at any rising places; those behind its end are none."""
        rng = random.Random(seed)
        run = replace(some_runs(rng, 1)[0][0], space="default", deleted_at=None)
        values = [0.0, 1.0, -1.0, math.nan, math.inf]
        points = [
            MetricPoint(key="k", value=rng.choice(values), step=rng.randrange(3), at_us=rng.randrange(5))
            for _ in range(60)
        ]
        ledger.write(lambda tx: _fill(tx, [(run, points)]))
        with ledger.read() as tx:
            known = tx.metrics.history(run.id, "k", PageRequest(limit=1000)).items
            assert tx.metrics.count(run.id, "k") == len(known)
            for _ in range(10):
                places = sorted(rng.sample(range(len(known) + 5), 7))
                wanted = [known[place] for place in places if place < len(known)]
                assert str(list(tx.metrics.places(run.id, "k", places))) == str(wanted)
            assert tx.metrics.count(run.id, "none") == 0
            assert list(tx.metrics.places(run.id, "none", [0])) == []
            assert tx.metrics.steps(run.id, "none") is None
            assert not tx.metrics.rises(run.id, "none")
            with pytest.raises(NotFound):
                tx.metrics.count("none", "k")

    @pytest.mark.parametrize("seed", range(6))
    def test_places_of_a_growing_curve_are_those_of_its_history(self, ledger: Ledger, seed: int) -> None:
        """While steps come evenly, and after a point that is repeated, late or off the steps."""
        rng = random.Random(seed)
        run = replace(some_runs(rng, 1)[0][0], space="default", deleted_at=None)
        ledger.write(lambda tx: tx.runs.add(run))
        points, step, at_us, stride = list[MetricPoint](), rng.randrange(-50, 50), 0, rng.choice([1, 1, 7])
        for number in range(9):
            batch = []
            for _ in range(rng.choice([1, 1, 60])):
                at_us += rng.choice([0, 1, 3, 5, 10**7 if rng.random() < 0.02 else 2])
                batch.append(MetricPoint(key="k", value=rng.random(), step=step, at_us=at_us))
                step += stride
            rng.shuffle(batch)
            odd = _odd(rng, points or batch, number - 5) if seed % 2 else []
            new = [*odd, *batch]
            ledger.write(partial(_logged, run_id=run.id, points=new))
            points += new
            known = sorted({(p.at_us, p.step, p.value) for p in points})
            with ledger.read() as tx:
                assert tx.metrics.count(run.id, "k") == len(known)
                places = sorted(rng.sample(range(len(known) + 2), min(len(known) + 2, 12)))
                found = [(p.at_us, p.step, p.value) for p in tx.metrics.places(run.id, "k", places)]
                assert found == [known[place] for place in places if place < len(known)]
                steps = tx.metrics.steps(run.id, "k")
                assert list(steps or [point[1] for point in known]) == [point[1] for point in known]
                assert steps is not None or seed % 2
                in_order = [point[1] for point in known] == sorted(point[1] for point in known)
                assert tx.metrics.rises(run.id, "k") in {in_order, seed % 2 == 0}
                last = max(known, key=lambda point: (point[1], point[0], point[2]))
                latest = tx.metrics.latest(run.id)["k"]
                assert (latest.at_us, latest.step, latest.value) == last

    def test_names_of_a_work_that_was_undone_are_given_anew(self, ledger: Ledger) -> None:
        """Whatever a store remembers of a name, an undone work takes back with it."""
        run, _ = some_runs(random.Random(1), 1)[0]
        run = replace(run, space="default", deleted_at=None, experiment="e", params={}, tags={})
        ledger.write(lambda tx: tx.runs.add(run))

        def log(tx: Transaction, key: str) -> None:
            tx.metrics.log(run.id, [MetricPoint(key=key, value=1.0)])

        def undone(tx: Transaction) -> None:
            log(tx, "lost")
            raise NotFound("on purpose")

        with pytest.raises(NotFound):
            ledger.write(undone)
        ledger.write(lambda tx: log(tx, "other"))
        ledger.write(lambda tx: log(tx, "lost"))
        with ledger.read() as tx:
            assert sorted(tx.metrics.latest(run.id)) == ["lost", "other"]

    def test_the_runs_of_an_experiment_follow_its_new_name(self, ledger: Ledger) -> None:
        """Searches by the new name find them, by the old one none."""
        run, _ = some_runs(random.Random(1), 1)[0]
        run = replace(run, space="default", deleted_at=None, experiment="old")
        asset = Asset(
            id="x", space="default", kind="experiment", name="old", created_at=_BEGIN, created_by="me"
        )

        def work(tx: Transaction) -> None:
            tx.assets.add(asset)
            tx.runs.add(run)

        ledger.write(work)
        renamed = replace(asset, name="new", facts={"artifact_location": "x"}, deleted_at=_BEGIN)
        ledger.write(lambda tx: tx.assets.update(renamed))
        with ledger.read() as tx:
            assert tx.assets.get("x") == renamed
            assert tx.runs.get(run.id).experiment == "new"
        assert _walked(ledger, RunQuery(experiments=("new",)), 10) == [run.id]
        assert _walked(ledger, RunQuery(experiments=("old",)), 10) == []

    def test_the_runs_of_an_experiment_go_to_the_trash_and_come_back_together(self, ledger: Ledger) -> None:
        """Those that were there before stay there, and those of others are left alone."""
        (run, _), (other, _), (gone, _) = some_runs(random.Random(1), 3)
        earlier, later = _BEGIN, _BEGIN.replace(year=_BEGIN.year + 1)
        run = replace(run, space="default", deleted_at=None, experiment="e")
        other = replace(other, space="default", deleted_at=None, experiment="f")
        gone = replace(gone, space="default", deleted_at=earlier, experiment="e")
        ledger.write(lambda tx: _fill(tx, [(each, []) for each in (run, other, gone)]))

        def mark(before: datetime | None, after: datetime | None) -> int:
            return ledger.write(lambda tx: tx.runs.mark_deleted("default", "e", before=before, after=after))

        def deleted() -> list[datetime | None]:
            with ledger.read() as tx:
                return [tx.runs.get(each.id).deleted_at for each in (run, other, gone)]

        assert mark(None, later) == 1
        assert deleted() == [later, None, earlier]
        assert mark(later, None) == 1
        assert deleted() == [None, None, earlier]

    @pytest.mark.parametrize("token", ["x", "AAAA", "k4GhYaFi", "lAABAgM", "=" * 9])
    def test_a_forged_token_is_refused(self, ledger: Ledger, token: str) -> None:
        """Whatever it holds."""
        runs = some_runs(random.Random(3), 5)
        ledger.write(lambda tx: _fill(tx, runs))
        with ledger.read() as tx, pytest.raises(Invalid):
            tx.runs.search("default", RunQuery(experiments=("e1",)), PageRequest(token=token))

    def test_files_of_an_owner_lie_in_folders(self, ledger: Ledger) -> None:
        """A folder's files are those below it, not those whose name merely begins so."""

        def file(path: str, owner: str = "run:1", size: int = 1) -> Artifact:
            return Artifact(
                space="default", owner=owner, path=path, digest="d" * 64, size_bytes=size, at=_BEGIN
            )

        def work(tx: Transaction) -> None:
            for path in ("a", "a/b", "a/c/d", "a.txt", "a0", "b"):
                tx.artifacts.put(file(path))
            tx.artifacts.put(file("a/other", owner="run:2"))
            tx.artifacts.put(file("b", size=2))
            tx.artifacts.remove("default", "run:1", "a0")
            tx.artifacts.remove("default", "run:1", "none")

        ledger.write(work)
        with ledger.read() as tx:
            assert [f.path for f in tx.artifacts.under("default", "run:1", "a")] == ["a/b", "a/c/d"]
            everything = [f.path for f in tx.artifacts.under("default", "run:1", "")]
            assert everything == ["a", "a.txt", "a/b", "a/c/d", "b"]
            assert tx.artifacts.get("default", "run:1", "b") == file("b", size=2)
            assert tx.artifacts.get("other", "run:1", "b") is None
            assert list(tx.artifacts.digests()) == ["d" * 64]


def _same(one: FoundRun, other: FoundRun) -> bool:
    """Equal but for NaN, which equals nothing."""
    return one.run == other.run and str(one.metrics) == str(other.metrics)


def _logged(tx: Transaction, *, run_id: str, points: list[MetricPoint]) -> None:
    tx.metrics.log(run_id, points)


def _odd(rng: random.Random, points: list[MetricPoint], kind: int) -> list[MetricPoint]:
    """A point that does not go on evenly behind others, of a kind; none for a negative one."""
    one = rng.choice(points)
    match kind:
        case 0:
            return [points[-1]]
        case 1:
            return [replace(one, at_us=one.at_us + 1)]
        case 2:
            return [replace(one, value=one.value + 1)]
        case 3:
            return [replace(one, step=one.step + 1)]
        case _:
            return []
