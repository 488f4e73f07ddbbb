"""Reads the texts that clients search with into conditions and orders.

The grammar is MLflow's, one dialect a kind of thing, and OR, NOT and brackets beside its AND:

    filter     = either
    either     = both { OR both }
    both       = { AND } term { AND { AND } term } { AND }
    term       = NOT term | "(" either ")" | comparison
    comparison = field operator value | field [ NOT ] IN "(" text { "," text } [ "," ] ")"
               | field IS [ NOT ] NULL
    field      = key | entity "." key

Keys stand bare, in backticks or in double quotes, texts in single or double quotes; a quote written twice
within quotes is one. The beginnings of the messages are what MLflow's clients know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.queries import All, AnyOf, Comparison, Condition, Field, Not, OnDataset, SortKey
from loopwright.tracking.clauses import Clause, comparison, field_named, refuse
from loopwright.tracking.dialects import LOGGED_MODELS, PROMPT_TAG, Dialect
from loopwright.tracking.lexing import Token, excerpt, place, refuse_unstorable, tokens

__all__ = [
    "MAX_CLAUSES",
    "MAX_DEPTH",
    "MAX_LENGTH",
    "MAX_ORDERS",
    "MAX_VALUES",
    "ModelOrder",
    "models_only",
    "parse_filter",
    "parse_model_order",
    "parse_order",
]

MAX_LENGTH = 200_000
"""characters of a filter, or of a clause of an order"""
MAX_CLAUSES = 200
"""comparisons in a filter: each may cost a database a look-up"""
MAX_DEPTH = 20
"""brackets and NOTs within one another"""
MAX_VALUES = 5_000
"""texts in the lists of a filter, together"""
MAX_ORDERS = 20
"""keys of an order"""

_WORD_OPERATORS = frozenset({"LIKE", "ILIKE", "RLIKE", "REGEXP"})
_NAMES = frozenset({"path", "word", "double", "ticked"})
_OPERANDS = _NAMES | {"single", "number"}


class ModelOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One key of the order of logged models, as clients send it."""

    field_name: str
    ascending: bool = True
    dataset_name: str | None = None
    dataset_digest: str | None = None


def parse_filter(text: str | None, dialect: Dialect) -> Condition | None:
    """What a filter asks for, None where it asks for nothing.

    `Invalid` where it cannot be read, names what is not there, compares what cannot be compared, or is over
    a limit; `where` tells the character.
    """
    if text is None or not text.strip():
        return None
    _bound(len(text), MAX_LENGTH, "characters", 0)
    return _Parser(tokens(text), dialect).filter()


def parse_order(clauses: Sequence[str], dialect: Dialect) -> tuple[SortKey, ...]:
    """The order asked for, each clause a field and perhaps ASC or DESC, completed by the dialect's ties.

    Without clauses it is the dialect's own order. `Invalid` where a clause cannot be read or names what has
    no order, where a field comes twice, and over `MAX_ORDERS` clauses.
    """
    _bound(len(clauses), MAX_ORDERS, "keys to order by", 0)
    return _completed(tuple(_sort_key(clause, dialect) for clause in clauses), dialect)


def parse_model_order(clauses: Sequence[ModelOrder]) -> tuple[SortKey, ...]:
    """The order of logged models: by attributes, or by a metric, perhaps as measured on one dataset.

    `Invalid` as for `parse_order`.
    """
    _bound(len(clauses), MAX_ORDERS, "keys to order by", 0)
    return _completed(tuple(_model_sort_key(clause) for clause in clauses), LOGGED_MODELS)


def models_only(where: Condition | None) -> Condition:
    """A filter of registered models or their versions as clients mean it: no prompts unless it asks so."""
    no_prompt = Not(Comparison(Field("tag", PROMPT_TAG), "=", "true"))
    if where is None:
        return no_prompt
    return where if _asks_for_prompts(where) else All((where, no_prompt))


def _asks_for_prompts(where: Condition) -> bool:
    match where:
        case All(parts) | AnyOf(parts):
            return any(_asks_for_prompts(part) for part in parts)
        case Not(part):
            return _asks_for_prompts(part)
        case Comparison(Field("tag", key), op, str(value)) if key == PROMPT_TAG:
            return (op, value.lower()) in {("=", "true"), ("!=", "false")}
    return False


def _bound(found: int, limit: int, what: str, at: int) -> None:
    if found > limit:
        raise Invalid(
            f"the search has more than {limit} {what}", hint="ask in several parts", where=place(at)
        )


class _Parser:
    """Reads tokens from left to right; each method leaves off behind what it read."""

    def __init__(self, found: tuple[Token, ...], dialect: Dialect) -> None:
        self._tokens = found
        self._dialect = dialect
        self._at = 0
        self._depth = 0
        self._clauses = 0
        self._values = 0

    def filter(self) -> Condition:
        """The whole text."""
        found = self._either()
        if self._next.kind != "end":
            self._refuse("this bracket closes none")
        return found

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._next
        self._at += token.kind != "end"
        return token

    def _took(self, *words: str) -> bool:
        """Reads these words if they come next."""
        coming = self._tokens[self._at : self._at + len(words)]
        if tuple(token.text.upper() for token in coming if token.kind == "word") != words:
            return False
        self._at += len(words)
        return True

    def _refuse(self, hint: str) -> NoReturn:
        shown = excerpt(self._next.text) or "the end"
        refuse(f"Invalid clause(s) in filter string: '{shown}'", self._next, hint)

    def _either(self) -> Condition:
        parts = [self._both()]
        while self._took("OR"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def _both(self) -> Condition:
        """Terms with AND between; one AND too many is let pass, as it is by MLflow."""
        parts: list[Condition] = []
        while True:
            is_joined = not parts
            while self._took("AND"):
                is_joined = True
            if self._is_over():
                break
            if not is_joined:
                self._refuse("put AND or OR between two comparisons")
            parts.append(self._term())
        if not parts:
            self._refuse("a comparison is missing here")
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _is_over(self) -> bool:
        token = self._next
        return token.kind in {"end", ")"} or (token.kind == "word" and token.text.upper() == "OR")

    def _term(self) -> Condition:
        is_not = self._took("NOT")
        if not is_not and self._next.kind != "(":
            return self._comparison()
        self._depth += 1
        _bound(self._depth, MAX_DEPTH, "brackets and NOTs within one another", self._next.at)
        found = Not(self._term()) if is_not else self._bracketed()
        self._depth -= 1
        return found

    def _bracketed(self) -> Condition:
        self._take()
        found = self._either()
        if self._next.kind != ")":
            self._refuse("close the bracket")
        self._take()
        return found

    def _comparison(self) -> Condition:
        self._clauses += 1
        _bound(self._clauses, MAX_CLAUSES, "comparisons", self._next.at)
        if self._next.kind not in _OPERANDS:
            self._refuse("write a field, an operator and a value")
        left = self._take()
        sign = self._next
        operator = self._operator()
        if operator.startswith("IS"):
            return comparison(Clause(left, operator, sign), self._dialect)
        if self._next.kind == "(":
            return comparison(Clause(left, operator, sign, self._list(), is_list=True), self._dialect)
        if operator.endswith("IN") or self._next.kind not in _OPERANDS:
            self._refuse("a value is missing here, or for IN a list in brackets: ('a', 'b')")
        return comparison(Clause(left, operator, sign, (self._take(),)), self._dialect)

    def _operator(self) -> str:
        """The operator in upper case; whether the field takes it is asked with the value."""
        for words in (("IS", "NOT", "NULL"), ("IS", "NULL"), ("NOT", "IN"), ("IN",)):
            if self._took(*words):
                return " ".join(words)
        negation = "NOT " if self._took("NOT") else ""
        token = self._next
        is_operator = token.kind == "operator" and not negation
        if not is_operator and not (token.kind == "word" and token.text.upper() in _WORD_OPERATORS):
            self._refuse("write a field, an operator and a value")
        return negation + self._take().text.upper()

    def _list(self) -> tuple[Token, ...]:
        """What stands between two brackets."""
        self._take()
        found: list[Token] = []
        while self._next.kind not in {")", "(", "end"}:
            found.append(self._take())
        if self._next.kind != ")":
            self._refuse("close the bracket of the list")
        self._take()
        self._values += len(found) - sum(token.kind == "," for token in found)
        _bound(self._values, MAX_VALUES, "values in lists", self._next.at)
        return tuple(found)


def _sort_key(clause: str, dialect: Dialect) -> SortKey:
    _bound(len(clause), MAX_LENGTH, "characters in a clause to order by", 0)
    try:
        pieces = tokens(clause)[:-1]
    except Invalid as error:
        raise _unreadable(clause) from error
    if not 1 <= len(pieces) <= 2 or pieces[0].kind not in _NAMES or pieces[-1].kind not in _NAMES:
        raise _unreadable(clause)
    name = pieces[0]
    direction = pieces[1].text.upper() if len(pieces) == 2 else "ASC"
    if direction not in {"ASC", "DESC"}:
        refuse(
            f"Invalid ordering key in order_by clause '{excerpt(clause)}'.", pieces[1], "write ASC or DESC"
        )
    field = field_named(name, dialect, dialect.orders, dialect.order_refused)
    if field.kind not in dialect.order_kinds:
        refuse(f"Invalid order_by entity: {field.kind}", name)
    return SortKey(field, direction == "DESC")


def _unreadable(clause: str) -> Invalid:
    return Invalid(
        f"Invalid order_by clause '{excerpt(clause)}'. Could not be parsed.",
        hint="write a field, then ASC or DESC: metrics.`my loss` DESC",
    )


def _model_sort_key(clause: ModelOrder) -> SortKey:
    """Names are taken as they are: a metric's key may hold any mark."""
    for text in (clause.field_name, clause.dataset_name, clause.dataset_digest):
        refuse_unstorable(text or "")
    entity, dot, key = clause.field_name.partition(".")
    if dot and entity != "metrics":
        raise Invalid(
            f"Invalid order by field name: {excerpt(entity)}, only `metrics.<name>` is allowed.",
            hint="order by an attribute or a metric",
        )
    if clause.dataset_digest and not clause.dataset_name:
        raise Invalid(
            "`dataset_digest` can only be specified if `dataset_name` is also specified.",
            hint="name the dataset too",
        )
    field = Field("metric", key) if dot else _model_attribute(clause.field_name.strip())
    on = OnDataset(clause.dataset_name, clause.dataset_digest or None) if clause.dataset_name else None
    return SortKey(field, not clause.ascending, on if dot else None)


def _model_attribute(name: str) -> Field:
    key = LOGGED_MODELS.orders.get(name)
    if key is None:
        raise Invalid(
            f"Invalid order by field name: {excerpt(name)}.",
            hint=f"order by metrics.<name> or one of {', '.join(LOGGED_MODELS.orders)}",
        )
    return Field("attribute", key)


def _completed(keys: tuple[SortKey, ...], dialect: Dialect) -> tuple[SortKey, ...]:
    """An order with what makes it total; `Invalid` where it names a field twice, but in dialects that may."""
    asked = keys or dialect.default
    if dialect.has_repeats:
        asked = _once(asked)
    seen: set[tuple[Field, OnDataset | None]] = set()
    for key in asked:
        if (key.field, key.dataset) in seen:
            raise Invalid(
                f"`order_by` contains duplicate fields: {key.field.kind} '{excerpt(key.field.key)}'",
                hint="order by each field once",
            )
        seen.add((key.field, key.dataset))
    return asked + tuple(tie for tie in dialect.ties if (tie.field, None) not in seen)


def _once(keys: tuple[SortKey, ...]) -> tuple[SortKey, ...]:
    """The keys without those of a field that one before them orders by."""
    first: dict[Field, SortKey] = {}
    for key in keys:
        first.setdefault(key.field, key)
    return tuple(first.values())
