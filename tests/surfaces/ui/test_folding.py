"""Folded graphs, against a brute-force reading of which nodes are alike."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loopwright.engine.platform import Edge, Node
from loopwright.surfaces.ui.folding import fold

KINDS = ("dataset", "model")


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Node], list[Edge]]:
    size = draw(st.integers(1, 9))
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=size, max_size=size))
    nodes = [Node(id=f"n{i}", kind=kind, label=f"name{i}@1") for i, kind in enumerate(kinds)]
    number = st.integers(0, size - 1)
    pairs = draw(st.lists(st.tuples(number, number), max_size=20))
    return nodes, [Edge(source=f"n{a}", target=f"n{b}") for a, b in pairs]


@given(graphs(), st.integers(2, 4))
def test_what_stands_for_several_stands_for_all_alike_and_only_them(
    graph: tuple[list[Node], list[Edge]], at_least: int
) -> None:
    nodes, edges = graph
    folded = fold(nodes, edges, keep="n0", at_least=at_least)

    def sides(name: str) -> tuple[set[str], set[str]]:
        return {e.source for e in edges if e.target == name}, {e.target for e in edges if e.source == name}

    def alike(one: Node, other: Node) -> bool:
        return one.kind == other.kind and sides(one.id) == sides(other.id) != (set(), set())

    for node in nodes:
        group = {each.id for each in nodes if each.id != "n0" and alike(node, each)}
        folds = node.id != "n0" and len(group) >= at_least
        members = [{each.id for each in found} for found in folded.members.values()]
        assert (group in members) if folds else (node in folded.nodes)
    kept = {node.id for node in folded.nodes}
    assert all(edge.source in kept and edge.target in kept for edge in folded.edges)
    assert sum(map(len, folded.members.values())) + len(kept) - len(folded.members) == len(nodes)


def test_a_fold_says_what_it_holds() -> None:
    made = Node(id="run:r", kind="training", label="train")
    views = [Node(id=f"v{i}", kind="feature_view", label=f"view{i}@1") for i in range(3)]
    routes = [Node(id=f"e{i}", kind="endpoint", label=f"delays@{i}") for i in (1, 2, 3)]
    edges = [Edge(source=v.id, target=made.id) for v in views]
    edges += [Edge(source=made.id, target=e.id) for e in routes]
    told = {n.kind: (n.label, n.detail) for n in fold([made, *views, *routes], edges, keep="run:r").nodes}
    assert told["feature_view"] == ("3 alike", "view0, view1, view2")
    assert told["endpoint"] == ("3 alike", "delays@1 … delays@3")
