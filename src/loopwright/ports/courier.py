"""Posts to addresses that strangers chose, and keeps their secrets: what telling the outside world needs."""

from __future__ import annotations

from typing import Protocol

import msgspec

__all__ = ["Courier", "Parcel", "Receipt", "Safe"]


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """What is posted where."""

    url: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What the other side answered; the body is cut at 4,000 characters."""

    status: int
    body: str = ""


class Courier(Protocol):
    """Posts over HTTP. Thread safe.

    Addresses are chosen by strangers, so every post looks up the name once, checks each address it has,
    and connects to that very address: an address inside is never connected to, whatever it is called.
    Redirects are answers like any other; no proxy is used, and nothing of this process goes along.
    """

    def check(self, url: str) -> None:
        """Nothing when the URL may be posted to as its name stands now; `Invalid` says why not."""

    def post(self, parcel: Parcel) -> Receipt:
        """Post once, within some seconds, and give the answer, of whatever status.

        `Invalid` when the address may not be posted to, `Unavailable` when nobody answers there in time.
        """


class Safe(Protocol):
    """Seals small secrets with a key of the workspace: who reads the ledger cannot read them. Thread safe."""

    def seal(self, secret: str, *, about: str) -> str:
        """The secret as a text that only `unseal` with the same `about` reads; different at every call."""

    def unseal(self, sealed: str, *, about: str) -> str:
        """The secret; `Corrupt` when it was sealed by another workspace, about something else, or changed."""
