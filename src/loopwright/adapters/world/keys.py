"""The workspace's signing keys: files only their owner can read."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from loopwright.core.errors import Corrupt, Unavailable

__all__ = ["FileKeys", "FileSigner"]

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_LENGTH = 32
_PREFIX = "ed25519:"


class FileKeys:
    """A keyed BLAKE3 under a random 256-bit key, made at first use with mode 600."""

    def __init__(self, path: Path) -> None:
        self._secret = _Secret(path)

    def __repr__(self) -> str:
        return "FileKeys(...)"

    def sign(self, message: bytes) -> str:
        """A keyed digest, 64 hex digits."""
        return blake3(message, key=self._secret.read()).hexdigest()

    def verify(self, message: bytes, signature: str) -> bool:
        """Whether `sign` gave this signature, in constant time."""
        return secrets.compare_digest(self.sign(message), signature)


class FileSigner:
    """Ed25519 (RFC 8032) under a random seed, made at first use with mode 600."""

    def __init__(self, path: Path) -> None:
        self._secret = _Secret(path)

    def __repr__(self) -> str:
        return "FileSigner(...)"

    @property
    def public_key(self) -> str:
        """`ed25519:` and 64 hex digits."""
        return _PREFIX + self._private().public_key().public_bytes_raw().hex()

    def sign(self, message: bytes) -> str:
        """128 hex digits."""
        return self._private().sign(message).hex()

    def verify(self, public_key: str, message: bytes, signature: str) -> bool:
        """Whether the owner of the public key signed the message."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        if not public_key.startswith(_PREFIX):
            return False
        try:
            key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key.removeprefix(_PREFIX)))
            key.verify(bytes.fromhex(signature), message)
        except (InvalidSignature, ValueError):
            return False
        return True

    def _private(self) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self._secret.read())


class _Secret:
    """32 random bytes in a file, made at first use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._key: bytes | None = None

    def read(self) -> bytes:
        if self._key is None:
            self._key = self._read_or_make()
        return self._key

    def _read_or_make(self) -> bytes:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with contextlib.suppress(FileExistsError):
                self._make()
            key = self._path.read_bytes()
        except OSError as error:
            raise Unavailable(
                f"the signing key {self._path.name} cannot be used: {error.strerror}"
            ) from error
        if len(key) != _LENGTH:
            raise Corrupt(
                f"the signing key {self._path.name} has {len(key)} bytes, not {_LENGTH}",
                hint="restore it from a backup; without it signed heads cannot be checked",
            )
        return key

    def _make(self) -> None:
        """Write a whole key under another name, then link it: no process ever reads half a key."""
        if self._path.exists():
            return
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(_LENGTH))
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, self._path)
        finally:
            draft.unlink()
