"""The free functions that code of this process handed over."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["ProcessFunctions"]


class ProcessFunctions:
    """Functions in the memory of this process, gone with it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, tuple[str, Callable[..., object]]] = {}

    def add(self, name: str, digest: str, function: Callable[..., object]) -> None:
        """Hold a function; one of the same name is replaced."""
        with self._lock:
            self._held[name] = (digest, function)

    def find(self, name: str) -> tuple[str, Callable[..., object]] | None:
        """The function of that name with its digest, or None."""
        with self._lock:
            return self._held.get(name)
