"""Folds alike nodes of a lineage graph into one, so that a picture of it stays readable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from loopwright.engine.platform import Edge, Node

__all__ = ["Folded", "fold"]

_FOLD = "fold:"


class Folded(NamedTuple):
    """A graph in which a node may stand for several; `members` says for which."""

    nodes: list[Node]
    edges: list[Edge]
    members: dict[str, tuple[Node, ...]]


def fold(nodes: Sequence[Node], edges: Sequence[Edge], *, keep: str, at_least: int = 3) -> Folded:
    """Nodes of one kind with the very same neighbours become one, where they are `at_least` so many.

    The node `keep` is never folded. O(nodes + edges).
    """
    before: dict[str, set[str]] = {node.id: set() for node in nodes}
    after: dict[str, set[str]] = {node.id: set() for node in nodes}
    for edge in edges:
        after[edge.source].add(edge.target)
        before[edge.target].add(edge.source)
    alike: dict[tuple[str, frozenset[str], frozenset[str]], list[Node]] = {}
    for node in nodes:
        if node.id != keep and (before[node.id] or after[node.id]):
            key = (node.kind, frozenset(before[node.id]), frozenset(after[node.id]))
            alike.setdefault(key, []).append(node)
    groups = [tuple(found) for found in alike.values() if len(found) >= at_least]
    stands = {node.id: _FOLD + found[0].id for found in groups for node in found}
    return Folded(
        nodes=_nodes(nodes, stands, {_FOLD + found[0].id: found for found in groups}),
        edges=_edges(edges, stands),
        members={_FOLD + found[0].id: found for found in groups},
    )


def _nodes(nodes: Sequence[Node], stands: dict[str, str], members: dict[str, tuple[Node, ...]]) -> list[Node]:
    found: dict[str, Node] = {}
    for node in nodes:
        name = stands.get(node.id, node.id)
        if name == node.id:
            found[name] = node
        elif name not in found:
            alike = members[name]
            found[name] = Node(id=name, kind=node.kind, label=f"{len(alike)} alike", detail=_told(alike))
    return list(found.values())


def _told(alike: tuple[Node, ...]) -> str:
    """Their names, or for versions of one thing the first and the last."""
    names = list(dict.fromkeys(node.label.partition("@")[0] for node in alike))
    if len(names) == 1:
        return f"{alike[0].label} \u2026 {alike[-1].label}"
    return ", ".join(names)


def _edges(edges: Sequence[Edge], stands: dict[str, str]) -> list[Edge]:
    pairs = dict.fromkeys((stands.get(e.source, e.source), stands.get(e.target, e.target)) for e in edges)
    return [Edge(source=source, target=target) for source, target in pairs]
