"""Secrets sealed by ChaCha20-Poly1305 (RFC 8439) under a key derived from the workspace's own."""

from __future__ import annotations

import base64
import binascii
import secrets
from typing import TYPE_CHECKING

from loopwright.core.errors import Corrupt, Invalid
from loopwright.ports.world import Keys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

__all__ = ["KeySafe"]

_PURPOSE = b"loopwright/webhook-secrets/1"
_NONCE = 12
_PREFIX = "sealed1:"


class KeySafe:
    """Fulfils `ports.courier.Safe` under a key of its own, drawn from the workspace's."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def __repr__(self) -> str:
        return "KeySafe(...)"

    def seal(self, secret: str, *, about: str) -> str:
        """The secret under a random nonce, bound to what it is about."""
        nonce = secrets.token_bytes(_NONCE)
        try:
            hidden = self._cipher().encrypt(nonce, secret.encode(), about.encode())
        except UnicodeEncodeError:
            raise Invalid("a secret is no valid text", hint="give UTF-8") from None
        return _PREFIX + base64.b64encode(nonce + hidden).decode()

    def unseal(self, sealed: str, *, about: str) -> str:
        """The secret, verified."""
        from cryptography.exceptions import InvalidTag

        try:
            raw = base64.b64decode(sealed.removeprefix(_PREFIX), validate=True)
            return self._cipher().decrypt(raw[:_NONCE], raw[_NONCE:], about.encode()).decode()
        except (InvalidTag, binascii.Error, ValueError):
            raise Corrupt(
                f"the secret of {about} cannot be read",
                hint="restore the workspace's keys, or set the secret anew",
            ) from None

    def _cipher(self) -> ChaCha20Poly1305:
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        return ChaCha20Poly1305(bytes.fromhex(self._keys.sign(_PURPOSE)))
