"""Conditions on runs as SQL, each about the row `r` of a run; both stores speak it but for few words."""

from __future__ import annotations

from typing import Any

from loopwright.adapters.sql.repositories.keys import known_keys
from loopwright.adapters.sql.repositories.texts import HEAD
from loopwright.adapters.sql.statements import Session
from loopwright.core.errors import Invalid
from loopwright.core.folding import spellings
from loopwright.core.patterns import finder
from loopwright.core.queries import All, AnyOf, Comparison, Condition, Not

__all__ = ["ORDERED", "USER_TAG", "Conditions", "Sql", "attribute_sql", "text_test", "there"]

_NEVER, _ALWAYS = "0 = 1", "1 = 1"
ORDERED = {"=": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_TEXTS = {"run_id": "r.id", "run_name": "r.name", "status": "UPPER(r.state)"}
_TIMES = {"start_time": "r.started_at", "end_time": "r.ended_at", "created": "r.created_at"}
USER_TAG = "mlflow.user"
"""the user of a run is whom its tag tells"""
_NO_KEY = -1

Sql = tuple[str, list[Any]]


def attribute_sql(key: str, is_sqlite: bool) -> tuple[str, type]:
    """The expression of an attribute, and the type of its values."""
    if key in _TEXTS:
        return _TEXTS[key], str
    if key in _TIMES:
        return f"({_TIMES[key]} / 1000)", int
    if key == "artifact_uri":
        return (
            "json_extract(r.facts, '$.artifact_uri')" if is_sqlite else "(r.facts::json->>'artifact_uri')"
        ), str
    raise Invalid(f"runs have no attribute {key!r}", hint=f"they have {', '.join([*_TEXTS, *_TIMES])}")


class Conditions:
    """Compiles the conditions of one search."""

    def __init__(self, session: Session, space: str) -> None:
        self._session = session
        self._space = space
        self._keys: dict[str, int] = {}

    def key_number(self, name: str) -> int:
        """The number of a metric's, param's or tag's name; one that no row has where nobody logged it."""
        if name not in self._keys:
            self._keys[name] = known_keys(self._session, self._space, [name]).get(name, _NO_KEY)
        return self._keys[name]

    def sql(self, condition: Condition, run: str = "r.no") -> Sql:
        """A text that is true or false of the run `r`, never null, with its arguments.

        `run` is the expression of the run's number that is known first.
        """
        match condition:
            case All(parts):
                return self._joined(parts, " AND ", _ALWAYS, run)
            case AnyOf(parts):
                return self._joined(parts, " OR ", _NEVER, run)
            case Not(part):
                text, arguments = self.sql(part, run)
                return f"NOT ({text})", arguments
            case Comparison():
                return self._comparison(condition, run)

    def _joined(self, parts: tuple[Condition, ...], word: str, empty: str, run: str) -> Sql:
        texts, arguments = list[str](), list[Any]()
        for part in parts:
            text, values = self.sql(part, run)
            texts.append(f"({text})")
            arguments += values
        return word.join(texts) or empty, arguments

    def _comparison(self, asked: Comparison, run: str) -> Sql:
        kind, key = asked.field.kind, asked.field.key
        if kind == "attribute" and key == "user_id":
            return self._text("run_tags", USER_TAG, asked, run)
        match kind:
            case "metric":
                return self._metric(key, asked, run)
            case "param":
                return self._text("run_params", key, asked, run)
            case "tag":
                return self._text("run_tags", key, asked, run)
            case "dataset":
                return self._dataset(key, asked)
            case _:
                return self._attribute(key, asked)

    def _metric(self, key: str, asked: Comparison, run: str) -> Sql:
        of_run = f"SELECT 1 FROM metric_latest m WHERE m.run_no = {run} AND m.key_no = ?"
        number = self.key_number(key)
        if asked.op in {"IS NULL", "IS NOT NULL"}:
            return f"{'NOT ' * (asked.op == 'IS NULL')}{there(self._session, of_run)}", [number]
        if asked.op not in ORDERED or isinstance(asked.value, str | tuple) or asked.value is None:
            raise Invalid(f"a metric cannot be compared by {asked.op}", hint="compare it with a number")
        test = f"m.is_nan = 0 AND m.value {ORDERED[asked.op]} ?"
        if asked.op == "!=":
            test = "(m.is_nan = 1 OR m.value <> ?)"
        return there(self._session, f"{of_run} AND {test}"), [number, float(asked.value)]

    def _text(self, table: str, key: str, asked: Comparison, run: str) -> Sql:
        of_run = f"SELECT 1 FROM {table} t WHERE t.run_no = {run} AND t.key_no = ?"
        number = self.key_number(key)
        if asked.op in {"IS NULL", "IS NOT NULL"}:
            return f"{'NOT ' * (asked.op == 'IS NULL')}{there(self._session, of_run)}", [number]
        test, arguments = self._told("t.value", asked)
        if asked.op == "=" and isinstance(asked.value, str):
            test, arguments = f"t.head = ? AND {test}", [asked.value[:HEAD], *arguments]
        return there(self._session, f"{of_run} AND {test}"), [number, *arguments]

    def _attribute(self, key: str, asked: Comparison) -> Sql:
        column, kind = attribute_sql(key, self._session.is_sqlite)
        if asked.op in {"IS NULL", "IS NOT NULL"}:
            return f"{column} {asked.op}", []
        if kind is int:
            if asked.op not in ORDERED or isinstance(asked.value, str | tuple) or asked.value is None:
                raise Invalid(f"{key} cannot be compared by {asked.op}", hint="compare it with a number")
            return f"({column} IS NOT NULL AND {column} {ORDERED[asked.op]} ?)", [asked.value]
        test, arguments = self._told(column, asked)
        return f"({column} IS NOT NULL AND {test})", arguments

    def _told(self, column: str, asked: Comparison) -> Sql:
        return text_test(column, asked, is_sqlite=self._session.is_sqlite)

    def _dataset(self, key: str, asked: Comparison) -> Sql:
        if key not in {"name", "digest", "context"}:
            raise Invalid(f"datasets have no {key!r}", hint="they have name, digest and context")
        if self._session.is_sqlite:
            source, column = "json_each(r.facts, '$.datasets') d", f"json_extract(d.value, '$.{key}')"
        else:
            source = "json_array_elements(COALESCE(r.facts::json->'datasets', '[]'::json)) d"
            column = f"(d->>'{key}')"
        listed = f"SELECT 1 FROM {source} WHERE {column} IS NOT NULL"
        if asked.op in {"IS NULL", "IS NOT NULL"}:
            return f"{'NOT ' * (asked.op == 'IS NULL')}EXISTS ({listed})", []
        test, arguments = self._told(column, asked)
        return f"EXISTS ({listed} AND {test})", arguments


def there(session: Session, rows: str) -> str:
    """Whether there is such a row, asked of each run where it stands.

    PostgreSQL would rather read all such rows, if nothing kept it from taking them for a table to join.
    """
    return f"EXISTS ({rows})" if session.is_sqlite else f"EXISTS ({rows} OFFSET 0)"


def text_test(column: str, asked: Comparison, *, is_sqlite: bool) -> Sql:
    """A text that is there against a value."""
    match asked.op, asked.value:
        case ("IN" | "NOT IN") as op, tuple() as values:
            if not values:
                return (_NEVER if op == "IN" else _ALWAYS), []
            return f"{column} {op} ({', '.join('?' * len(values))})", list(values)
        case "LIKE", str() as pattern:
            if is_sqlite:
                return f"{column} GLOB ?", [_glob(pattern)]
            return f"{column} LIKE ? ESCAPE ''", [pattern]
        case "ILIKE", str() as pattern:
            return (f"{column} GLOB ?" if is_sqlite else f"{column} ~ ?"), [_any_case(pattern, is_sqlite)]
        case "RLIKE", str() as pattern:
            finder(pattern)
            return (f"re2({column}, ?)" if is_sqlite else f"{column} ~ ?"), [pattern]
        case op, str() as value if op in ORDERED:
            return f"{column} {ORDERED[op]} ?", [value]
    raise Invalid(f"{asked.field.key!r} cannot be compared so: {asked.op}", hint="compare it with a text")


_GLOBS = {"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"}
_EXPRESSIONS = {"%": ".*", "_": ".", **{sign: f"\\{sign}" for sign in r".^$*+?()[]{}|\\"}}


def _glob(pattern: str) -> str:
    """The pattern of LIKE as SQLite's GLOB, which tells upper from lower case."""
    return "".join(_GLOBS.get(letter, letter) for letter in pattern)


def _any_case(pattern: str, is_sqlite: bool) -> str:
    """The pattern of ILIKE as SQLite's GLOB, or as an expression of PostgreSQL: letters in all spellings.

    Both stores know the case of few letters by themselves, and not of the same.
    """
    words = _GLOBS if is_sqlite else _EXPRESSIONS
    told = "".join(words[letter] if letter in words else _spelled(letter) for letter in pattern)
    return told if is_sqlite else f"^{told}$"


def _spelled(letter: str) -> str:
    found = spellings(letter)
    return f"[{found}]" if len(found) > 1 else letter
