"""Whose packages may run code here. What is trusted comes from the loading side, never from a file. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from loopwright.core.errors import Invalid, Untrusted
from loopwright.ports.predictors import Grant
from loopwright.registry.packages import Package

__all__ = ["advised", "check_trust", "granted"]

_KEY = re.compile(r"ed25519:[0-9a-f]{64}\Z")
_CONTENT = re.compile(r"blake3:[0-9a-f]{64}\Z")
_TYPE = re.compile(r"type:[A-Za-z_][\w.<>]*\Z")


def check_trust(entries: Iterable[str]) -> tuple[str, ...]:
    """The entries themselves; `Invalid` for one that names nobody."""
    if isinstance(entries, str):
        entries = (entries,)
    found = tuple(entries)
    for entry in found:
        if not any(form.match(entry) for form in (_KEY, _CONTENT, _TYPE)):
            raise Invalid(
                f"{entry[:100]!r} names nobody to trust",
                hint="write ed25519:<public key>, blake3:<digest of a package> or type:<module.Class>",
                where="trust",
            )
    return found


def granted(package: Package, own_key: str, entries: Iterable[str]) -> Grant:
    """What a package may do here: run code when who signed it, or it itself, is trusted."""
    trusted = set(check_trust(entries))
    is_known = bool(package.signer) and package.signer in {own_key, *trusted}
    types = frozenset(entry.removeprefix("type:") for entry in trusted if entry.startswith("type:"))
    return Grant(code=is_known or f"blake3:{package.digest}" in trusted, types=types)


def advised(error: Untrusted, package: Package) -> Untrusted:
    """The error with who signed the package, and what to write to trust it."""
    who = f"it is signed by {package.signer}" if package.signer else "it is not signed"
    return Untrusted(
        f"{error.message}; {who}",
        hint=f"{error.hint} (this package is blake3:{package.digest})",
        where=error.where,
    )
