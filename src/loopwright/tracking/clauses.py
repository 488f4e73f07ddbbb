"""What one comparison of a search means in its dialect: which field, with which operator, and which value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NoReturn

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.patterns import finder
from loopwright.core.queries import AnyOf, Comparison, Condition, Field, Operator
from loopwright.tracking.dialects import PROMPT_TAG, Dialect, is_numeric, operators
from loopwright.tracking.lexing import Token, excerpt, place

__all__ = ["DATASET_KEYS", "SPAN_KEYS", "Clause", "comparison", "field_named", "refuse"]

DATASET_KEYS = ("name", "digest", "context")
"""what is known of a dataset that a run read"""
SPAN_KEYS = ("name", "type", "status", "content")
"""what is known of every span, beside its attributes"""
_OF_SPAN = "attributes."
_ORDERED = ("<", "<=", ">", ">=")

_WHOLE = re.compile("-?[0-9]+")
_QUOTE = "put a text in quotes: 'value'"
_LIST = "put a list in brackets and its texts in quotes: ('a', 'b')"
_INSTEAD = {
    "==": "write = for equal",
    "<>": "write != for not equal",
    "NOT LIKE": "write NOT before the field: NOT params.model LIKE 'a%'",
    "NOT ILIKE": "write NOT before the field: NOT params.model ILIKE 'a%'",
}
_LIST_START = "While parsing a list in the query, expected"


class Clause(msgspec.Struct, frozen=True):
    """A comparison as written: tokens, of which nothing but their places has been looked at.

    `operator` is in upper case. `values` is empty for IS NULL, what stands between the brackets of a list,
    commas too, where `is_list`, else one token.
    """

    left: Token
    operator: str
    sign: Token
    """where the operator begins"""
    values: tuple[Token, ...] = ()
    is_list: bool = False

    @property
    def right(self) -> str:
        """The value as written."""
        text = " ".join(token.text for token in self.values).replace(" ,", ",")
        return excerpt(f"({text})" if self.is_list else text)


def refuse(message: str, token: Token, hint: str = "") -> NoReturn:
    """Raise `Invalid` that names the place of a token."""
    raise Invalid(message, hint=hint, where=place(token.at))


def comparison(clause: Clause, dialect: Dialect) -> Condition:
    """The condition of a clause; `Invalid` says what of it cannot be.

    The field is looked at first, then the value, then the operator, as MLflow does: the first of several
    mistakes is the one that its users know.
    """
    field = _left(clause, dialect)
    if not clause.values and not clause.is_list:
        return Comparison(field, _null_operator(field, clause, dialect))
    if field.kind in {"feedback", "expectation"}:
        value: str | float | tuple[str, ...] = _said(field, clause)
    else:
        value = _value(field, clause, dialect)
    found = Comparison(field, _operator(field, clause, dialect), value)
    if found.op == "RLIKE" and isinstance(value, str):
        finder(value)
    if dialect.has_prompts and _holds_of_models(found):
        return AnyOf((found, Comparison(field, "IS NULL")))
    return found


def field_named(token: Token, dialect: Dialect, attributes: Mapping[str, str], told: str) -> Field:
    """The field that a path, a word or a quoted word names, its attributes under the names given.

    `told` begins the error for another attribute.
    """
    if token.kind != "path":
        return _attribute(_known(token, attributes, told))
    kind = dialect.entities.get(token.entity)
    if kind is None:
        refuse(dialect.entity_refused.format(entity=excerpt(token.entity)), token)
    if kind == "attribute":
        return _attribute(_known(token, attributes, told))
    if kind in {"span", "issue"}:
        return Field(kind, _part_of_trace(kind, token))
    if kind == "dataset" and token.value not in DATASET_KEYS:
        refuse(
            f"Invalid dataset key '{excerpt(token.value)}' specified. Valid keys are '{_set(DATASET_KEYS)}'",
            token,
        )
    return Field(kind, token.value)


def _attribute(key: str) -> Field:
    """An attribute; the text of a trace is all that its spans recorded."""
    return Field("span", "content") if key == "text" else Field("attribute", key)


def _part_of_trace(kind: str, token: Token) -> str:
    name = token.value.removeprefix(_OF_SPAN)
    if kind == "issue" and token.value != "id":
        refuse(f"Invalid issue attribute '{excerpt(token.value)}'. Supported attributes: id", token)
    if kind == "span" and not name:
        refuse("Span attribute name cannot be empty after 'attributes.'", token)
    if kind == "span" and name == token.value and name not in SPAN_KEYS:
        refuse(
            f"Invalid span attribute '{excerpt(name)}'. "
            "Supported attributes: name, status, type, attributes.<attribute_name>.",
            token,
        )
    return token.value


def _known(token: Token, attributes: Mapping[str, str], told: str) -> str:
    found = attributes.get(token.value)
    if found is None:
        refuse(
            f"{told} '{excerpt(token.value)}' specified. Valid keys are '{_set(attributes)}'",
            token,
            "a metric, a param or a tag is named with its kind: metrics.loss",
        )
    return found


def _left(clause: Clause, dialect: Dialect) -> Field:
    token = clause.left
    if token.kind in {"number", "single"}:
        refuse(
            f"Invalid comparison clause. Expected 'Identifier' found '{excerpt(token.text)}'",
            token,
            "write the field first, then the operator and the value",
        )
    return field_named(token, dialect, dialect.attributes, "Invalid attribute key")


def _value(field: Field, clause: Clause, dialect: Dialect) -> str | float | tuple[str, ...]:
    token = clause.values[0] if clause.values else clause.left
    if is_numeric(dialect, field):
        return _number(field, clause, token, dialect)
    if clause.is_list:
        if "IN" not in operators(dialect, field):
            _refuse_value(field, clause, token)
        return _texts(clause, dialect)
    if token.kind in {"single", "double"}:
        return token.value
    if dialect.has_bare_text and token.kind in {"number", "word"}:
        return token.text
    if token.kind != "number":
        refuse(
            "Parameter value is either not quoted or unidentified quote types used for string value "
            f"{clause.right}. Use either single or double quotes.",
            token,
            _QUOTE,
        )
    _refuse_value(field, clause, token)


def _said(field: Field, clause: Clause) -> str | float:
    """What was said is put in an order with numbers, and compared with texts in every other way."""
    token = clause.values[0] if clause.values else clause.left
    is_ordered = clause.operator in _ORDERED
    if is_ordered and token.kind == "number" and not clause.is_list:
        return float(token.value)
    if not is_ordered and token.kind in {"single", "double"} and not clause.is_list:
        return token.value
    if is_ordered:
        told = f"Expected a numeric value for {field.kind} when using comparator '{clause.operator}'."
    else:
        told = f"Expected a quoted string value for {field.kind} (e.g. 'my-value')."
    refuse(f"{told} Got value {clause.right}", token, _QUOTE if not is_ordered else "write a number")


def _refuse_value(field: Field, clause: Clause, token: Token) -> NoReturn:
    of = {
        "param": "parameter (e.g. 'my-value')",
        "tag": "tag (e.g. 'my-value')",
        "attribute": "attributes",
        "dataset": "dataset attributes",
    }.get(field.kind, f"{field.kind} (e.g. 'my-value')")
    refuse(f"Expected a quoted string value for {of}. Got value {clause.right}", token, _QUOTE)


def _number(field: Field, clause: Clause, token: Token, dialect: Dialect) -> float:
    is_attribute = field.kind == "attribute"
    is_whole = not clause.is_list and _WHOLE.fullmatch(token.value) is not None
    if dialect.has_quoted_numbers and is_whole and token.kind in {"single", "double"}:
        return float(token.value)
    if clause.is_list or token.kind != "number":
        of = f"numeric attribute: {field.key}" if is_attribute else "metric"
        refuse(
            f"Expected numeric value type for {of}. Found {clause.right}", token, "write a number, unquoted"
        )
    if is_attribute and dialect.has_whole_numbers and not is_whole:
        refuse(
            f"Invalid value for numeric attribute '{field.key}': {clause.right!r}",
            token,
            "write a whole number",
        )
    return float(token.value)


def _texts(clause: Clause, dialect: Dialect) -> tuple[str, ...]:
    """The texts of a list, which a comma may close."""
    if not clause.values:
        refuse(f"{_LIST_START} a non-empty list of string values, but got empty list", clause.sign, _LIST)
    for index, token in enumerate(clause.values):
        is_text = token.kind in {"single", "double"} or (dialect.has_bare_text and token.kind == "number")
        if token.kind == "number" and not is_text:
            refuse(
                f"{_LIST_START} string value, punctuation, or whitespace, but got different type in list: "
                f"{clause.right}",
                token,
                _LIST,
            )
        if is_text == (index % 2 == 1) or not (is_text or token.kind == ","):
            refuse(f"{_LIST_START} a non-empty list of string values, but got ill-formed list.", token, _LIST)
    return tuple(token.value for token in clause.values[::2])


def _operator(field: Field, clause: Clause, dialect: Dialect) -> Operator:
    allowed = operators(dialect, field)
    is_fit = clause.is_list == clause.operator.endswith("IN")
    if clause.operator not in allowed or not is_fit:
        told = dialect.operator_refused.format(
            kind=field.kind,
            key=excerpt(field.key),
            operator=excerpt(clause.operator),
            allowed=_set(allowed),
        )
        refuse(told, clause.sign, _INSTEAD.get(clause.operator, f"compare by one of {', '.join(allowed)}"))
    return clause.operator


def _null_operator(field: Field, clause: Clause, dialect: Dialect) -> Operator:
    if clause.operator not in operators(dialect, field):
        refuse(
            "IS NULL / IS NOT NULL is only supported for tags and params, "
            f"not for '{field.kind}' '{excerpt(field.key)}'",
            clause.sign,
            "leave the comparison out: a field that is missing compares as false",
        )
    return clause.operator


def _holds_of_models(found: Comparison) -> bool:
    """Whether a comparison holds of what is no prompt, which has not the tag that says so."""
    is_about_prompts = found.field == Field("tag", PROMPT_TAG)
    return is_about_prompts and (found.op, found.value) in {("=", "false"), ("!=", "true")}


def _set(words: Iterable[str]) -> str:
    return "{" + ", ".join(repr(word) for word in sorted(words)) + "}"
