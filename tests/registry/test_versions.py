"""Versions that callers bring along: whole by digest, numbered once, found, gated where policies guard."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from loopwright.core.addresses import Address, ByNumber
from loopwright.core.errors import Invalid, NotFound, PolicyBlocked, Taken
from loopwright.core.nouns import Decision, LinkRole, Verdict
from loopwright.engine.collection import reachable
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.ports.ledger import PageRequest
from loopwright.registry import logged, registered, versions
from loopwright.registry.nouns import NewVersion, Stage
from loopwright.registry.stages import read_stage, transition
from loopwright.registry.verbs import annotate, body_of, compare, guard, promote, remove, rollback
from loopwright.testing.builders import SetClock
from tests.registry.worlds import made_experiment, made_run, made_version, put_file, world

NAME = "delay"


def later(ctx: Context) -> None:
    clock = ctx.ports.clock
    assert isinstance(clock, SetClock)
    clock.advance(timedelta(seconds=1))


def kinds(ctx: Context) -> list[str]:
    with ctx.read() as tx:
        return [event.kind for event in reversed(tx.journal.page(ctx.space, PageRequest(limit=500)).items)]


def allow(ctx: Context, number: int, policy: str) -> None:
    """The verdict of a gate about a version."""
    version = resolve(ctx, Address(kind="model", name=NAME, selector=ByNumber(number)))
    decision = Decision(
        id=ctx.new_id(),
        space=ctx.space,
        policy=f"{policy}@1",
        subject=str(version.ref),
        action="promote",
        verdict=Verdict.ALLOW,
        reason="good",
        evidence=(),
        at=ctx.now(),
        by="gate",
    )
    ctx.write(lambda tx: tx.decisions.add(decision))


# -- made of files -------------------------------------------------------------------------


def test_a_version_is_whole_though_its_run_is_gone() -> None:
    ctx = world()
    run = made_run(ctx, made_experiment(ctx))
    digest = put_file(ctx, f"run:{run.id}", "model/MLmodel", b"flavors: {}")
    put_file(ctx, f"run:{run.id}", "other/x", b"not of the model")
    registered.create(ctx, NAME)
    new = NewVersion(source=f"runs:/{run.id}/model", run_id=run.id)
    made = versions.create(ctx, NAME, new)
    ctx.write(lambda tx: tx.artifacts.remove(ctx.space, f"run:{run.id}", "model/MLmodel"))
    manifest = manifest_of(ctx, made)
    assert [(entry.path, entry.digest) for entry in manifest.entries] == [("MLmodel", digest)]
    assert digest in reachable(ctx)
    assert ctx.ports.objects.get(digest) == b"flavors: {}"


def test_a_version_of_one_file_has_its_name() -> None:
    ctx = world()
    run = made_run(ctx, made_experiment(ctx))
    put_file(ctx, f"run:{run.id}", "deep/model.pkl", b"x")
    registered.create(ctx, NAME)
    made = versions.create(ctx, NAME, NewVersion(source=f"runs:/{run.id}/deep/model.pkl", run_id=run.id))
    assert [entry.path for entry in manifest_of(ctx, made).entries] == ["model.pkl"]


def test_the_run_that_made_it_is_in_its_lineage() -> None:
    ctx = world()
    run = made_run(ctx, made_experiment(ctx))
    registered.create(ctx, NAME)
    made = versions.create(ctx, NAME, NewVersion(source=f"runs:/{run.id}/m", run_id=run.id))
    with ctx.read() as tx:
        assert list(tx.runs.users("model", NAME, 1, LinkRole.OUTPUT)) == [run.id]
    assert made.run_id == run.id


def test_a_logged_model_tells_what_was_made_of_it() -> None:
    ctx = world()
    home = made_experiment(ctx)
    run = made_run(ctx, home)
    model = logged.create(ctx, home, "tree", source_run_id=run.id)
    digest = put_file(ctx, f"logged_model:{model.id}", "MLmodel", b"x")
    registered.create(ctx, NAME)
    made = versions.create(ctx, NAME, NewVersion(source=f"models:/{model.id}", model_id=model.id))
    assert (made.run_id, versions.place_of(made)) == (run.id, model.artifact_uri)
    assert manifest_of(ctx, made).entries[0].digest == digest
    told, _ = logged.show(ctx, model.id)
    assert told.tags["mlflow.modelVersions"] == '[{"name": "delay", "version": 1}]'


def test_a_version_of_another_has_its_files_and_origin() -> None:
    ctx = world()
    run = made_run(ctx, made_experiment(ctx))
    put_file(ctx, f"run:{run.id}", "m/a", b"a")
    registered.create(ctx, NAME)
    first = versions.create(ctx, NAME, NewVersion(source=f"runs:/{run.id}/m", run_id=run.id))
    registered.create(ctx, "copy")
    again = versions.create(ctx, "copy", NewVersion(source=f"models:/{NAME}/1"))
    assert manifest_of(ctx, again).entries == manifest_of(ctx, first).entries
    assert again.run_id == run.id
    with pytest.raises(Invalid):
        versions.create(ctx, "copy", NewVersion(source=f"models:/{NAME}/1", run_id="other"))


@pytest.mark.parametrize("selector", ["@champion", "/latest", "/Production", "/2"])
def test_another_version_is_named_in_every_way(selector: str) -> None:
    ctx = world()
    made_version(ctx, NAME, "s3://b/1")
    made_version(ctx, NAME, "s3://b/2")
    versions.set_alias(ctx, NAME, "champion", 2)
    transition(ctx, NAME, 2, Stage.PRODUCTION)
    assert versions.source_of(made_version(ctx, "copy", f"models:/{NAME}{selector}")) == f"models:/{NAME}/2"


def test_files_of_others_are_not_taken() -> None:
    ctx = world()
    home = made_experiment(ctx)
    mine, other = made_run(ctx, home), made_run(ctx, home)
    model = logged.create(ctx, home, "tree")
    registered.create(ctx, NAME)
    for new in (
        NewVersion(source=f"runs:/{other.id}/m", run_id=mine.id),
        NewVersion(source=f"runs:/{other.id}/m"),
        NewVersion(source=f"mlflow-artifacts:/{home}/{other.id}/artifacts/m", run_id=mine.id),
        NewVersion(source=f"mlflow-artifacts:/99/{mine.id}/artifacts/m", run_id=mine.id),
        NewVersion(source=f"models:/{model.id}", run_id=mine.id),
        NewVersion(source=f"models:/{model.id}", model_id="m-" + "0" * 32),
        NewVersion(source=f"runs:/{mine.id}/m", model_id=model.id, run_id=mine.id),
    ):
        with pytest.raises(Invalid):
            versions.create(ctx, NAME, new)


def test_runs_of_another_space_are_not_seen() -> None:
    ctx = world()
    run = made_run(ctx, made_experiment(ctx))
    other = Context(ctx.ports, principal=ctx.principal, space="other")
    registered.create(other, NAME)
    with pytest.raises(Invalid):
        versions.create(other, NAME, NewVersion(source=f"runs:/{run.id}/m", run_id=run.id))


def test_what_was_not_trained_here_says_so() -> None:
    ctx = world()
    with pytest.raises(Invalid, match="brought along"):
        body_of(ctx, made_version(ctx, NAME))


# -- numbers -------------------------------------------------------------------------------


def test_numbers_are_not_used_again() -> None:
    ctx = world()
    made_version(ctx, NAME)
    made_version(ctx, NAME)
    remove(ctx, NAME, 2)
    assert made_version(ctx, NAME).number == 3
    with pytest.raises(NotFound):
        versions.show(ctx, NAME, 2)
    with pytest.raises(NotFound):
        resolve(ctx, f"model:{NAME}@2")
    versions.delete(ctx, NAME, 3)
    assert resolve(ctx, f"model:{NAME}").number == 1


def test_a_deleted_name_begins_anew() -> None:
    ctx = world()
    made_version(ctx, NAME, "s3://b/old")
    versions.set_alias(ctx, NAME, "champion", 1)
    registered.delete(ctx, NAME)
    assert versions.search(ctx).items == ()
    with pytest.raises(NotFound):
        resolve(ctx, f"model:{NAME}@1")
    assert made_version(ctx, NAME, "s3://b/new").number == 1
    assert registered.show(ctx, NAME).aliases == ()
    assert [versions.source_of(each) for each in versions.search(ctx).items] == ["s3://b/new"]


def test_names_follow_a_renamed_model() -> None:
    ctx = world()
    run = made_run(ctx, made_experiment(ctx))
    registered.create(ctx, NAME)
    versions.create(ctx, NAME, NewVersion(source=f"runs:/{run.id}/m", run_id=run.id))
    versions.set_alias(ctx, NAME, "champion", 1)
    registered.rename(ctx, NAME, "late")
    assert versions.by_alias(ctx, "late", "champion").version.name == "late"
    with ctx.read() as tx:
        assert list(tx.runs.users("model", "late", 1, LinkRole.OUTPUT)) == [run.id]
    registered.create(ctx, NAME)
    with pytest.raises(Taken):
        registered.rename(ctx, "late", NAME)


# -- aliases -------------------------------------------------------------------------------


def test_a_guarded_alias_moves_only_with_a_verdict() -> None:
    ctx = world()
    made_version(ctx, NAME)
    made_version(ctx, NAME)
    guard(ctx, NAME, "champion", ("policy:gate/delay",))
    with pytest.raises(PolicyBlocked):
        versions.set_alias(ctx, NAME, "champion", 1)
    allow(ctx, 1, "policy:gate/delay")
    assert versions.set_alias(ctx, NAME, "champion", 1).alias.decision_id is not None
    with pytest.raises(PolicyBlocked):
        promote(ctx, NAME, "champion", 2)
    versions.set_alias(ctx, NAME, "free", 2)


def test_nothing_goes_around_a_guard() -> None:
    ctx = world()
    made_version(ctx, NAME)
    made_version(ctx, "other")
    versions.set_alias(ctx, "other", "champion", 1)
    guard(ctx, NAME, "champion", ("policy:gate/delay",))
    allow(ctx, 1, "policy:gate/delay")
    versions.set_alias(ctx, NAME, "champion", 1)
    for attempt in (
        lambda: registered.rename(ctx, NAME, "elsewhere"),
        lambda: registered.delete(ctx, NAME),
        lambda: versions.delete(ctx, NAME, 1),
        lambda: versions.unset_alias(ctx, NAME, "champion"),
    ):
        with pytest.raises(PolicyBlocked):
            attempt()
    guard(ctx, "wanted", "champion", ("policy:gate/delay",))
    with pytest.raises(PolicyBlocked):
        registered.rename(ctx, "other", "wanted")
    assert versions.by_alias(ctx, NAME, "champion").version.number == 1


def test_a_guard_of_a_longer_name_is_another_models() -> None:
    ctx = world()
    made_version(ctx, "a")
    guard(ctx, "a/b", "champion", ("policy:gate/x",))
    registered.rename(ctx, "a", "c")


@pytest.mark.parametrize("alias", ["latest", "LATEST", "v1", "V12", "", "a b", "a/b", "a@b", "a" * 256])
def test_aliases_that_mean_something_else(alias: str) -> None:
    ctx = world()
    made_version(ctx, NAME)
    with pytest.raises(Invalid):
        versions.set_alias(ctx, NAME, alias, 1)


def test_back_to_the_version_before() -> None:
    ctx = world()
    made_version(ctx, NAME)
    made_version(ctx, NAME)
    versions.set_alias(ctx, NAME, "champion", 1)
    versions.set_alias(ctx, NAME, "champion", 2)
    assert rollback(ctx, NAME, "champion", reason="worse").version.number == 1


def test_aliases_go_with_their_version() -> None:
    ctx = world()
    made_version(ctx, NAME)
    versions.set_alias(ctx, NAME, "champion", 1)
    versions.delete(ctx, NAME, 1)
    with pytest.raises(Invalid, match="alias champion not found"):
        versions.by_alias(ctx, NAME, "champion")


# -- stages --------------------------------------------------------------------------------


def test_the_newest_of_each_stage() -> None:
    ctx = world()
    for _ in range(4):
        made_version(ctx, NAME)
    transition(ctx, NAME, 1, Stage.STAGING)
    transition(ctx, NAME, 2, Stage.PRODUCTION)
    transition(ctx, NAME, 3, Stage.PRODUCTION, archive_others=True)
    found = {
        version.number: registered.stage_of(version) for version in registered.latest_versions(ctx, NAME)
    }
    assert found == {1: Stage.STAGING, 2: Stage.ARCHIVED, 3: Stage.PRODUCTION, 4: Stage.NONE}
    versions.delete(ctx, NAME, 3)
    transition(ctx, NAME, 2, Stage.PRODUCTION)
    assert [v.number for v in registered.latest_versions(ctx, NAME, [Stage.PRODUCTION])] == [2]
    transition(ctx, NAME, 2, Stage.NONE)
    assert registered.latest_versions(ctx, NAME, [Stage.PRODUCTION]) == ()


def test_only_active_stages_archive_others() -> None:
    ctx = world()
    made_version(ctx, NAME)
    with pytest.raises(Invalid):
        transition(ctx, NAME, 1, Stage.ARCHIVED, archive_others=True)
    with pytest.raises(Invalid):
        read_stage("Nowhere")
    assert read_stage("PRODUCTION") is Stage.PRODUCTION


# -- search --------------------------------------------------------------------------------


def test_versions_are_found_by_what_they_are() -> None:
    ctx = world()
    for number in range(4):
        made_version(ctx, NAME, f"s3://b/{number}", even=str(number % 2 == 0))
        later(ctx)
    made_version(ctx, "other")

    def found(text: str) -> list[int]:
        return [version.number for version in versions.search(ctx, where=text).items]

    assert found(f"name = '{NAME}'") == [4, 3, 2, 1]
    assert found("tags.even = 'True'") == [3, 1]
    assert found(f"name = '{NAME}' AND version_number > 2") == [4, 3]
    assert found("source_path LIKE '%/2'") == [3]
    assert found(f"NOT name = '{NAME}'") == [1]
    assert found("run_id = 'nobody'") == []


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ("source_path = 's3://b/1'", [2]),
        ("source_path != 's3://b/1'", [5, 4, 3, 1]),
        ("source_path LIKE 's3://b/%'", [4, 3, 2, 1]),
        ("source_path ILIKE 'LOOPWRIGHT:%'", [5]),
        ("source_path = 's3://b/1' OR source_path = 's3://b/3'", [4, 2]),
        ("NOT source_path = 's3://b/1'", [5, 4, 3, 1]),
        ("source_path LIKE '%b/%' AND NOT source_path LIKE '%2' AND version_number < 4", [2, 1]),
        ("source_path = 'nowhere'", []),
    ],
)
def test_versions_are_found_by_where_they_come_from(where: str, wanted: list[int]) -> None:
    """One that was trained here says no source, and is its own."""
    ctx = world()
    for number in range(5):
        made_version(ctx, NAME, f"s3://b/{number}")
        later(ctx)
    version = next(each for each in versions.search(ctx).items if each.number == 5)
    ctx.write(lambda tx: tx.versions.supersede(replace(version, facts={"features": 3})))
    assert [each.number for each in versions.search(ctx, where=where).items] == wanted


def test_pages_meet_and_do_not_overlap() -> None:
    ctx = world()
    for _ in range(7):
        made_version(ctx, NAME)
    seen: list[int] = []
    token = ""
    while True:
        page = versions.search(ctx, order=["version_number ASC"], limit=3, token=token)
        seen += [version.number for version in page.items]
        token = page.next_token
        if not token:
            break
    assert seen == list(range(1, 8))
    with pytest.raises(Invalid):
        versions.search(ctx, token="zzz")


@pytest.mark.parametrize(
    "where", ["", "tags.a = 'x'", "name = 'm1'", "name LIKE 'm%' and tags.a != 'x'", "tags.b = 'none'"]
)
def test_the_newest_are_found_piece_by_piece_as_all_at_once(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order that is meant without one is answered another way than the same order spelled out."""
    ctx = world()
    for number in range(12):
        made_version(ctx, f"m{number % 3}", a="xy"[number % 2], b=str(number))
    versions.set_tag(ctx, "m1", 2, "a", "x")
    versions.describe(ctx, "m0", 1, "changed")
    monkeypatch.setattr(versions, "_SPARE", 0)
    found, token = list[str](), ""
    while True:
        page = versions.search(ctx, where=where, limit=2, token=token)
        found += [version.id for version in page.items]
        if not (token := page.next_token):
            break
    order = ["last_updated_timestamp DESC", "name ASC", "version_number DESC"]
    everything = versions.search(ctx, where=where, order=[*order, "creation_timestamp ASC"], limit=100)
    assert found == [version.id for version in everything.items]


def test_models_and_prompts_are_told_apart() -> None:
    ctx = world()
    tags = {"mlflow.prompt.is_prompt": "true"}
    registered.create(ctx, "greeting", tags=tags)
    text = {**tags, "mlflow.prompt.text": "Hello"}
    made = versions.create(ctx, "greeting", NewVersion(source="dummy-source", tags=text))
    registered.create(ctx, NAME)
    assert [each.asset.name for each in registered.search(ctx).items] == [NAME]
    asked = "tags.`mlflow.prompt.is_prompt` = 'true'"
    assert [each.asset.name for each in registered.search(ctx, where=asked).items] == ["greeting"]
    assert manifest_of(ctx, made).body["text"] == "Hello"
    for name, new in (
        ("greeting", NewVersion(source="s3://b/x")),
        (NAME, NewVersion(source="dummy-source", tags=text)),
        ("greeting", NewVersion(source="s3://b/x", tags=text)),
    ):
        with pytest.raises(Invalid):
            versions.create(ctx, name, new)
    with pytest.raises(Taken, match="already taken by a prompt"):
        registered.create(ctx, "greeting")


# -- by hand -------------------------------------------------------------------------------


def test_notes_of_a_version() -> None:
    ctx = world()
    made_version(ctx, NAME, team="blue")
    found = annotate(ctx, NAME, 1, description="best so far", tags={"checked": "yes"}, drop_tags=("team",))
    assert (found.description, found.tags) == ("best so far", {"checked": "yes"})


def test_what_differs_between_two_versions() -> None:
    ctx = world()
    home = made_experiment(ctx)
    registered.create(ctx, NAME)
    for number, depth in ((1, "3"), (2, "4")):
        model = logged.create(ctx, home, "tree", params={"depth": depth, "seed": "7"})
        put_file(ctx, f"logged_model:{model.id}", "MLmodel", b"same")
        put_file(ctx, f"logged_model:{model.id}", "model.bin", f"{number}".encode())
        versions.create(ctx, NAME, NewVersion(source=f"models:/{model.id}", model_id=model.id))
    found = compare(ctx, NAME, 1, 2)
    assert [(each.key, each.left, each.right) for each in found.params] == [("depth", "3", "4")]
    assert [each.key for each in found.files] == ["model.bin"]
    assert (found.same["params"], found.same["files"]) == (1, 1)


def test_every_change_is_in_the_journal() -> None:
    ctx = world()
    made_version(ctx, NAME)
    before = len(kinds(ctx))
    registered.describe(ctx, NAME, "x")
    registered.set_tag(ctx, NAME, "a", "1")
    registered.set_tag(ctx, NAME, "a", "1")
    registered.unset_tag(ctx, NAME, "a")
    versions.describe(ctx, NAME, 1, "y")
    versions.set_tag(ctx, NAME, 1, "a", "1")
    versions.unset_tag(ctx, NAME, 1, "a")
    versions.set_alias(ctx, NAME, "champion", 1)
    versions.unset_alias(ctx, NAME, "champion")
    transition(ctx, NAME, 1, Stage.STAGING)
    registered.rename(ctx, NAME, "late")
    versions.delete(ctx, "late", 1)
    registered.delete(ctx, "late")
    assert kinds(ctx)[before:] == [
        *["asset.changed"] * 3,
        *["version.changed"] * 3,
        "alias.moved",
        "alias.removed",
        "version.changed",
        "asset.renamed",
        "version.deleted",
        "asset.deleted",
    ]
