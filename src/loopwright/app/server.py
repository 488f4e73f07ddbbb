"""One uvicorn server: in a thread of its own for tests and the demo, or in the foreground with signals."""

from __future__ import annotations

import errno
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

import msgspec
import uvicorn
from starlette.types import ASGIApp

from loopwright.app.connections import ConnectionLimits, connection_type, connections_at_most
from loopwright.core.errors import Unavailable

__all__ = ["Server", "listen"]

_START_S = 15.0
_GRACE_S = 5


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; `Unavailable` says why not, and the way out. Port 0 takes a free one."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, OverflowError) as error:
        raise Unavailable(
            f"there is no address {host!r}", hint="give --host 127.0.0.1, or an address of this machine"
        ) from error
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise _not_bound(error, host, port) from error
    return sock


def _not_bound(error: OSError, host: str, port: int) -> Unavailable:
    if error.errno == errno.EADDRINUSE:
        return Unavailable(
            f"port {port} of {host} is taken, perhaps by another Loopwright",
            hint=f"stop what listens there, or choose another: --port {port + 1} (0 takes a free one)",
        )
    if error.errno == errno.EACCES:
        return Unavailable(f"port {port} is not open to this user", hint="choose a port above 1023")
    return Unavailable(
        f"cannot listen on {host}:{port}: {error.strerror}", hint="give an address of this machine"
    )


class _Uvicorn(uvicorn.Server):
    """Uvicorn that tells when it is up and when it begins to stop, and leaves signals to its owner."""

    def __init__(self, config: uvicorn.Config, on_stopping: Callable[[], None] | None) -> None:
        super().__init__(config)
        self.up = threading.Event()
        self._on_stopping = on_stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._on_stopping is not None:
            self._on_stopping()
        await super().shutdown(sockets=sockets)
        if self.force_exit:  # else uvicorn cancels the application, with a traceback in the log
            await self.lifespan.shutdown()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Server:
    """An ASGI application on a port.

    `on_stopping` is called in the event loop when the server begins to stop: end there what would keep
    connections open.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        on_stopping: Callable[[], None] | None = None,
        limits: ConnectionLimits | None = None,
    ) -> None:
        kept = limits or ConnectionLimits()
        kept = msgspec.structs.replace(kept, connections=connections_at_most(kept.connections))
        self._socket = listen(host, port)
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            app,
            loop="auto",
            http=connection_type(kept),
            ws="none",
            lifespan="on",
            interface="asgi3",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
        self._uvicorn = _Uvicorn(config, on_stopping)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The address to call it by on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Serve in a thread of its own; returns when it answers."""
        self._thread = threading.Thread(target=self._serve, name="loopwright-server", daemon=True)
        self._thread.start()
        if not self._uvicorn.up.wait(_START_S):
            raise Unavailable("the server did not come up", hint="the log says why")

    def stop(self) -> None:
        """Finish the requests that run (5 s at most), then end."""
        self._uvicorn.should_exit = True
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._socket.close()

    def run(self, on_up: Callable[[], None]) -> None:
        """Serve in this thread until SIGINT or SIGTERM; a second one does not wait for requests that run."""
        before = {sig: signal.signal(sig, self._on_signal) for sig in (signal.SIGINT, signal.SIGTERM)}
        watcher = threading.Thread(target=self._tell, args=(on_up,), name="loopwright-up", daemon=True)
        watcher.start()
        try:
            self._serve()
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)
            self._socket.close()

    def _serve(self) -> None:
        self._uvicorn.run(sockets=[self._socket])

    def _tell(self, on_up: Callable[[], None]) -> None:
        if self._uvicorn.up.wait(_START_S):
            on_up()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._uvicorn.force_exit = self._uvicorn.should_exit
        self._uvicorn.should_exit = True
