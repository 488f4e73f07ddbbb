"""Tests of rows as text with their arguments, and those of what a JSON text holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from loopwright.adapters.sql.rows import to_json
from loopwright.adapters.sql.statements import Session

__all__ = ["Tests", "holding", "joined"]

Tests = list[tuple[str, Sequence[Any]]]


def holding(session: Session, column: str, pairs: Iterable[tuple[str, str]]) -> Tests:
    """Tests of a JSON text for members, as they stand in it: also where they stand deeper."""
    place = "instr" if session.is_sqlite else "strpos"
    return [(f"{place}({column}, ?) > 0", (to_json({key: value})[1:-1],)) for key, value in pairs]


def joined(tests: Tests) -> str:
    """All of them."""
    return " AND ".join(f"({text})" for text, _ in tests)
