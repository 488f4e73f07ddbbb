"""A served endpoint on a real port, for the protocol's clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from loopwright.app.server import Server
from loopwright.serving.runtime import Runtime
from loopwright.surfaces.inference.application import InferenceApp
from tests.serving.worlds import deployed

__all__ = ["served"]


@contextmanager
def served() -> Iterator[str]:
    """`host:port` of a server whose endpoint `delays` has version 1 live and 2 in shadow."""
    runtime = Runtime(deployed((1, 100.0), shadow=(2,)))
    runtime.start()
    with Server(InferenceApp(runtime), host="127.0.0.1", port=0) as server:
        yield f"127.0.0.1:{server.port}"
    runtime.close()
