"""The lineage graph of a page: asked for, folded, laid out."""

from __future__ import annotations

from collections import Counter

from loopwright.surfaces.ui.desk import Desk, Values
from loopwright.surfaces.ui.folding import fold
from loopwright.surfaces.ui.layout import place

__all__ = ["drawn", "graph"]


def graph(desk: Desk, address: str, *, whole: bool) -> Values:
    """What is drawn of the lineage of an address, and what is told of it in words."""
    found = desk.call("lineage.show", address=address)
    nodes, edges, members = fold(found.nodes, found.edges, keep=address)
    if whole:
        nodes, edges = list(found.nodes), list(found.edges)
    where = place(nodes, edges)
    rows = max(Counter(x for x, _ in where.values()).values(), default=0)
    return {
        "nodes": [
            {
                "id": n.id,
                "kind": n.kind,
                "label": n.label,
                "detail": n.detail,
                "x": where[n.id][0],
                "y": where[n.id][1],
            }
            for n in nodes
        ],
        "edges": [{"source": e.source, "target": e.target} for e in edges],
        "focus": address,
        "cut": found.cut,
        "whole": whole,
        "rows": rows,
        "folded": sum(map(len, members.values())),
        "every": sorted(found.nodes, key=lambda n: (n.kind, n.label)),
    }


def drawn(lineage: Values) -> Values:
    """The part of a graph that the browser draws."""
    return {key: lineage[key] for key in ("nodes", "edges", "focus", "whole")}
