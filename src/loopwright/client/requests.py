"""Arguments to the parts of a request: path, query, body, upload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from loopwright.client.index import Entry
from loopwright.core.errors import Invalid
from loopwright.core.nouns import Json
from loopwright.engine.operation import Upload

__all__ = ["Prepared", "prepare"]

_PREFIX = "/api/v1"


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A request, ready to be sent."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    upload: Upload | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers that belong to the body."""
        if self.upload is not None:
            return {"content-type": self.upload.media_type}
        return {"content-type": "application/json"} if self.body is not None else {}

    @property
    def content(self) -> bytes | Iterable[bytes] | None:
        """What is sent as the body."""
        return self.upload.chunks if self.upload is not None else self.body


def prepare(entry: Entry, arguments: Mapping[str, Any]) -> Prepared:
    """The request of a call; `Invalid` for arguments the operation does not have, or lacks."""
    if entry.local:
        raise Invalid(f"{entry.name} works on your own files", hint="call it without a server")
    given = dict(arguments)
    upload = _take_upload(entry, given)
    _check(entry, given)
    plain: Json = {name: msgspec.to_builtins(value) for name, value in given.items()}
    at = {p.name: p.place for p in entry.parameters}
    path = entry.path
    for name in (name for name, place in at.items() if place == "path"):
        path = path.replace(f"{{{name}}}", _segment(name, _text(plain[name])))
    body = {name: value for name, value in plain.items() if at[name] == "body"}
    has_body = any(place == "body" for place in at.values())
    return Prepared(
        method=entry.method,
        path=_PREFIX + path,
        query=tuple(
            pair for name, value in plain.items() if at[name] == "query" for pair in _pairs(name, value)
        ),
        body=msgspec.json.encode(body) if has_body else None,
        upload=upload,
    )


def _take_upload(entry: Entry, given: dict[str, Any]) -> Upload | None:
    """The upload, given by its own name or as `upload`."""
    name = entry.upload_name
    if name is None:
        return None
    upload = given.pop(name, None) or given.pop("upload", None)
    if not isinstance(upload, Upload):
        raise Invalid(f"{entry.name} needs a body", hint=f"give {name}=Upload(chunks=...)")
    return upload


def _check(entry: Entry, given: Mapping[str, Any]) -> None:
    known = {p.name for p in entry.parameters if p.place != "upload"}
    for name in given:
        if name not in known:
            raise Invalid(
                f"{entry.name} has no parameter {name!r}",
                hint=f"its parameters are {', '.join(sorted(known))}",
            )
    for parameter in entry.parameters:
        if parameter.required and parameter.place != "upload" and parameter.name not in given:
            raise Invalid(f"{entry.name} needs {parameter.name}", hint=f"give {parameter.name}=...")


def _segment(name: str, text: str) -> str:
    """A value as a part of a path; what a path would resolve is refused here, as the server does."""
    if text == "" or not {".", ".."}.isdisjoint(text.replace("\\", "/").split("/")):
        raise Invalid(
            f"{name} is {text[:80]!r}", hint="a name is neither empty nor has dot parts", where=name
        )
    return quote(text, safe="")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _pairs(name: str, value: Any) -> list[tuple[str, str]]:
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return [(name, _text(item)) for item in value]
    return [(name, _text(value))]
