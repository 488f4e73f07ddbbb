"""Evaluation datasets and traces go from one workspace to another and stay what they were."""

from __future__ import annotations

from pathlib import Path

from loopwright.core.traces import Span, Trace, TraceState
from loopwright.llm import datasets
from loopwright.loops.bringing import Asked, bring
from loopwright.loops.comparing import compare
from loopwright.loops.own import OwnHistory
from loopwright.ports.ledger import Transaction
from loopwright.tracking import experiments
from loopwright.workspace import Workspace
from tests.loops.past import workspace

RECORDS = [
    {"inputs": {"q": number, "deep": {"a": [None, 1.5, "é"]}}, "expectations": {"answer": number}}
    for number in range(30)
]


def made(there: Workspace) -> str:
    """A dataset of an experiment with records, one of them joined, and a trace with a step."""
    ctx = there.context()
    home = experiments.create(ctx, "asking").id
    found = datasets.create(ctx, "questions", tags={"team": "blue"}, experiments=(home,))
    datasets.merge(ctx, found.id, RECORDS)
    datasets.merge(ctx, found.id, [{"inputs": RECORDS[3]["inputs"], "outputs": ["x"], "tags": {"hard": 1}}])
    trace = Trace(id="tr-1", space=ctx.space, experiment_id=home, started_ms=5, state=TraceState.OK)
    span = Span(trace_id="tr-1", id="00000000000000ab", name="root", start_ns=5, end_ns=6)

    def work(tx: Transaction) -> None:
        tx.traces.save([trace])
        tx.spans.put(ctx.space, [span])

    ctx.write(work)
    return found.id


def test_they_are_the_same_on_both_sides(tmp_path: Path) -> None:
    with workspace(tmp_path / "there") as there, workspace(tmp_path / "here") as here:
        dataset_id = made(there)
        history, ours = OwnHistory(there.context()), OwnHistory(here.context())
        first = bring(history, here, Asked())
        assert first.counts["evaluation datasets"] == {"found": 1, "new": 1}
        assert first.counts["records"] == {"found": 30, "new": 30}
        assert first.counts["traces"] == {"found": 1, "new": 1}
        assert compare(history, ours).differences == ()
        again = bring(history, here, Asked())
        assert again.counts["evaluation datasets"] == {"found": 1, "same": 1}
        before = datasets.show(there.context(), dataset_id)
        after = datasets.show(here.context(), dataset_id)
        assert (after.digest, after.records, after.tags) == (before.digest, 30, {"team": "blue"})


def test_what_changed_here_stays_unless_it_is_overwritten(tmp_path: Path) -> None:
    with workspace(tmp_path / "there") as there, workspace(tmp_path / "here") as here:
        dataset_id = made(there)
        history = OwnHistory(there.context())
        bring(history, here, Asked())
        datasets.merge(here.context(), dataset_id, [{"inputs": {"q": "ours"}}])
        datasets.merge(there.context(), dataset_id, [{"inputs": {"q": "theirs"}}])
        assert bring(history, here, Asked()).counts["evaluation datasets"] == {"found": 1, "ours": 1}
        assert datasets.show(here.context(), dataset_id).records == 31
        over = bring(history, here, Asked(overwrite=True))
        assert over.counts["evaluation datasets"] == {"found": 1, "changed": 1}
        assert compare(history, OwnHistory(here.context())).ok


def test_one_deleted_here_does_not_come_back_by_itself(tmp_path: Path) -> None:
    with workspace(tmp_path / "there") as there, workspace(tmp_path / "here") as here:
        dataset_id = made(there)
        history = OwnHistory(there.context())
        bring(history, here, Asked())
        datasets.delete(here.context(), dataset_id)
        datasets.set_tags(there.context(), dataset_id, {"a": "b"})
        assert bring(history, here, Asked()).counts["evaluation datasets"] == {"found": 1, "ours": 1}
