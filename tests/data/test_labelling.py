"""A queue of labels: who is asked what, what is agreed, and the label set that comes of it."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import cohen_kappa_score

from loopwright.core.errors import Conflict, Denied, Invalid, NotFound
from loopwright.data.allowing import PurposeRule, Purposes
from loopwright.data.appending import append
from loopwright.data.labelling import (
    answer,
    close_queue,
    list_queues,
    next_item,
    open_queue,
    publish,
    show_queue,
)
from loopwright.data.labels import LabelQueue
from loopwright.data.purposes import set_purposes
from loopwright.data.reading import read
from loopwright.data.rewriting import overwrite
from loopwright.engine.context import Context, Principal
from loopwright.engine.platform import lineage
from loopwright.engine.publishing import manifest_of
from loopwright.testing.builders import SetClock, memory_context, memory_ports
from tests.data.test_contracts import under
from tests.data.weather import START

ANN, BOB, EVE = "ann", "bob", "eve"
US = pa.timestamp("us", "UTC")


@pytest.fixture
def clock() -> SetClock:
    return SetClock(START)


@pytest.fixture
def ctx(clock: SetClock) -> Context:
    return memory_context(memory_ports(clock=clock))


def flights(scores: list[float | None], *, start: int = 0) -> pa.Table:
    return pa.table(
        {
            "flight": pa.array(range(start, start + len(scores)), pa.int64()),
            "note": [f"note {n}" for n in range(len(scores))],
            "late": pa.array(scores, pa.float64()),
        }
    )


def test_lineage_draws_a_label_set_without_a_run_and_what_is_added_to_it(ctx: Context) -> None:
    append(ctx, "flights", flights([0.5, 0.9]), keys=("flight",))
    opened(ctx, annotators=1)
    work(ctx, ANN, "yes", "no")
    made = publish(ctx, "late").version
    more = flights([0.5], start=9)
    by_hand = pa.table({"flight": more["flight"], "label": ["yes"], "known_at": pa.array([START], US)})
    added = append(ctx, "late-labels", by_hand).version
    for version in (made, added):
        found = lineage(ctx, str(version.ref)).edges
        assert ("dataset:flights@1", str(version.ref)) in {(edge.source, edge.target) for edge in found}
    assert str(made.ref) in {edge.target for edge in lineage(ctx, "dataset:flights@1").edges}
    replaced = overwrite(ctx, "late-labels", by_hand).version
    assert not lineage(ctx, str(replaced.ref)).edges


def test_a_run_that_publishes_labels_has_read_the_rows(ctx: Context) -> None:
    append(ctx, "flights", flights([0.5]), keys=("flight",))
    opened(ctx, annotators=1)
    work(ctx, ANN, "yes")
    version = publish(under(ctx, "r1"), "late").version
    edges = {(edge.source, edge.target) for edge in lineage(ctx, str(version.ref)).edges}
    assert edges == {("dataset:flights@1", "run:r1"), ("run:r1", str(version.ref))}


def opened(ctx: Context, **asked: object) -> LabelQueue:
    given = {"dataset": "flights", "question": "Late by weather?", "choices": ("yes", "no"), **asked}
    return open_queue(ctx, "late", **given)  # type: ignore[arg-type]  # a test's own choice of arguments


def work(ctx: Context, who: str, *choices: str | None) -> list[object]:
    """Answer what comes, in turn; gives the flights that were asked about."""
    asked: list[object] = []
    for choice in choices:
        row = next_item(ctx, "late", annotator=who)
        assert row.item is not None
        asked.append(row.values.get("flight"))
        answer(ctx, "late", item=row.item, choice=choice, annotator=who)
    return asked


def test_the_uncertain_ones_come_first(ctx: Context) -> None:
    scores = [0.9, 0.45, None, 0.51, float("nan"), 0.1, 0.55]
    append(ctx, "flights", flights(scores[:3]), keys=("flight",))
    append(ctx, "flights", flights(scores[3:], start=3), keys=("flight",))
    opened(ctx, score="late")
    assert work(ctx, ANN, *["yes"] * 7) == [3, 1, 6, 0, 5, 2, 4]
    assert next_item(ctx, "late", annotator=ANN).item is None


@pytest.mark.parametrize("seed", range(3))
def test_the_nearest_of_many_parts_are_those_of_a_sort(ctx: Context, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.random(300).tolist()
    for part in range(3):
        append(ctx, "flights", flights(scores[100 * part : 100 * part + 100], start=100 * part))
    opened(ctx, score="late", around=0.3, limit=20, keys=("flight",))
    expected = sorted(range(300), key=lambda n: abs(scores[n] - 0.3))[:20]
    assert work(ctx, ANN, *["no"] * 20) == expected


def test_two_are_asked_about_each_row_and_a_third_about_none_of_these(ctx: Context) -> None:
    append(ctx, "flights", flights([0.5, 0.6]), keys=("flight",))
    opened(ctx)
    assert work(ctx, ANN, "yes", "no") == work(ctx, BOB, "yes", "yes") == [0, 1]
    assert next_item(ctx, "late", annotator=EVE).item is None
    with pytest.raises(Conflict, match="enough others"):
        answer(ctx, "late", item=0, choice="no", annotator=EVE)
    view = show_queue(ctx, "late")
    assert (view.done, view.agreed, view.disputed) == (2, 1, 1)
    assert view.annotators == {ANN: 2, BOB: 2}


def test_nobody_sees_what_others_chose(ctx: Context) -> None:
    append(ctx, "flights", flights([0.5]), keys=("flight",))
    opened(ctx, columns=("note",))
    work(ctx, ANN, "yes")
    row = next_item(ctx, "late", annotator=BOB)
    assert (row.values, row.own, row.previous, row.left) == ({"note": "note 0"}, None, None, 1)


def test_an_answer_can_be_taken_back(ctx: Context, clock: SetClock) -> None:
    append(ctx, "flights", flights([0.5, 0.6]), keys=("flight",))
    opened(ctx)
    work(ctx, ANN, "yes")
    clock.set(START + timedelta(minutes=1))
    before = next_item(ctx, "late", annotator=ANN).previous
    again = next_item(ctx, "late", annotator=ANN, item=before)
    assert again.own is not None
    assert (again.item, again.own.choice) == (0, "yes")
    answer(ctx, "late", item=0, choice="no", annotator=ANN)
    work(ctx, BOB, "no")
    assert show_queue(ctx, "late").agreed == 1


def test_who_cannot_say_leaves_the_row_to_another(ctx: Context) -> None:
    append(ctx, "flights", flights([0.5]), keys=("flight",))
    opened(ctx)
    work(ctx, ANN, None)
    work(ctx, BOB, "yes")
    work(ctx, EVE, "yes")
    view = show_queue(ctx, "late")
    assert (view.done, view.agreed, view.annotators) == (1, 1, {ANN: 1, BOB: 1, EVE: 1})
    assert [(each.first, each.second) for each in view.agreement] == [(BOB, EVE)]


def test_agreement_is_cohens_kappa_of_what_both_answered(ctx: Context) -> None:
    rng = np.random.default_rng(5)
    append(ctx, "flights", flights([0.5] * 40), keys=("flight",))
    opened(ctx, choices=("yes", "no", "both"))
    ones = rng.choice(["yes", "no", "both"], 40).tolist()
    others = [one if rng.random() < 0.7 else "no" for one in ones[:25]]
    work(ctx, ANN, *ones)
    work(ctx, BOB, *others)
    (found,) = show_queue(ctx, "late").agreement
    assert found.n == 25
    assert found.kappa == pytest.approx(cohen_kappa_score(ones[:25], others))
    assert found.kappa is not None
    assert found.low is not None
    assert found.low < found.kappa


def test_without_a_difference_there_is_no_kappa_and_it_is_said_why(ctx: Context) -> None:
    append(ctx, "flights", flights([0.5]), keys=("flight",))
    opened(ctx)
    work(ctx, ANN, "yes")
    work(ctx, BOB, "yes")
    (found,) = show_queue(ctx, "late").agreement
    assert (found.kappa, found.same) == (None, 1)
    assert "one and the same" in found.why


def test_what_is_agreed_is_a_version_that_is_known_from_the_last_answer_on(
    ctx: Context, clock: SetClock
) -> None:
    append(ctx, "flights", flights([0.5, 0.6, 0.7]), keys=("flight",))
    opened(ctx, carry=("note",))
    work(ctx, ANN, "yes", "no", "no")
    clock.set(START + timedelta(hours=1))
    work(ctx, BOB, "yes", "yes")
    published = publish(ctx, "late")
    rows = read(ctx, "dataset:late-labels").to_pylist()
    hour = START + timedelta(hours=1)
    assert rows == [{"flight": 0, "note": "note 0", "label": "yes", "known_at": hour}]
    body = manifest_of(ctx, published.version).body
    assert (body["known_at"], tuple(body["keys"])) == ("known_at", ("flight",))
    assert body["facts"]["labels_of"] == "dataset:flights@1"
    assert publish(ctx, "late").version.number == 1
    work(ctx, BOB, "no")
    assert publish(ctx, "late").version.number == 2


def test_a_next_queue_leaves_out_what_is_labelled(ctx: Context) -> None:
    append(ctx, "flights", flights([0.5, 0.6, 0.7]), keys=("flight",))
    opened(ctx, limit=2, annotators=1)
    work(ctx, ANN, "yes", "no")
    publish(ctx, "late")
    close_queue(ctx, "late")
    opened(ctx, limit=2, annotators=1)
    assert work(ctx, ANN, "yes") == [2]
    publish(ctx, "late")
    close_queue(ctx, "late")
    with pytest.raises(Invalid, match="no row of dataset:flights@1 is left"):
        opened(ctx)


def test_a_closed_queue_leaves_nothing(ctx: Context) -> None:
    append(ctx, "flights", flights([0.5]), keys=("flight",))
    queue = opened(ctx)
    work(ctx, ANN, "yes")
    close_queue(ctx, "late")
    assert list_queues(ctx) == ()
    with ctx.read() as tx:
        assert not tx.documents.all(ctx.space, f"label_answers/{queue.id}")
        assert not tx.segments.between(ctx.space, "label_queue/late", None, None)
    with pytest.raises(NotFound, match="no queue"):
        next_item(ctx, "late")


def test_who_may_not_read_a_column_is_not_shown_it(ctx: Context) -> None:
    append(ctx, "flights", flights([0.5]), keys=("flight",))
    rule = PurposeRule(column="note", allowed=("review",), otherwise="forbidden")
    set_purposes(ctx, "flights", Purposes(ask="privacy", rules=(rule,)))
    with pytest.raises(Denied, match="'note'"):
        opened(ctx)
    opened(ctx, purpose="review")
    assert next_item(ctx, "late", annotator=ANN).values["note"] == "note 0"
    set_purposes(ctx, "flights", Purposes(ask="privacy", rules=(PurposeRule(column="note"),)))
    with pytest.raises(Denied, match="'note'"):
        next_item(ctx.acting_as(Principal(name=BOB)), "late")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"keys": ()}, "what tells a row"),
        ({"keys": ("note",), "score": "note"}, "is no number"),
        ({"keys": ("flight",), "choices": ("yes", "yes")}, "named twice"),
        ({"keys": ("late",)}, "two rows have the key"),
        ({"keys": ("absent",)}, "absent"),
        ({"keys": ("flight",), "label_set": "flights"}, "is no label set"),
    ],
)
def test_what_makes_no_queue_is_refused(ctx: Context, asked: dict[str, object], said: str) -> None:
    append(ctx, "flights", flights([0.5, 0.5]))
    with pytest.raises((Invalid, NotFound), match=said):
        opened(ctx, **asked)


def test_what_is_no_answer_is_refused(ctx: Context) -> None:
    append(ctx, "flights", flights([0.5]), keys=("flight",))
    opened(ctx)
    with pytest.raises(Conflict, match="there is a queue"):
        opened(ctx)
    with pytest.raises(Invalid, match="none of the choices"):
        answer(ctx, "late", item=0, choice="maybe")
    with pytest.raises(NotFound, match="no item 7"):
        answer(ctx, "late", item=7, choice="yes")
    with pytest.raises(Invalid, match="equal answers"):
        publish(ctx, "late")
