"""A request to the arguments of an operation, compiled once per operation when the routes are built."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.nesting import check_json
from loopwright.core.nouns import Json
from loopwright.engine.operation import Operation, with_instants
from loopwright.engine.wire import Place, is_list, is_text_like, places

__all__ = ["RequestDecoder"]

_ZERO = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
T = TypeVar("T")
_INT64 = range(-(2**63), 2**63)


class RequestDecoder:
    """Path, query and body of one operation's requests to checked values by parameter name."""

    def __init__(self, operation: Operation) -> None:
        self._name = operation.name
        place = places(operation)
        self.has_body = operation.method in {"POST", "PUT", "PATCH"} and Place.UPLOAD not in place.values()
        rest = [p for p in operation.parameters if place[p.name] in {Place.BODY, Place.QUERY}]
        in_path = [p for p in operation.parameters if place[p.name] is Place.PATH]
        self._path_type = _struct("Path", in_path)
        self._rest_type = _struct("Request", rest)
        self._body = msgspec.json.Decoder(self._rest_type)
        self._instants = operation.instant_names & {p.name for p in rest}
        self._needs_body = any(p.default is inspect.Parameter.empty for p in rest)
        self._lists = frozenset(p.name for p in rest if is_list(p.annotation))
        self._texts = frozenset(p.name for p in rest if is_text_like(p.annotation))

    def decode(self, path: Mapping[str, str], query: bytes, body: bytes) -> Json:
        """All values but an upload's; `Invalid` says what is wrong and where."""
        values = self._guarded("path", lambda: msgspec.convert(dict(path), self._path_type, strict=False))
        rest = self._from_body(query, body) if self.has_body else self._from_query(query)
        found = {**msgspec.structs.asdict(values), **msgspec.structs.asdict(rest)}
        for name, value in found.items():
            if isinstance(value, int) and value not in _INT64:
                raise Invalid(f"{name} is out of range", hint="give at most 18 digits", where=name)
        return found

    def _from_body(self, query: bytes, body: bytes) -> msgspec.Struct:
        if query:
            raise Invalid(
                f"{self._name} takes no query", hint="send its parameters as a JSON body", where="query"
            )
        if not body and not self._needs_body:
            body = b"{}"
        check_json(body)
        if _ZERO.search(body):
            raise Invalid("the body has a zero character (\\u0000)", hint="remove it", where="body")
        return self._guarded("body", lambda: self._decoded(body))

    def _decoded(self, body: bytes) -> msgspec.Struct:
        """The body's values; instants are read by the one grammar there is for them."""
        if not self._instants:
            return self._body.decode(body)
        plain = msgspec.json.decode(body)
        if isinstance(plain, dict):
            plain = with_instants(self._instants, plain, where="body $.")
        return msgspec.convert(plain, self._rest_type)

    def _from_query(self, query: bytes) -> msgspec.Struct:
        given: dict[str, Any] = {}
        for key, text in _pairs(query):
            if key in self._lists:
                given.setdefault(key, []).append(text)
            elif key in given:
                raise Invalid(f"{key[:80]!r} is given twice", hint="give it once", where="query")
            else:
                given[key] = self._value(key, text)
        read = with_instants(self._instants, given, where="query $.")
        return self._guarded("query", lambda: msgspec.convert(read, self._rest_type, strict=False))

    def _value(self, key: str, text: str) -> Any:
        if key in self._texts or key not in self._rest_type.__struct_fields__:
            return text
        return self._guarded(f"query {key}", lambda: msgspec.json.decode(text))

    def _guarded(self, where: str, decode: Callable[[], T]) -> T:
        try:
            return decode()
        except RecursionError as error:
            raise Invalid(
                f"the JSON of {self._name} is nested too deeply", hint="send it flatter", where=where
            ) from error
        except msgspec.ValidationError as error:
            what, _, spot = str(error).partition(" - at `")
            names = ", ".join((*self._path_type.__struct_fields__, *self._rest_type.__struct_fields__))
            raise Invalid(
                f"{self._name}: {what}",
                hint=f"its parameters are {names}" if names else "it takes no parameters",
                where=f"{where} {spot.rstrip('`')}".strip(),
            ) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Invalid(
                f"{self._name}: {error}", hint="send one JSON object in UTF-8", where=where
            ) from error


def _struct(title: str, parameters: list[inspect.Parameter]) -> type[msgspec.Struct]:
    fields: list[Any] = [
        (p.name, p.annotation) if p.default is inspect.Parameter.empty else (p.name, p.annotation, p.default)
        for p in parameters
    ]
    return msgspec.defstruct(title, fields, kw_only=True, forbid_unknown_fields=True, frozen=True)


def _pairs(query: bytes) -> list[tuple[str, str]]:
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=1000)
    except ValueError as error:
        raise Invalid("the query cannot be read", hint="percent-encode UTF-8", where="query") from error
    for key, text in pairs:
        if "\0" in key or "\0" in text:
            raise Invalid("the query has a zero byte", hint="remove it", where="query")
    return pairs
