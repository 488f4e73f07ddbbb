"""Moves that one asks for and another answers; the way back; gates of versions that were brought along."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from msgspec.structs import replace

from loopwright.core.errors import Conflict, Denied, Invalid, NotFound, PolicyBlocked
from loopwright.core.nouns import MetricPoint, Run, Verdict, Version
from loopwright.engine.context import Context, Principal
from loopwright.engine.platform import rename
from loopwright.gates.nouns import Latency, Metric, NotWorse
from loopwright.gates.verbs import check_version, put_gate, show
from loopwright.ports.ledger import PageRequest, Transaction
from loopwright.registry import registered, versions
from loopwright.registry.nouns import NewVersion, Stage
from loopwright.registry.requests import (
    approve,
    demand_approval,
    expire_open,
    open_requests,
    reject,
    request,
    requests,
    withdraw,
)
from loopwright.registry.rolling import history
from loopwright.registry.rolling import rollback as go_back
from loopwright.registry.stages import transition
from loopwright.registry.verbs import compare, promote, rollback
from loopwright.testing.builders import SetClock
from tests.registry.worlds import made_experiment, made_run, made_version, put_file, world


def as_(ctx: Context, name: str) -> Context:
    return ctx.acting_as(Principal(name=name))


def later(ctx: Context, days: float = 1) -> None:
    clock = ctx.ports.clock
    assert isinstance(clock, SetClock)
    clock.advance(timedelta(days=days))


def pointed(ctx: Context, alias: str = "champion") -> int | None:
    found = {each.alias: each.number for each in registered.show(ctx, "delay").aliases}
    return found.get(alias)


def kinds(ctx: Context) -> list[str]:
    with ctx.read() as tx:
        return [event.kind for event in reversed(tx.journal.page(ctx.space, PageRequest(limit=500)).items)]


@pytest.fixture
def ctx() -> Context:
    found = world()
    made_version(found, "delay")
    made_version(found, "delay")
    return found


# -- asked and answered ----------------------------------------------------------------------


def test_what_one_asks_for_another_approves(ctx: Context) -> None:
    asked = request(as_(ctx, "ann"), "delay", 2, alias="champion", note="better by 2 %")
    assert [each.id for each in open_requests(ctx)] == [asked.id]
    done = approve(as_(ctx, "bob"), "delay", asked.id, reason="I looked at the curves")
    assert (done.state, done.answered_by, pointed(ctx)) == ("approved", "bob", 2)
    with ctx.read() as tx:
        decision = tx.decisions.get(done.decision_id)
    assert (decision.verdict, decision.subject, decision.by) == (Verdict.ALLOW, "model:delay@2", "bob")
    assert [line.check for line in decision.evidence] == ["asked for", "a second person", "approved"]
    assert decision.evidence[0].detail == "better by 2 %"
    assert open_requests(ctx) == ()
    assert kinds(ctx)[-4:] == ["request.opened", "decision.made", "alias.moved", "request.approved"]
    with pytest.raises(Conflict, match="approved"):
        approve(as_(ctx, "bob"), "delay", asked.id, reason="again")


def test_nobody_answers_his_own_request(ctx: Context) -> None:
    asked = request(as_(ctx, "ann"), "delay", 2, alias="champion")
    for answer in (approve, reject):
        with pytest.raises(Denied, match="second person"):
            answer(as_(ctx, "ann"), "delay", asked.id, reason="mine")
    with pytest.raises(Denied):
        withdraw(as_(ctx, "bob"), "delay", asked.id)
    assert withdraw(as_(ctx, "ann"), "delay", asked.id).state == "withdrawn"
    assert pointed(ctx) is None


def test_an_answer_needs_a_reason(ctx: Context) -> None:
    asked = request(as_(ctx, "ann"), "delay", 2, alias="champion")
    with pytest.raises(Invalid, match="reason"):
        approve(as_(ctx, "bob"), "delay", asked.id, reason=" ")


def test_a_rejection_is_a_decision_too(ctx: Context) -> None:
    demand_approval(ctx, "delay", alias="champion")
    asked = request(as_(ctx, "ann"), "delay", 2, alias="champion")
    done = reject(as_(ctx, "bob"), "delay", asked.id, reason="too slow")
    assert (done.state, pointed(ctx)) == ("rejected", None)
    with pytest.raises(PolicyBlocked, match="too slow"):
        promote(ctx, "delay", "champion", 2)
    with pytest.raises(PolicyBlocked, match="too slow"):
        versions.set_alias(ctx, "delay", "champion", 2)


def test_a_stage_is_asked_for_as_an_alias_is(ctx: Context) -> None:
    demand_approval(ctx, "delay", stage="Production")
    with pytest.raises(PolicyBlocked, match="no verdict") as refused:
        transition(ctx, "delay", 2, Stage.PRODUCTION)
    assert refused.value.hint.endswith("--version 2 --stage Production")
    transition(ctx, "delay", 2, Stage.STAGING)
    asked = request(as_(ctx, "ann"), "delay", 2, stage="production")
    approve(as_(ctx, "bob"), "delay", asked.id, reason="good")
    assert versions.show(ctx, "delay", 2).version.stage == "Production"


def test_a_demanded_approval_is_of_this_alias_and_this_version(ctx: Context) -> None:
    demanded = demand_approval(ctx, "delay", alias="champion")
    assert demanded.is_demanded
    asked = request(as_(ctx, "ann"), "delay", 1, alias="champion")
    approve(as_(ctx, "bob"), "delay", asked.id, reason="good")
    unapproved = "no verdict of policy:approval/delay/champion"
    with pytest.raises(PolicyBlocked, match=unapproved) as refused:
        promote(ctx, "delay", "champion", 2)
    assert refused.value.hint.endswith("loopwright models request delay --version 2 --alias champion")
    with pytest.raises(PolicyBlocked, match=unapproved):
        versions.set_alias(ctx, "delay", "champion", 2)
    promote(ctx, "delay", "shadow", 2)
    assert not demand_approval(ctx, "delay", alias="champion", off=True).is_demanded
    promote(ctx, "delay", "champion", 2)


def test_a_request_ends_unanswered(ctx: Context) -> None:
    asked = request(as_(ctx, "ann"), "delay", 2, alias="champion", days=3)
    later(ctx, 2)
    assert expire_open(ctx) == 0
    later(ctx, 2)
    assert [each.state for each in requests(ctx, "delay")] == ["expired"]
    with pytest.raises(Conflict, match="expired"):
        approve(as_(ctx, "bob"), "delay", asked.id, reason="late")
    assert expire_open(ctx) == 1
    assert expire_open(ctx) == 0
    assert kinds(ctx)[-1] == "request.expired"


def test_requests_are_told_open_ones_first(ctx: Context) -> None:
    first = request(as_(ctx, "ann"), "delay", 1, alias="champion")
    withdraw(as_(ctx, "ann"), "delay", first.id)
    second = request(as_(ctx, "ann"), "delay", 1, alias="champion")
    third = request(as_(ctx, "ann"), "delay", 2, alias="champion")
    approve(as_(ctx, "bob"), "delay", third.id, reason="good")
    assert [each.id for each in requests(ctx, "delay")] == [second.id, third.id, first.id]
    assert [each.id for each in requests(ctx, "delay", state="approved")] == [third.id]
    with pytest.raises(Conflict, match="already"):
        request(as_(ctx, "cid"), "delay", 1, alias="champion")


@pytest.mark.parametrize(("alias", "stage"), [("", ""), ("a", "Staging"), ("", "Moon"), ("v1", "")])
def test_a_request_names_one_goal(ctx: Context, alias: str, stage: str) -> None:
    with pytest.raises(Invalid):
        request(ctx, "delay", 1, alias=alias, stage=stage)


def test_requests_of_what_is_not_there_are_not_found(ctx: Context) -> None:
    with pytest.raises(NotFound):
        request(ctx, "delay", 9, alias="champion")
    with pytest.raises(NotFound):
        approve(ctx, "delay", "none", reason="x")
    elsewhere = Context(ctx.ports, principal=ctx.principal, space="other")
    asked = request(as_(ctx, "ann"), "delay", 2, alias="champion")
    with pytest.raises(NotFound):
        approve(elsewhere, "delay", asked.id, reason="x")
    assert open_requests(elsewhere) == ()


# -- back -------------------------------------------------------------------------------------


@pytest.mark.parametrize("alias", ["latest", "Latest", "v1", "V20", "a.b", "1", "_x"])
def test_an_alias_that_clients_of_mlflow_could_not_use_is_refused(ctx: Context, alias: str) -> None:
    """To them `latest` is the newest version, and `v1` the first."""
    made_version(ctx, "delay")
    with pytest.raises(Invalid):
        promote(ctx, "delay", alias, 1)


def test_a_rollback_goes_back_and_again_further_back(ctx: Context) -> None:
    made_version(ctx, "delay")
    for number in (1, 2, 3):
        promote(ctx, "delay", "champion", number, reason=f"try {number}")
    assert go_back(ctx, "delay", reason="3 is slow").version.number == 2
    assert rollback(ctx, "delay", "champion", reason="2 too").version.number == 1
    with pytest.raises(Conflict, match="no version before"):
        go_back(ctx, "delay", reason="more")
    promote(ctx, "delay", "champion", 3)
    assert go_back(ctx, "delay", reason="again").version.number == 1
    told = [(move.number, move.reason, move.is_rollback) for move in history(ctx, "delay", "champion")]
    assert told[:3] == [(1, "again", True), (3, "", False), (1, "2 too", True)]
    assert len(told) == 7


def test_a_rollback_passes_over_what_is_in_the_trash(ctx: Context) -> None:
    made_version(ctx, "delay")
    for number in (1, 2, 3):
        promote(ctx, "delay", "champion", number)
    versions.delete(ctx, "delay", 2)
    assert go_back(ctx, "delay", reason="slow").version.number == 1


def test_a_rollback_knows_the_time_under_another_name(ctx: Context) -> None:
    promote(ctx, "delay", "champion", 1)
    promote(ctx, "delay", "champion", 2)
    rename(ctx, "model", "delay", "late")
    made_version(ctx, "delay", "s3://x/other")
    promote(ctx, "delay", "champion", 1)
    assert go_back(ctx, "late", reason="slow").version.number == 1
    with pytest.raises(Conflict, match="no version before"):
        go_back(ctx, "delay", reason="slow")


def test_a_rollback_says_what_is_missing(ctx: Context) -> None:
    with pytest.raises(NotFound, match="no alias"):
        go_back(ctx, "delay", reason="slow")
    promote(ctx, "delay", "champion", 1)
    with pytest.raises(Conflict, match="it pointed to no version before"):
        go_back(ctx, "delay", reason="slow")
    with pytest.raises(Invalid, match="reason"):
        go_back(ctx, "delay", reason="")
    promote(ctx, "delay", "champion", 2)
    versions.delete(ctx, "delay", 1)
    with pytest.raises(Conflict, match="1 is in the trash"):
        go_back(ctx, "delay", reason="slow")


# -- gated ------------------------------------------------------------------------------------


def measured(ctx: Context, **metrics: float) -> Version:
    """A version of a run with these metrics."""
    run = made_run(ctx, _home(ctx))
    points = [MetricPoint(key=key, value=value) for key, value in metrics.items()]
    ctx.write(lambda tx: tx.metrics.log(run.id, points))
    put_file(ctx, f"run:{run.id}", "model/MLmodel", b"flavors: {}")
    return versions.create(ctx, "delay", NewVersion(source=f"runs:/{run.id}/model", run_id=run.id))


def _home(ctx: Context) -> str:
    with ctx.read() as tx:
        found = tx.assets.find(ctx.space, "experiment", "home")
    return found.id if found else made_experiment(ctx)


def test_a_version_that_was_brought_along_is_gated_by_what_was_logged(ctx: Context) -> None:
    put_gate(ctx, "delay", (Metric(metric="roc_auc", at_least=0.7),))
    good, bad = measured(ctx, roc_auc=0.75), measured(ctx, roc_auc=0.65)
    with pytest.raises(PolicyBlocked, match="no verdict"):
        versions.set_alias(ctx, "delay", "champion", good.number)
    decision = check_version(ctx, "delay", good.number)
    assert decision.verdict is Verdict.ALLOW
    assert decision.evidence[0].detail == f"as logged by run:{good.run_id}"
    versions.set_alias(ctx, "delay", "champion", good.number)
    assert check_version(ctx, "delay", bad.number).verdict is Verdict.DENY
    with pytest.raises(PolicyBlocked, match=r"roc_auc was 0\.65"):
        versions.set_alias(ctx, "delay", "champion", bad.number)


def test_what_was_not_logged_does_not_hold(ctx: Context) -> None:
    put_gate(ctx, "delay", (Metric(metric="roc_auc", at_least=0.7), Latency(p99_ms=20)))
    nothing, some = measured(ctx), measured(ctx, roc_auc=0.9)
    for version, missing in (
        (nothing, {"roc_auc", "latency p99 of one row (ms)"}),
        (some, {"latency p99 of one row (ms)"}),
    ):
        decision = check_version(ctx, "delay", version.number)
        assert decision.verdict is Verdict.DENY
        assert {line.check for line in decision.evidence if line.found == "not measured"} == missing
    assert check_version(ctx, "delay", measured(ctx, roc_auc=float("nan")).number).verdict is Verdict.DENY


def test_a_comparison_without_rows_does_not_hold(ctx: Context) -> None:
    put_gate(ctx, "delay", (NotWorse(than="champion", metric="roc_auc", margin=0.1),))
    first, second = measured(ctx, roc_auc=0.7), measured(ctx, roc_auc=0.9)
    assert check_version(ctx, "delay", first.number).verdict is Verdict.ALLOW
    versions.set_alias(ctx, "delay", "champion", first.number)
    decision = check_version(ctx, "delay", second.number)
    assert decision.verdict is Verdict.DENY
    assert (decision.evidence[0].found, decision.evidence[0].held) == ("0.2", False)
    assert "without an interval" in decision.evidence[0].detail


def test_a_gate_and_an_approval_guard_together(ctx: Context) -> None:
    demand_approval(ctx, "delay", alias="champion")
    put_gate(ctx, "delay", (Metric(metric="roc_auc", at_least=0.7),))
    good = measured(ctx, roc_auc=0.75)
    asked = request(as_(ctx, "ann"), "delay", good.number, alias="champion")
    with pytest.raises(PolicyBlocked, match="gate/delay"):
        approve(as_(ctx, "bob"), "delay", asked.id, reason="good")
    assert requests(ctx, "delay")[0].state == "open"
    check_version(ctx, "delay", good.number)
    approve(as_(ctx, "bob"), "delay", asked.id, reason="good")
    assert pointed(ctx) == good.number
    put_gate(ctx, "delay", (Metric(metric="roc_auc", at_least=0.8),))
    assert len(show(ctx, "delay").gate.checks) == 1
    with pytest.raises(PolicyBlocked, match="approval/delay/champion"):
        versions.set_alias(ctx, "delay", "champion", 1)


def test_a_gate_has_a_check(ctx: Context) -> None:
    with pytest.raises(Invalid):
        put_gate(ctx, "delay", ())


# -- side by side -------------------------------------------------------------------------------


_MLMODEL = """
flavors: {{python_function: {{loader_module: x}}}}
signature:
  inputs: '[{{"name": "{name}", "type": "double", "required": true}}, {{"name": "b", "type": "long"}}]'
  outputs: '[{{"type": "double", "required": true}}]'
  params: null
"""


def _packaged(ctx: Context, run: Run, column: str, numpy: str) -> Version:
    owner = f"run:{run.id}"
    put_file(ctx, owner, "model/MLmodel", _MLMODEL.format(name=column).encode())
    put_file(ctx, owner, "model/requirements.txt", f"# made\nnumpy=={numpy}\nscipy\n".encode())
    return versions.create(ctx, "delay", NewVersion(source=f"runs:/{run.id}/model", run_id=run.id))


def _updated(run: Run, tx: Transaction) -> None:
    tx.runs.update(run)


def test_versions_side_by_side_tell_signature_environment_data_and_code(ctx: Context) -> None:
    home = made_experiment(ctx)
    runs = [made_run(ctx, home) for _ in range(2)]
    for at, run in enumerate(runs):
        facts = {**run.facts, "datasets": [{"name": "flights", "digest": f"d{at}"}]}
        tags = {"mlflow.source.git.commit": f"c{at}", "mlflow.source.name": "train.py"}
        changed = replace(run, facts=facts, tags=tags)
        ctx.write(partial(_updated, changed))
    left, right = _packaged(ctx, runs[0], "a", "2.0"), _packaged(ctx, runs[1], "c", "2.1")
    put_file(ctx, f"run:{runs[1].id}", "loopwright/environment.lock.txt", b"numpy==2.1\npolars==1.0\n")
    found = compare(ctx, "delay", left.number, right.number)

    def told(part: str) -> dict[str, tuple[object, object]]:
        return {each.key: (each.left, each.right) for each in getattr(found, part)}

    assert told("signature") == {"input a": ("double", None), "input c": (None, "double")}
    assert found.same["signature"] == 2
    assert told("environment") == {"numpy": ("2.0", "2.1"), "polars": (None, "1.0")}
    assert told("data") == {"flights": ("d0", "d1")}
    assert told("code") == {"commit": ("c0", "c1")}
    assert set(told("files")) == {"MLmodel", "requirements.txt"}


def test_a_package_that_cannot_be_read_is_compared_without_its_signature(ctx: Context) -> None:
    home = made_experiment(ctx)
    run = made_run(ctx, home)
    put_file(ctx, f"run:{run.id}", "model/MLmodel", b"!!python/object:os.system {}")
    made = versions.create(ctx, "delay", NewVersion(source=f"runs:/{run.id}/model", run_id=run.id))
    assert compare(ctx, "delay", 1, made.number).signature == ()
