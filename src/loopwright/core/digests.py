"""Names things by the BLAKE3 of their bytes; values are put in one canonical JSON form first."""

from __future__ import annotations

import re

import msgspec
from blake3 import blake3

from loopwright.core.errors import Invalid

__all__ = ["DIGEST_LENGTH", "canonical", "check_digest", "digest_bytes", "digest_value"]

DIGEST_LENGTH = 64
_FORM = re.compile(r"[0-9a-f]{64}\Z")
_ENCODER = msgspec.json.Encoder(order="deterministic")


def canonical(value: object) -> bytes:
    """The one JSON form of a value: keys sorted, no spaces, so that equal values have equal bytes."""
    return _ENCODER.encode(value)


def digest_bytes(data: bytes | memoryview) -> str:
    """BLAKE3 of bytes, 64 lower-case hex digits."""
    return blake3(data).hexdigest()


def digest_value(value: object) -> str:
    """BLAKE3 of the canonical JSON of a value."""
    return digest_bytes(canonical(value))


def check_digest(text: str) -> str:
    """Return the digest itself when well formed; no other text may ever reach a store as a name."""
    if not _FORM.match(text):
        raise Invalid(
            f"{text[:80]!r} is not a digest",
            hint="a digest is 64 lower-case hex digits",
        )
    return text
