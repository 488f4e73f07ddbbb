"""Generators within a run: their body is in it, whoever reads them is not."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

__all__ = ["read_apart", "read_apart_async"]

Aside = Callable[[], AbstractContextManager[object]]
"""a block in which the run is not the current one"""


def read_apart(body: Generator[Any, Any, Any], aside: Aside) -> Generator[Any, Any, Any]:
    """The same generator (PEP 380), with `aside` entered wherever its reader goes on."""
    resume: Callable[[], Any] = partial(next, body)
    while True:
        try:
            item = resume()
        except StopIteration as stop:
            return stop.value
        try:
            with aside():
                sent = yield item
        except GeneratorExit:
            body.close()
            raise
        except BaseException as error:  # noqa: BLE001 -- what is thrown in is the body's to handle
            resume = partial(body.throw, error)
        else:
            resume = partial(body.send, sent)


async def read_apart_async(body: AsyncGenerator[Any, Any], aside: Aside) -> AsyncGenerator[Any, Any]:
    """The same asynchronous generator, with `aside` entered wherever its reader goes on."""
    resume: Callable[[], Any] = partial(anext, body)
    while True:
        try:
            item = await resume()
        except StopAsyncIteration:
            return
        try:
            with aside():
                sent = yield item
        except GeneratorExit:
            await body.aclose()
            raise
        except BaseException as error:  # noqa: BLE001 -- what is thrown in is the body's to handle
            resume = partial(body.athrow, error)
        else:
            resume = partial(body.asend, sent)
