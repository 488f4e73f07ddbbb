"""The ASGI application of the Open Inference Protocol V2: paths to answers, errors to `{"error": ...}`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import unquote_to_bytes

from starlette.types import Receive, Scope, Send

from loopwright.core.addresses import check_name
from loopwright.core.errors import Invalid, LoopwrightError, NotFound
from loopwright.serving.runtime import Runtime
from loopwright.serving.tables import RouteTable
from loopwright.surfaces.bodies import inflate, read_raw
from loopwright.surfaces.inference.bodies import HEAD_LENGTH, pack, split_head
from loopwright.surfaces.inference.describe import model_index, model_metadata, server_metadata
from loopwright.surfaces.inference.replies import check_outputs, write_reply
from loopwright.surfaces.inference.tensors import InputReader
from loopwright.surfaces.inference.wire import encode, read_request

__all__ = ["BODY_LIMIT", "InferenceApp"]

log = logging.getLogger(__name__)

Authorise = Callable[[Scope, str], None]

BODY_LIMIT = 32 * 1024 * 1024
_INLINE_ROWS = 64
_JSON = b"application/json"
_OCTETS = b"application/octet-stream"
_PREFIX = b"/v2"
_PREDICT, _DESCRIBE = "endpoint:predict", "endpoint:read"
_PROBES = ([b"health", b"live"], [b"health", b"ready"])


class _WrongMethod(LoopwrightError):
    code = "method"
    status = 405


class _Answer:
    """What is sent back: a status, a body and the headers that go with it."""

    __slots__ = ("body", "headers", "status")

    def __init__(
        self, body: bytes, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None
    ) -> None:
        self.body = body
        self.status = status
        self.headers = headers or [(b"content-type", _JSON)]


class InferenceApp:
    """Serves `/v2/...` for a runtime. A model of the protocol is an endpoint; a version, one it serves.

    Small calls to fast models are answered on the event loop, others in a small pool of threads.
    `authorise(scope, right)` raises `Unauthenticated` or `Denied` for callers who may not: `endpoint:predict`
    to predict, `endpoint:read` for all else but the probes.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        authorise: Authorise | None = None,
        body_limit: int = BODY_LIMIT,
        threads: int = 2,
    ) -> None:
        self._runtime = runtime
        self._authorise = authorise
        self._body_limit = body_limit
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="loopwright-predict")
        self._readers: dict[str, tuple[RouteTable, InputReader]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (or the server's own start and stop)."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        headers = dict(scope["headers"])
        try:
            answer = await self._routed(scope, receive, headers)
        except LoopwrightError as error:
            answer = _refusal(error)
        except Exception:  # the last handler of the surface: logged, and said to the caller without details
            log.exception("inference failed", extra={"path": scope.get("path")})
            answer = _Answer(encode({"error": "the server failed; its log says why"}), 500)
        await _send(send, answer, headers)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Start and stop the runtime with the server, where this application stands alone."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._runtime.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await asyncio.get_running_loop().run_in_executor(None, self._runtime.close)
                self._pool.shutdown()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _routed(self, scope: Scope, receive: Receive, headers: Mapping[bytes, bytes]) -> _Answer:
        method, segments = scope["method"], _segments(scope)
        if self._authorise is not None and segments not in _PROBES:
            self._authorise(scope, _PREDICT if segments[-1:] == [b"infer"] else _DESCRIBE)
        match segments:
            case [b"models", name, b"infer"]:
                return await self._infer(scope, receive, headers, _text(name), None)
            case [b"models", name, b"versions", version, b"infer"]:
                return await self._infer(scope, receive, headers, _text(name), _number(version))
            case [b"repository", b"index"]:
                _check_method(method, "POST")
                return _Answer(encode(model_index(dict(self._runtime.tables()))))
            case [b"models", name, *rest]:
                return await self._described(method, _text(name), rest)
        _check_method(method, "GET")
        if not segments:
            return _Answer(encode(server_metadata()))
        if segments == [b"health", b"live"]:
            return _Answer(encode({"live": True}))
        if segments == [b"health", b"ready"]:
            ready = self._runtime.is_ready
            return _Answer(encode({"ready": ready}), 200 if ready else 503)
        raise _no_path()

    async def _described(self, method: str, name: str, rest: list[bytes]) -> _Answer:
        """What a model, or one version of it, says of itself, and whether it is ready."""
        if rest[:1] == [b"versions"] and len(rest) > 1:
            version, rest = _number(rest[1]), rest[2:]
        else:
            version = None
        if rest not in ([], [b"ready"]):
            raise _no_path()
        _check_method(method, "GET")
        table = await self._table(name, version)
        if rest:
            return _Answer(encode({"name": table.endpoint, "ready": True}))
        return _Answer(encode(model_metadata(table)))

    async def _table(self, name: str, version: int | None = None) -> RouteTable:
        """The endpoint's routes, loaded in a thread when they are not; `NotFound` for a version it lacks."""
        table = self._runtime.table(name)
        if table is None:
            load = partial(self._runtime.refresh, check_name(name))
            table = await asyncio.get_running_loop().run_in_executor(self._pool, load)
        if version is not None and version not in table.models:
            raise NotFound(
                f"endpoint {name!r} does not serve version {version}", hint="GET /v2/models/NAME lists them"
            )
        return table

    async def _infer(
        self, scope: Scope, receive: Receive, headers: Mapping[bytes, bytes], name: str, version: int | None
    ) -> _Answer:
        _check_method(scope["method"], "POST")
        packed = await read_raw(receive, headers, self._body_limit)
        table = await self._table(name)
        try:
            return await self._answered(table, headers, packed, version)
        except Invalid:
            self._runtime.refused(name)
            raise

    async def _answered(
        self, table: RouteTable, headers: Mapping[bytes, bytes], packed: bytes, version: int | None
    ) -> _Answer:
        body = inflate(packed, headers.get(b"content-encoding", b""), self._body_limit)
        head, tail = split_head(body, headers.get(HEAD_LENGTH))
        request = read_request(head)
        check_outputs(request)
        rows = self._reader(table).rows(request.inputs, tail)
        if table.is_fast and len(rows) <= _INLINE_ROWS:
            reply = self._runtime.answer(table, rows, request.id, version=version)
        else:
            call = partial(self._runtime.answer, table, rows, request.id, version=version)
            reply = await asyncio.get_running_loop().run_in_executor(self._pool, call)
        content, head_length = write_reply(request, table.endpoint, reply)
        if head_length is None:
            return _Answer(content)
        return _Answer(content, 200, [(b"content-type", _OCTETS), (HEAD_LENGTH, b"%d" % head_length)])

    def _reader(self, table: RouteTable) -> InputReader:
        """The compiled reader of an endpoint's inputs, made anew when its routes were swapped."""
        held = self._readers.get(table.endpoint)
        if held is None or held[0] is not table:
            held = self._readers[table.endpoint] = (table, InputReader(table.inputs))
        return held[1]


def _no_path() -> NotFound:
    return NotFound("there is no such path", hint="GET /v2 describes the server, /v2/models/NAME a model")


def _segments(scope: Scope) -> list[bytes]:
    """The parts of the path behind `/v2`, still percent-encoded, so that a name may hold a slash."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    path = raw.partition(b"?")[0]
    root = scope.get("root_path", "").encode()
    if root and path.startswith(root + _PREFIX):
        path = path[len(root) :]
    if path != _PREFIX and not path.startswith(_PREFIX + b"/"):
        raise _no_path()
    return [part for part in path[len(_PREFIX) :].split(b"/") if part]


def _text(segment: bytes) -> str:
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError as error:
        raise Invalid("the model's name is not UTF-8", hint="percent-encode UTF-8") from error


def _number(segment: bytes) -> int:
    if not segment.isdigit() or len(segment) > 18:
        raise NotFound("a version is a number", hint="GET /v2/models/NAME lists the versions")
    return int(segment)


def _check_method(method: str, wanted: str) -> None:
    if method != wanted:
        raise _WrongMethod(f"this path takes {wanted}", hint=wanted)


def _refusal(error: LoopwrightError) -> _Answer:
    headers = [(b"content-type", _JSON)]
    if isinstance(error, _WrongMethod):
        headers.append((b"allow", error.hint.encode()))
    if error.status == 503:
        headers.append((b"retry-after", b"1"))
    return _Answer(encode({"error": str(error)}), error.status, headers)


async def _send(send: Send, answer: _Answer, headers: Mapping[bytes, bytes]) -> None:
    body, encoding = pack(answer.body, headers.get(b"accept-encoding", b""))
    fields = [*answer.headers, (b"content-length", b"%d" % len(body))]
    if encoding:
        fields += [(b"content-encoding", encoding), (b"vary", b"accept-encoding")]
    await send({"type": "http.response.start", "status": answer.status, "headers": fields})
    await send({"type": "http.response.body", "body": body})
