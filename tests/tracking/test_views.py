"""Views of runs: kept by space and principal, followed by whoever has the link."""

from __future__ import annotations

import pytest

from loopwright.core.errors import Denied, Invalid, NotFound
from loopwright.engine.context import Context, Principal
from loopwright.testing.builders import memory_context
from loopwright.tracking import experiments
from loopwright.tracking.searching import count_runs
from loopwright.tracking.verbs import start
from loopwright.tracking.views import drop_view, save_view, show_view, views

QUERY = "filter=metrics.auc+%3E+0.7&order=metrics.auc+DESC&column=metrics.auc"


@pytest.fixture
def ctx() -> Context:
    found = memory_context()
    for name in ("home", "other"):
        experiments.make(found, name)
    return found


def test_a_view_is_its_owners_to_change_and_anybodys_to_follow(ctx: Context) -> None:
    saved = save_view(ctx, "home", "good ones", query=QUERY)
    again = save_view(ctx, "home", "good ones", query="group=params.model")
    assert (again.id, [view.query for view in views(ctx, "home")]) == (saved.id, ["group=params.model"])
    bob = ctx.acting_as(Principal(name="bob"))
    assert views(bob, "home") == ()
    assert show_view(bob, "home", saved.id).owner == "tester"
    with pytest.raises(Denied):
        drop_view(bob, "home", saved.id)
    assert save_view(bob, "home", "good ones", query=QUERY).id != saved.id
    assert views(ctx, "other") == ()
    with pytest.raises(NotFound):
        show_view(ctx, "other", saved.id)
    drop_view(ctx, "home", saved.id)
    with pytest.raises(NotFound):
        show_view(ctx, "home", saved.id)
    assert len(views(bob, "home")) == 1


@pytest.mark.parametrize(
    "query", ["javascript:alert(1)", "next=//evil", "filter", "a=1&" * 300, "filter=" + "x" * 9000]
)
def test_what_is_none_of_a_tables_is_refused(ctx: Context, query: str) -> None:
    with pytest.raises(Invalid):
        save_view(ctx, "home", "v", query=query)


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "a\nb"])
def test_a_view_has_a_name(ctx: Context, name: str) -> None:
    with pytest.raises(Invalid):
        save_view(ctx, "home", name, query=QUERY)


def test_runs_are_counted_as_a_search_finds_them(ctx: Context) -> None:
    for at in range(7):
        start(ctx, "run", f"r{at}", experiment="home", params={"model": ("tree", "net")[at % 2]})
    start(ctx, "run", "elsewhere", experiment="other")
    assert (count_runs(ctx).count, count_runs(ctx, experiment=("home",)).count) == (8, 7)
    trees = count_runs(ctx, experiment=("home",), filter="params.model = 'tree'")
    assert (trees.count, trees.is_all) == (4, True)
    assert count_runs(ctx, experiment=("none",)).count == 0
