"""The free functions that code of this process handed over, or that modules of its operator's have."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

__all__ = ["ProcessFunctions"]


Named = tuple[str, str, Callable[..., object]]
"""name, digest, function"""


class ProcessFunctions:
    """Functions in the memory of this process, gone with it.

    `more` gives those that are looked for when one is asked for that nobody handed over: it is called once,
    and again where it raised.
    """

    def __init__(self, more: Callable[[], Iterable[Named]] = tuple) -> None:
        self._lock = threading.RLock()
        self._held: dict[str, tuple[str, Callable[..., object]]] = {}
        self._more: Callable[[], Iterable[Named]] | None = more

    def add(self, name: str, digest: str, function: Callable[..., object]) -> None:
        """Hold a function; one of the same name is replaced."""
        with self._lock:
            self._held[name] = (digest, function)

    def find(self, name: str) -> tuple[str, Callable[..., object]] | None:
        """The function of that name with its digest, or None."""
        with self._lock:
            if name not in self._held:
                self.look()
            return self._held.get(name)

    def look(self) -> None:
        """Find the others now; what was handed over goes before them."""
        with self._lock:
            if self._more is not None:
                found = list(self._more())
                self._more = None
                self._held = {name: (digest, function) for name, digest, function in found} | self._held
