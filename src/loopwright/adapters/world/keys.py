"""The workspace's signing key: a file only its owner can read."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from blake3 import blake3

from loopwright.core.errors import Corrupt, Unavailable

__all__ = ["FileKeys"]

_LENGTH = 32


class FileKeys:
    """A keyed BLAKE3 under a random 256-bit key, made at first use with mode 600."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._key: bytes | None = None

    def __repr__(self) -> str:
        return "FileKeys(...)"

    def sign(self, message: bytes) -> str:
        """A keyed digest, 64 hex digits."""
        return blake3(message, key=self._loaded()).hexdigest()

    def verify(self, message: bytes, signature: str) -> bool:
        """Whether `sign` gave this signature, in constant time."""
        return secrets.compare_digest(self.sign(message), signature)

    def _loaded(self) -> bytes:
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
