"""Conditions on traces as SQL, each about the row `t` of a trace; both stores speak it but for few words."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from loopwright.adapters.sql.repositories.conditions import ORDERED, Sql, text_test
from loopwright.adapters.sql.repositories.keys import known_keys
from loopwright.adapters.sql.repositories.texts import HEAD
from loopwright.adapters.sql.statements import Session
from loopwright.core.errors import Invalid
from loopwright.core.queries import All, AnyOf, Comparison, Condition, Not
from loopwright.core.traces import NAME_TAG, RUN_METADATA

__all__ = ["NarrowTraces", "TraceConditions", "trace_attribute"]

_TEXTS = {
    "request_id": "t.id",
    "experiment_id": "t.experiment_id",
    "client_request_id": "t.client_request_id",
    "status": "t.state",
}
_NUMBERS = {
    "timestamp_ms": "t.started_ms",
    "execution_time_ms": "t.duration_ms",
    "end_time_ms": "(t.started_ms + COALESCE(t.duration_ms, 0))",
}
_SPANS = {"name": "s.name", "type": "s.type", "status": "s.status", "content": "s.content"}
_ATTRIBUTE = "attributes."
_NULLS = {"IS NULL", "IS NOT NULL"}
_NO_KEY = -1
_FEW = 2_000


class NarrowTraces(NamedTuple):
    """A test that few rows of an index pass: a search begins with those instead of walking its order."""

    table: str
    where: str
    arguments: tuple[Any, ...]


def trace_attribute(key: str) -> tuple[str, type]:
    """The expression of an attribute that is a column, and the type of its values."""
    if key in _TEXTS:
        return _TEXTS[key], str
    if key in _NUMBERS:
        return _NUMBERS[key], int
    raise Invalid(f"traces have no attribute {key!r}", hint=f"they have {', '.join([*_TEXTS, *_NUMBERS])}")


class TraceConditions:
    """Compiles the conditions of one search."""

    def __init__(self, session: Session, space: str, experiments: tuple[str, ...]) -> None:
        self._session = session
        self._space = space
        self._experiments = experiments
        self._keys: dict[str, int] = {}

    def key_number(self, name: str) -> int:
        """The number of a tag's or metadata's name; one that no row has where nobody wrote it."""
        if name not in self._keys:
            self._keys[name] = known_keys(self._session, self._space, [name]).get(name, _NO_KEY)
        return self._keys[name]

    def narrowest(self, condition: Condition) -> NarrowTraces | None:
        """Of the tests every trace has to pass, one that an index answers and few traces pass, if any."""
        parts = condition.parts if isinstance(condition, All) else (condition,)
        for part in parts:
            found = self._narrow(part) if isinstance(part, Comparison) else None
            if found is not None and self._is_narrow(found):
                return found
        return None

    def _narrow(self, asked: Comparison) -> NarrowTraces | None:
        kind, key = asked.field.kind, asked.field.key
        if (kind, key) == ("attribute", "name"):
            kind, key = "tag", NAME_TAG
        match kind, asked.op, asked.value:
            case (("tag" | "metadata"), "=", str() as value):
                table = "trace_tags" if kind == "tag" else "trace_metadata"
                return NarrowTraces(
                    table, "n.key_no = ? AND n.head = ?", (self.key_number(key), value[:HEAD])
                )
        return None

    def _is_narrow(self, found: NarrowTraces) -> bool:
        text = f"SELECT COUNT(*) FROM (SELECT 1 FROM {found.table} n WHERE {found.where} LIMIT ?) few"
        return bool(self._session.fetch(text, [*found.arguments, _FEW])[0][0] < _FEW)

    def sql(self, condition: Condition) -> Sql:
        """A text that is true or false of the trace `t`, never null, with its arguments."""
        match condition:
            case All(parts):
                return self._all(parts)
            case AnyOf(parts):
                return _joined([self.sql(part) for part in parts], " OR ", "0 = 1")
            case Not(part):
                text, arguments = self.sql(part)
                return f"NOT ({text})", arguments
            case Comparison():
                return self._comparison(condition)

    def _all(self, parts: tuple[Condition, ...]) -> Sql:
        """What is asked of spans beside one another is asked of one and the same span."""
        of_spans = [each for each in parts if isinstance(each, Comparison) and each.field.kind == "span"]
        rest = [self.sql(each) for each in parts if each not in of_spans]
        if of_spans:
            rest.append(self._some_span(of_spans))
        return _joined(rest, " AND ", "1 = 1")

    def _comparison(self, asked: Comparison) -> Sql:
        key = asked.field.key
        match asked.field.kind:
            case "tag":
                return self._text("trace_tags", key, asked)
            case "metadata":
                return self._text("trace_metadata", key, asked)
            case "span":
                return self._some_span([asked])
            case "feedback" | "expectation":
                return self._assessed(asked)
            case "issue":
                return self._issue(asked)
            case _:
                return self._attribute(key, asked)

    def _attribute(self, key: str, asked: Comparison) -> Sql:
        if key == "name":
            return self._text("trace_tags", NAME_TAG, asked)
        if key == "run_id":
            text, arguments = self._text("trace_metadata", RUN_METADATA, asked)
            if asked.op != "=":
                return text, arguments
            linked, more = self._linked("run", asked)
            return f"{text} OR {linked}", [*arguments, *more]
        if key == "prompt":
            return self._linked("prompt", asked)
        column, kind = trace_attribute(key)
        if asked.op in _NULLS:
            return f"{column} {asked.op}", []
        if kind is int:
            if asked.op not in ORDERED or isinstance(asked.value, str | tuple) or asked.value is None:
                raise Invalid(f"{key} cannot be compared by {asked.op}", hint="compare it with a number")
            return f"({column} IS NOT NULL AND {column} {ORDERED[asked.op]} ?)", [asked.value]
        test, values = self._test(column, asked)
        return f"({column} IS NOT NULL AND {test})", values

    def _text(self, table: str, key: str, asked: Comparison) -> Sql:
        of_trace = f"SELECT 1 FROM {table} x WHERE x.trace_no = t.no AND x.key_no = ?"
        number = self.key_number(key)
        if asked.op in _NULLS:
            return f"{'NOT ' * (asked.op == 'IS NULL')}EXISTS ({of_trace})", [number]
        test, arguments = self._test("x.value", asked)
        return f"EXISTS ({of_trace} AND {test})", [number, *arguments]

    def _linked(self, kind: str, asked: Comparison) -> Sql:
        there = "SELECT 1 FROM trace_links l WHERE l.trace_no = t.no AND l.kind = ?"
        if asked.op in _NULLS:
            return f"{'NOT ' * (asked.op == 'IS NULL')}EXISTS ({there})", [kind]
        test, arguments = self._test("l.target", asked)
        return f"EXISTS ({there} AND {test})", [kind, *arguments]

    def _some_span(self, asked: list[Comparison]) -> Sql:
        test, arguments = _joined([self._span(each) for each in asked], " AND ", "1 = 1")
        return f"EXISTS (SELECT 1 FROM spans s WHERE s.trace_no = t.no AND {test})", arguments

    def _span(self, asked: Comparison) -> Sql:
        key = asked.field.key
        if key.startswith(_ATTRIBUTE):
            return self._span_attribute(key.removeprefix(_ATTRIBUTE), asked)
        column = _SPANS.get(key)
        if column is None:
            raise Invalid(f"spans have no {key!r}", hint=f"they have {', '.join(_SPANS)} and attributes")
        if asked.op in _NULLS:
            return f"{column} {asked.op}", []
        test, arguments = self._test(column, asked)
        return f"({column} IS NOT NULL AND {test})", arguments

    def _span_attribute(self, name: str, asked: Comparison) -> Sql:
        if self._session.is_sqlite:
            source = "json_each(s.content, '$.attributes') a"
            told = (
                "CASE a.type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE CAST(a.value AS TEXT) END"
            )
        else:
            source = "json_each_text(COALESCE(s.content::json->'attributes', '{}'::json)) a"
            told = "a.value"
        there = f"SELECT 1 FROM {source} WHERE a.key = ? AND a.value IS NOT NULL"
        if asked.op in _NULLS:
            return f"{'NOT ' * (asked.op == 'IS NULL')}EXISTS ({there})", [name]
        test, arguments = self._test(f"({told})", asked)
        return f"EXISTS ({there} AND {test})", [name, *arguments]

    def _assessed(self, asked: Comparison) -> Sql:
        """Said of the trace itself, or of the session it is in by way of another trace of it."""
        this = "a.space = ? AND a.kind = ? AND a.name = ? AND a.valid = 1"
        values: list[Any] = [self._space, asked.field.kind, asked.field.key]
        if asked.op not in _NULLS:
            test, more = self._assessment_test(asked)
            this, values = f"{this} AND {test}", [*values, *more]
        direct = f"EXISTS (SELECT 1 FROM assessments a WHERE a.trace_no = t.no AND {this})"
        marks = ", ".join("?" * len(self._experiments))
        shared = (
            "(t.session IS NOT NULL AND EXISTS (SELECT 1 FROM assessments a "
            f"JOIN traces o ON o.no = a.trace_no WHERE {this} AND a.is_session_wide = 1 "
            f"AND o.space = t.space AND o.session = t.session AND o.experiment_id IN ({marks})))"
        )
        text = f"({direct} OR {shared})" if self._experiments else direct
        arguments = [*values, *values, *self._experiments] if self._experiments else values
        return (f"NOT {text}" if asked.op == "IS NULL" else text), arguments

    def _assessment_test(self, asked: Comparison) -> Sql:
        if asked.op in {"<", "<=", ">", ">="}:
            if isinstance(asked.value, str | tuple) or asked.value is None:
                raise Invalid("an order is asked of numbers alone", hint="compare it with a number")
            return f"(a.measure IS NOT NULL AND a.measure {ORDERED[asked.op]} ?)", [float(asked.value)]
        if asked.op in {"=", "!="} and isinstance(asked.value, str):
            equal = "(a.value = ? OR a.value = ?)"
            written = msgspec.json.encode(asked.value).decode()
            return f"{'NOT ' * (asked.op == '!=')}{equal}", [asked.value, written]
        return self._test("a.value", asked)

    def _issue(self, asked: Comparison) -> Sql:
        test, values = self._test("a.name", asked)
        there = "SELECT 1 FROM assessments a WHERE a.trace_no = t.no AND a.kind = 'issue'"
        return f"EXISTS ({there} AND {test})", values

    def _test(self, column: str, asked: Comparison) -> Sql:
        return text_test(column, asked, is_sqlite=self._session.is_sqlite)


def _joined(parts: list[Sql], word: str, empty: str) -> Sql:
    text = word.join(f"({part})" for part, _ in parts) or empty
    return text, [value for _, values in parts for value in values]
