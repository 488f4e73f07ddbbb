"""Free Python functions that this process was given: what features that no engine can compile are made by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["Functions"]


class Functions(Protocol):
    """Functions by name, each with the digest of its source text. Thread safe.

    They are handed over by code that runs in this process. None is ever read from a store: what is kept of
    a function is its name and its digest.
    """

    def add(self, name: str, digest: str, function: Callable[..., object]) -> None:
        """Hold a function; one of the same name is replaced."""

    def find(self, name: str) -> tuple[str, Callable[..., object]] | None:
        """The function of that name with its digest, or None where this process was given none."""
