"""Tests of rows as text with their arguments, and those of what a JSON text holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from loopwright.adapters.sql.repositories.conditions import text_test
from loopwright.adapters.sql.rows import to_json
from loopwright.adapters.sql.statements import Session
from loopwright.core.queries import Comparison

__all__ = ["Tests", "holding", "joined", "source_tests", "told_tests"]

Tests = list[tuple[str, Sequence[Any]]]
_PLAIN = re.compile(r'[^"\\\x00-\x1f\x7f-\x9f]+')
"""names of members that stand in a JSON text, and in a path to it, as they are"""


def holding(session: Session, column: str, pairs: Iterable[tuple[str, str]]) -> Tests:
    """Tests of a JSON text for members, as they stand in it: also where they stand deeper."""
    place = "instr" if session.is_sqlite else "strpos"
    return [(f"{place}({column}, ?) > 0", (to_json({key: value})[1:-1],)) for key, value in pairs]


def told_tests(session: Session, table: str, told: Iterable[Comparison]) -> Tests:
    """Tests of the name and the tags of rows; none of a tag whose name no path can hold."""
    found: Tests = []
    for asked in told:
        if asked.field.kind == "attribute":
            found.append(text_test(f"{table}.name", asked, is_sqlite=session.is_sqlite))
        elif _PLAIN.fullmatch(asked.field.key):
            found.append(_of_tag(session, table, asked))
    return found


def _of_tag(session: Session, table: str, asked: Comparison) -> tuple[str, Sequence[Any]]:
    column, key = f"json_extract({table}.tags, ?)", f'$."{asked.field.key}"'
    if not session.is_sqlite:
        column, key = f'({table}.tags::json->>?) COLLATE "C"', asked.field.key
    text, values = text_test(column, asked, is_sqlite=session.is_sqlite)
    return text, [key, *values]


def source_tests(session: Session, table: str, sources: Iterable[Comparison]) -> Tests:
    """Tests of the text of the fact `source`, which hold of rows that have none."""
    column = f"json_extract({table}.facts, '$.source')"
    if not session.is_sqlite:
        column = f"({table}.facts::json->>'source') COLLATE \"C\""
    tests = (text_test(column, asked, is_sqlite=session.is_sqlite) for asked in sources)
    return [(f"COALESCE({column}, '') = '' OR {text}", values) for text, values in tests]


def joined(tests: Tests) -> str:
    """All of them."""
    return " AND ".join(f"({text})" for text, _ in tests)
