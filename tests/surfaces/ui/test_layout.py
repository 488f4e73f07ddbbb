"""The places of a lineage graph, against what a picture of one must hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loopwright.engine.platform import Edge, Node
from loopwright.surfaces.ui.layout import place

Graph = tuple[list[Node], list[Edge]]


@st.composite
def graphs(draw: st.DrawFn, *, acyclic: bool = False) -> Graph:
    """Any graph, with cycles, loops and double edges; or one whose edges follow a hidden order."""
    size = draw(st.integers(1, 14))
    number = st.integers(0, size - 1)
    pairs = draw(st.lists(st.tuples(number, number), max_size=40))
    if acyclic:
        pairs = [(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]]
    names = draw(st.permutations([f"dataset:d{i}@1" for i in range(size)]))
    nodes = [Node(id=name, kind="dataset", label=name) for name in draw(st.permutations(names))]
    return nodes, [Edge(source=names[a], target=names[b]) for a, b in pairs]


def reached_from(start: str, edges: list[Edge]) -> set[str]:
    """Every node there is a way to, by one edge or more."""
    found: set[str] = set()
    border = [start]
    while border:
        here = border.pop()
        for edge in edges:
            if edge.source == here and edge.target not in found:
                found.add(edge.target)
                border.append(edge.target)
    return found


@given(graphs())
def test_every_edge_goes_right_unless_it_is_in_a_cycle(graph: Graph) -> None:
    nodes, edges = graph
    where = place(nodes, edges)
    for edge in edges:
        if edge.source not in reached_from(edge.target, edges) and edge.source != edge.target:
            assert where[edge.source][0] < where[edge.target][0]


@given(graphs())
def test_every_node_has_a_place_of_its_own(graph: Graph) -> None:
    nodes, edges = graph
    where = place(nodes, edges)
    assert set(where) == {node.id for node in nodes}
    assert len(set(where.values())) == len(nodes)
    assert place(nodes, edges) == where


@given(graphs(acyclic=True))
def test_a_node_stands_as_far_right_as_its_longest_way_is_long(graph: Graph) -> None:
    nodes, edges = graph
    before: dict[str, list[str]] = {node.id: [] for node in nodes}
    after: dict[str, list[str]] = {node.id: [] for node in nodes}
    for edge in edges:
        before[edge.target].append(edge.source)
        after[edge.source].append(edge.target)

    def longest(name: str) -> int:
        return max((1 + longest(source) for source in before[name]), default=0)

    def step(name: str) -> int:
        """What nothing leads to stands by the first of its readers."""
        if before[name] or not after[name]:
            return longest(name)
        return min(map(longest, after[name])) - 1

    where = place(nodes, edges)
    steps = sorted({x for x, _ in where.values()})
    assert all(steps.index(where[node.id][0]) == step(node.id) for node in nodes)


def test_an_empty_graph_has_no_places() -> None:
    assert place([], []) == {}


def test_a_way_of_thousands_of_steps_is_laid_out() -> None:
    nodes = [Node(id=f"n{i}", kind="dataset", label="") for i in range(5_000)]
    edges = [Edge(source=f"n{i}", target=f"n{i + 1}") for i in range(4_999)]
    assert len({x for x, _ in place(nodes, edges).values()}) == 5_000


def test_neighbours_stand_beside_each_other() -> None:
    """Two chains that do not touch do not cross."""
    nodes = [Node(id=name, kind="dataset", label="") for name in ("a1", "b1", "b2", "a2", "b3", "a3")]
    pairs = [("a1", "a2"), ("a2", "a3"), ("b1", "b2"), ("b2", "b3")]
    where = place(nodes, [Edge(source=a, target=b) for a, b in pairs])
    above = [where[f"a{i}"][1] < where[f"b{i}"][1] for i in (1, 2, 3)]
    assert len(set(above)) == 1
