"""Lays a lineage graph out in layers, on the server: longest path, sources by their readers, barycentres."""

from __future__ import annotations

from collections.abc import Sequence

from loopwright.engine.platform import Edge, Node

__all__ = ["place"]

_ACROSS, _DOWN = 256, 60
_SWEEPS = 6


def place(nodes: Sequence[Node], edges: Sequence[Edge]) -> dict[str, tuple[int, int]]:
    """Positions `(x, y)` in pixels of every node; cycles are broken. O(nodes x edges) at worst."""
    ids = [node.id for node in nodes]
    layer = _layers(ids, edges)
    rows: dict[int, list[str]] = {}
    for name in ids:
        rows.setdefault(layer[name], []).append(name)
    before: dict[str, list[str]] = {name: [] for name in ids}
    after: dict[str, list[str]] = {name: [] for name in ids}
    for edge in edges:
        before[edge.target].append(edge.source)
        after[edge.source].append(edge.target)
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        _order(rows, before if forward else after, forward=forward)
    found = {}
    for depth, names in rows.items():
        top = -(len(names) - 1) / 2
        for place_in_row, name in enumerate(names):
            found[name] = (depth * _ACROSS, round((top + place_in_row) * _DOWN))
    return found


def _layers(ids: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """The longest path from a source to each node, over the edges that close no cycle."""
    after: dict[str, list[str]] = {name: [] for name in ids}
    for edge in edges:
        after[edge.source].append(edge.target)
    order = _finished_last(ids, after)
    position = {name: i for i, name in enumerate(order)}
    layer = dict.fromkeys(ids, 0)
    for name in order:
        for target in after[name]:
            if position[target] > position[name]:
                layer[target] = max(layer[target], layer[name] + 1)
    return _sources_near(layer, edges, position)


def _sources_near(layer: dict[str, int], edges: Sequence[Edge], position: dict[str, int]) -> dict[str, int]:
    """What nothing leads to stands right before the first that reads it, so that its edges stay short."""
    onward = [edge for edge in edges if position[edge.target] > position[edge.source]]
    reached = {edge.target for edge in onward}
    readers: dict[str, int] = {}
    for edge in onward:
        if edge.source not in reached:
            readers[edge.source] = min(readers.get(edge.source, layer[edge.target]), layer[edge.target])
    return {**layer, **{name: first - 1 for name, first in readers.items()}}


def _finished_last(ids: Sequence[str], after: dict[str, list[str]]) -> list[str]:
    """Nodes in reverse order of finishing a depth-first walk: topological where there is no cycle."""
    seen: set[str] = set()
    finished: list[str] = []
    for start in ids:
        stack = [(start, False)]
        while stack:
            name, is_done = stack.pop()
            if is_done:
                finished.append(name)
            elif name not in seen:
                seen.add(name)
                stack.append((name, True))
                stack += [(target, False) for target in after[name] if target not in seen]
    return finished[::-1]


def _order(rows: dict[int, list[str]], neighbours: dict[str, list[str]], *, forward: bool) -> None:
    where = {name: i - len(row) / 2 for row in rows.values() for i, name in enumerate(row)}
    for depth in sorted(rows, reverse=not forward):
        row = rows[depth]
        centre = {
            name: sum(where[n] for n in neighbours[name]) / len(neighbours[name])
            if neighbours[name]
            else where[name]
            for name in row
        }
        row[:] = [name for _, name in sorted((centre[name], name) for name in row)]
        for i, name in enumerate(row):
            where[name] = i - len(row) / 2
