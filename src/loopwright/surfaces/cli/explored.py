"""Documents that were run, as text: words as they are, rows as tables, charts by what they would draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loopwright.surfaces.cli.output import Output

__all__ = ["COMMANDS", "tell"]

COMMANDS = frozenset({"explorations.run", "explorations.show", "explorations.rerun"})
"""the operations whose results are told so"""
_ROWS = 20


def tell(found: Mapping[str, Any], output: Output) -> None:
    """Print a document with its results; of a rerun only what is otherwise than it was."""
    if "outcome" not in found:
        _tell_document(found, output)
        return
    output.say(f"{found['outcome']}: {found['before'][:12]} before, {found['now'][:12]} now")
    for name in found["renewed"]:
        output.say(f"rows were erased from {name} since")
    for cell in found["explored"]["cells"]:
        if cell["name"] in found["changed"]:
            _tell_rows(cell, output)


def _tell_document(found: Mapping[str, Any], output: Output) -> None:
    for cell in found["cells"]:
        if cell["kind"] == "text":
            output.say(cell["source"])
        elif cell["kind"] == "sql":
            _tell_rows(cell, output)
        elif cell["chart"]:
            drawn = cell["chart"]
            names = ", ".join(each["name"] for each in drawn.get("series", ()))
            output.say(f"[{drawn['kind']} of {drawn['of']}: {names or 'count'} by {drawn['x']['name']}]")
        output.say("")
    pins = ", ".join(f"{name} = {pin['address']}" for name, pin in found["pins"].items())
    output.note(f"reads {pins or 'no dataset'}; results {found['digest'][:12] or 'withheld'}")
    if found["withheld"]:
        output.note(found["withheld"])


def _tell_rows(cell: Mapping[str, Any], output: Output) -> None:
    columns = list(cell["columns"])
    if not columns:
        output.say(cell["source"])
        return
    shown = [dict(zip(columns, row, strict=True)) for row in cell["rows"][:_ROWS]]
    output.table(columns, shown)
    rest = len(cell["rows"]) - len(shown)
    if rest or cell["is_cut"]:
        output.say(f"{cell['name']}: {rest:,} more rows{', and more that were not kept' * cell['is_cut']}")
