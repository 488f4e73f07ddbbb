"""The client: one method for all operations, and dotted names for convenience."""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import httpx

from loopwright.client.index import Entry, Index, load_index
from loopwright.client.replies import blob_of, error_in, items_of, value_of
from loopwright.client.requests import Prepared, prepare
from loopwright.core.errors import Invalid, Unavailable
from loopwright.engine.current import run_at
from loopwright.engine.operation import Form

__all__ = ["Client"]

_ADDRESS = "write it as http://127.0.0.1:7070"
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
"""hosts that no proxy of the environment stands before"""
_ATTEMPTS = 3
_PAUSE_S = 0.2
_TIMEOUT = httpx.Timeout(150.0, connect=5.0)


def _host_of(url: str) -> str:
    try:
        found = urlsplit(url)
        if found.scheme in {"http", "https"} and found.hostname:
            return httpx.URL(url).host
    except (httpx.InvalidURL, ValueError) as error:
        raise Invalid(f"{url!r} is not an address: {error}", hint=_ADDRESS) from error
    raise Invalid(f"{url!r} is not the address of a server", hint=_ADDRESS)


class _Verb:
    """A dotted name that is an operation or the beginning of one: `client.registry.promote`."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._name = name

    def __getattr__(self, word: str) -> _Verb:
        return self._client.named(f"{self._name}.{word}")

    def __call__(self, *positional: Any, **arguments: Any) -> Any:
        return self._client.call(self._name, *positional, **arguments)

    def __repr__(self) -> str:
        return f"<operation {self._name} of {self._client.url}>"


class Client:
    """Calls a server's operations: `client.call("assets.show", kind=...)`, or `client.assets.show(kind=...)`.

    Results and errors are those of a call in process: a value's own type, `Page`, an iterator, `Blob` (an
    open file), `Job`. With `typed=False` values are plain ones, and no slice is imported. Thread safe, and a
    process that is forked makes connections of its own.
    """

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        space: str = "default",
        typed: bool = True,
        index: Index | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._typed = typed
        self._index = index or load_index()
        headers = {"loopwright-space": space, "accept": "application/json", "accept-encoding": "identity"}
        if token:
            if not (token.isascii() and token.isprintable()):
                raise Invalid("the token has characters that no token has", hint="see LOOPWRIGHT_TOKEN")
            headers["authorization"] = f"Bearer {token}"
        self._headers = headers
        self._trusts_env = _host_of(self.url) not in _LOCAL
        self._http, self._pid = self._connected(), os.getpid()

    def _connected(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.url, headers=self._headers, timeout=_TIMEOUT, trust_env=self._trusts_env
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getattr__(self, word: str) -> _Verb:
        if word.startswith("_"):
            raise AttributeError(word)
        return self.named(word)

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def named(self, name: str) -> _Verb:
        """The operation of that name, or what it begins with; `AttributeError` when there is none."""
        if name not in self._index.entries and name not in self._index.prefixes:
            raise AttributeError(f"there is no operation {name!r}")
        return _Verb(self, name)

    def call(self, name: str, /, *positional: Any, **arguments: Any) -> Any:
        """Call an operation by its name; raises what it raised there, `Unavailable` when nobody answers."""
        entry = self._index[name]
        names = [p.name for p in entry.parameters]
        if len(positional) > len(names):
            raise Invalid(f"{name} takes {len(names)} arguments", hint=f"they are {', '.join(names)}")
        request = prepare(entry, {**dict(zip(names, positional, strict=False)), **arguments})
        is_streamed = entry.form in {Form.STREAM, Form.BLOB}
        response = self._send(request, stream=is_streamed)
        if response.is_error:
            response.read()
            raise error_in(response)
        if entry.form is Form.BLOB:
            return blob_of(response)
        wanted = self._type_of(entry)
        return items_of(response, wanted) if is_streamed else value_of(response.content, wanted)

    def _type_of(self, entry: Entry) -> Any:
        if not self._typed:
            return Any
        operation = entry.operation()
        return operation.item_type if entry.form is Form.STREAM else operation.result_type

    def _send(self, prepared: Prepared, *, stream: bool) -> httpx.Response:
        if self._pid != os.getpid():
            self._http, self._pid = self._connected(), os.getpid()
        request = self._http.build_request(
            prepared.method,
            prepared.path,
            params=prepared.query,
            content=prepared.content,
            headers={**prepared.headers, **self._run_header()},
        )
        attempts = _ATTEMPTS if prepared.method == "GET" else 1
        for attempt in range(attempts):
            try:
                return self._http.send(request, stream=stream)
            except httpx.ConnectError as error:
                if attempt + 1 == attempts:
                    raise self._unreachable(error) from error
                time.sleep(_PAUSE_S * 2**attempt)
            except httpx.HTTPError as error:
                raise self._unreachable(error) from error
        raise AssertionError("unreachable")

    def _run_header(self) -> dict[str, str]:
        """Which run the call is made in, so that what it reads and makes is linked to it."""
        run_id = run_at(self)
        return {"loopwright-run": run_id} if run_id else {}

    def _unreachable(self, error: httpx.HTTPError) -> Unavailable:
        what = str(error) or type(error).__name__
        return Unavailable(
            f"no answer from {self.url}: {what}",
            hint="start the server with `loopwright up`, or correct LOOPWRIGHT_URL",
        )

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()
