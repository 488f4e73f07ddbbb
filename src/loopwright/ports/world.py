"""Clock, ids and keys: what pure code must be given."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

__all__ = ["Clock", "Ids", "Keys", "Signer"]


class Clock(Protocol):
    """The platform's instant, which a replay may set, and the wall clock. Thread safe; aware UTC."""

    def now(self) -> datetime:
        """The platform's instant: TTLs, cool-downs, schedules, canary steps and signals use it."""

    def wall(self) -> datetime:
        """The wall clock: leases, journal lines and file times use it."""


class Ids(Protocol):
    """Names what has no name. Thread safe."""

    def new(self) -> str:
        """A new id: 26 lower-case characters, later ids sort after earlier ones of the same process."""


class Keys(Protocol):
    """Secrets of the workspace, never printed or journaled."""

    def sign(self, message: bytes) -> str:
        """A keyed digest of a message, hex."""

    def verify(self, message: bytes, signature: str) -> bool:
        """Whether `sign` gave this signature, in constant time."""


class Signer(Protocol):
    """A pair of keys: what the workspace signed, others verify without a secret. Thread safe."""

    @property
    def public_key(self) -> str:
        """Who signs, `ed25519:` and 64 hex digits."""

    def sign(self, message: bytes) -> str:
        """The signature of a message, hex."""

    def verify(self, public_key: str, message: bytes, signature: str) -> bool:
        """Whether the owner of a public key signed this message; False for what is no key or signature."""
