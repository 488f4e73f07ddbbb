"""How arguments and replies stand on the wire.

Arguments: whole numbers as numbers or texts, NaN and infinities as texts, null as if it were not there,
unknown fields let pass, in a JSON body, or in the query (GET, DELETE without a body) where names may repeat.
Replies: fields that are not set are left out, NaN and infinities are texts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.nesting import check_json
from loopwright.surfaces.mlflow.failures import misread

__all__ = ["Int64", "Message", "Needed", "Nothing", "Pair", "Reader", "encode", "number", "pairs", "shown"]

Needed = Annotated[str, msgspec.Meta(min_length=1)]
"""a text that has to be there and is not empty"""
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""a whole number; a text of digits is read as one"""

T = TypeVar("T", bound=msgspec.Struct)


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is read or written: a field at its default is not written."""


class Nothing(Message, frozen=True):
    """A call without arguments, or `{}`."""


class Pair(msgspec.Struct, frozen=True, gc=False):
    """A tag or a param; as MLflow's, a value that is not given is empty."""

    key: Needed
    value: str | None = None


def pairs(values: Mapping[str, str]) -> list[Pair]:
    """Tags or params as they are listed."""
    return [Pair(key, value) for key, value in values.items()]


encode = msgspec.json.Encoder().encode
"""A value as JSON bytes."""


def number(value: float) -> float | str:
    """A float as it is written: JSON has neither NaN nor infinities."""
    if math.isfinite(value):
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # noqa: PLR0124 - NaN alone differs


def shown(text: str) -> str:
    """A text for a message, cut where it is long."""
    return text if len(text) <= 100 else f"{text[:100]}..."


class Reader:
    """Reads the arguments of one route; what can be worked out beforehand is."""

    def __init__(self, takes: type[msgspec.Struct]) -> None:
        self._takes = takes
        self._decode = msgspec.json.Decoder(takes, strict=False).decode
        fields = msgspec.structs.fields(takes)
        self._lists = frozenset(f.encode_name for f in fields if _is_list(f.type))
        self._is_open = _takes_anything(msgspec.inspect.type_info(takes), frozenset())

    def body(self, body: bytes, parts: Mapping[str, str]) -> Any:
        """The arguments in a JSON body, and in the path; `Invalid` says which is wrong."""
        if parts:
            given = _parsed(body) if body else {}
            if not isinstance(given, dict):
                raise Invalid("the body is no JSON object", hint="send an object")
            return self._converted({**given, **parts})
        if self._is_open:
            check_json(body)
        try:
            return self._decode(body or b"{}")
        except msgspec.ValidationError as error:
            given = _parsed(body)
            if isinstance(given, dict) and None in given.values():
                return self._converted(given)
            raise misread(error, given) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _no_json(error) from error

    def query(self, query: bytes, parts: Mapping[str, str]) -> Any:
        """The arguments in a query, and in the path; of a name that comes again and is no list, the last."""
        try:
            given = parse_qsl(
                query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=10_000
            )
        except ValueError as error:
            raise Invalid("the query cannot be read", hint="percent-encode UTF-8") from error
        found: dict[str, Any] = {}
        for name, value in given:
            if name in self._lists:
                found.setdefault(name, []).append(value)
            else:
                found[name] = value
        return self._converted({**found, **parts})

    def _converted(self, given: dict[str, Any]) -> Any:
        given = {name: value for name, value in given.items() if value is not None}
        try:
            return msgspec.convert(given, self._takes, strict=False)
        except msgspec.ValidationError as error:
            raise misread(error, given) from error


def _parsed(body: bytes) -> Any:
    check_json(body)
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _no_json(error) from error


def _no_json(error: Exception) -> Invalid:
    return Invalid(f"the body is no JSON: {error}", hint="send a JSON object")


def _takes_anything(kind: Any, above: frozenset[type]) -> bool:
    """Whether values of any form, or lists within lists, may stand in a type: what it says bounds nothing."""
    if isinstance(kind, msgspec.inspect.AnyType):
        return True
    if isinstance(kind, msgspec.inspect.StructType):
        within = () if kind.cls in above else tuple(field.type for field in kind.fields)
        return any(_takes_anything(each, above | {kind.cls}) for each in within)
    parts = [
        getattr(kind, name) for name in ("type", "item_type", "key_type", "value_type") if hasattr(kind, name)
    ]
    parts += [*getattr(kind, "types", ()), *getattr(kind, "item_types", ())]
    is_list = hasattr(kind, "item_type") or hasattr(kind, "value_type")
    return any(_takes_anything(each, above) or (is_list and _is_collection(each)) for each in parts)


def _is_collection(kind: Any) -> bool:
    return any(hasattr(kind, name) for name in ("item_type", "item_types", "value_type"))


def _is_list(annotation: Any) -> bool:
    found = msgspec.inspect.type_info(annotation)
    while isinstance(found, msgspec.inspect.Metadata):
        found = found.type
    kinds = found.types if isinstance(found, msgspec.inspect.UnionType) else (found,)
    return any(isinstance(kind, msgspec.inspect.ListType | msgspec.inspect.VarTupleType) for kind in kinds)
