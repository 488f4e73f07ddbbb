"""Texts of searches: written from conditions in all spellings, and made up, right and wrong."""

from __future__ import annotations

import random
import re

from loopwright.core.queries import All, AnyOf, Comparison, Condition, Field, Not
from loopwright.tracking.dialects import (
    EXPERIMENTS,
    LOGGED_MODELS,
    MODEL_VERSIONS,
    REGISTERED_MODELS,
    RUNS,
    Dialect,
)

DIALECTS = {
    "runs": RUNS,
    "experiments": EXPERIMENTS,
    "registered_models": REGISTERED_MODELS,
    "model_versions": MODEL_VERSIONS,
    "logged_models": LOGGED_MODELS,
}
_BARE = re.compile(r"[\w$#]+(\.[\w$#]+)*")
_BARE_ATTRIBUTE = re.compile(r"[^\W\d][\w$#]*")
_WORDS = {"AND", "OR", "NOT"}


def written(condition: Condition, dialect: Dialect, rng: random.Random) -> str:
    """A text that means the condition, with brackets wherever one part stands in another."""
    match condition:
        case All(parts):
            return _joined(parts, "AND", dialect, rng)
        case AnyOf(parts):
            return _joined(parts, "OR", dialect, rng)
        case Not(part):
            return f"{_cased('NOT', rng)} {_part(part, dialect, rng)}"
        case Comparison(field, op, value):
            signs = " ".join(_cased(word, rng) for word in op.split())
            if value is None:
                return f"{_field(field, dialect, rng)} {signs}"
            space = rng.choice([" ", "\n\t"]) if signs[0].isalpha() else rng.choice(["", " "])
            return f"{_field(field, dialect, rng)}{space}{signs}{space}{_value(value, rng)}"


def quoted(text: str, quote: str) -> str:
    """A text in quotes; those within are written twice."""
    return quote + text.replace(quote, quote * 2) + quote


def _joined(parts: tuple[Condition, ...], word: str, dialect: Dialect, rng: random.Random) -> str:
    texts = [_part(part, dialect, rng) for part in parts]
    return f" {_cased(word, rng)} ".join(texts)


def _part(part: Condition, dialect: Dialect, rng: random.Random) -> str:
    text = written(part, dialect, rng)
    return text if isinstance(part, Comparison | Not) else f"({text})"


def _cased(word: str, rng: random.Random) -> str:
    return rng.choice([word, word.lower(), word.title()])


def _field(field: Field, dialect: Dialect, rng: random.Random) -> str:
    keys = [field.key]
    if field.kind == "attribute":
        keys = [written for written, meant in dialect.attributes.items() if meant == field.key]
    key = rng.choice(keys)
    entity = rng.choice([name for name, kind in dialect.entities.items() if kind == field.kind])
    if field.kind == "attribute" and rng.random() < 0.5:
        can_be_bare = _BARE_ATTRIBUTE.fullmatch(key) and key.upper() not in _WORDS
        return key if can_be_bare else quoted(key, rng.choice('`"'))
    if _BARE.fullmatch(key) and rng.random() < 0.5:
        return f"{entity}.{key}"
    return rng.choice([entity, quoted(entity, "`")]) + "." + quoted(key, rng.choice('`"'))


def _value(value: str | float | tuple[str, ...], rng: random.Random) -> str:
    if isinstance(value, str):
        return quoted(value, rng.choice("'\""))
    if isinstance(value, tuple):
        comma = rng.choice(["", ","])
        return "(" + ", ".join(_value(each, rng) for each in value) + comma + ")"
    if abs(value) == float("inf"):
        return "1e999" if value > 0 else "-1e999"
    return str(int(value)) if value.is_integer() else repr(value)


_TOKENS = {
    "runs": (
        "metrics.loss",
        "metric.`val loss`",
        "metrics.a.b",
        "params.model",
        'parameter."p q"',
        "tags.mlflow.user",
        "tag.`x`",
        "attributes.status",
        "attr.run_id",
        "run.end_time",
        "run_name",
        "`run name`",
        "start_time",
        "Created",
        "user_id",
        "artifact_uri",
        "datasets.name",
        "dataset.context",
        "dataset.profile",
        "m.acc",
        "nothing",
        "attribute.experiment_id",
    ),
    "experiments": (
        "name",
        "attribute.name",
        "experiment_id",
        "creation_time",
        "last_update_time",
        "tags.a",
        "tag.`a b`",
        "params.a",
        "attributes.name",
        "run_id",
    ),
    "registered_models": ("name", "attribute.name", "`name`", "tags.a", "tag.`a b`", "run_id", "metrics.a"),
    "model_versions": (
        "name",
        "version_number",
        "run_id",
        "source_path",
        "attribute.run_id",
        "tags.a",
        "creation_timestamp",
        "params.a",
    ),
    "logged_models": (
        "name",
        "attributes.name",
        "model_id",
        "model_type",
        "status",
        "source_run_id",
        "creation_time",
        "creation_timestamp",
        "last_updated_timestamp",
        "metrics.loss",
        "metrics.`val loss`",
        "params.lr",
        "tags.a",
        "metric.loss",
        "nothing",
    ),
}
_OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "LIKE", "ILIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL")
_ODD_OPERATORS = ("==", "<>", "~", "RLIKE", "NOT LIKE", "like", "in", "is null")
_VALUES = ("'x'", '"y z"', "''", "'%a_'")
_NUMBERS = ("1", "-1.5", "1e3", ".5", "3", "5.", "1700000000000")
_LISTS = ("('a')", "('a', 'b')", '("a","b")', "('a',)", "()", "(1, 2)")
_ODD_VALUES = ("x", "`x`", "'open", "metrics.loss", "0x1", "+1")


def some_text(dialect: str, rng: random.Random) -> str:
    """A text of one to three comparisons; most can be read, some have a part too few, too many or astray."""
    clauses = [_some_clause(dialect, rng) for _ in range(rng.choice([1, 1, 2, 3]))]
    pieces = clauses[0]
    for clause in clauses[1:]:
        pieces = [*pieces, rng.choice(["AND", "and"]), *clause]
    if rng.random() < 0.2:
        at = rng.randrange(len(pieces))
        pieces = rng.choice(
            [
                pieces[:at] + pieces[at + 1 :],
                [*pieces[:at], pieces[at], *pieces[at:]],
                [*pieces[:at], rng.choice([*_ODD_VALUES, ",", ";", "AND", "&&", "-- x"]), *pieces[at:]],
            ]
        )
    return " ".join(pieces)


def _some_clause(dialect: str, rng: random.Random) -> list[str]:
    field = rng.choice(_TOKENS[dialect])
    is_number = re.search("metric|time|stamp|reated|number", field) is not None
    if rng.random() < 0.1:
        is_number = not is_number
    op = rng.choice(_OPERATORS[:6] if is_number else (*_OPERATORS[:2], *_OPERATORS[6:]))
    if rng.random() < 0.1:
        op = rng.choice(_ODD_OPERATORS)
    if op.upper().startswith("IS"):
        return [field, op]
    values = _LISTS if op.upper().endswith("IN") else _NUMBERS if is_number else _VALUES
    return [field, op, rng.choice(values if rng.random() < 0.95 else _ODD_VALUES)]


def some_order(dialect: str, rng: random.Random) -> str:
    """A clause to order by; most can be read."""
    times = ("timestamp", "last_updated_timestamp", "creation_timestamp")
    field = rng.choice([*_TOKENS[dialect], *times])
    direction = rng.choice(["", "", " ASC", " DESC", " desc", "  aSc", " down", " asc desc", " 1"])
    return field + direction
