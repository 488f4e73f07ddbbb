"""What is remembered of a folder's files between two looks: a cache, which may be lost."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from loopwright.core.digests import digest_bytes
from loopwright.data.scanning import Remembered
from loopwright.engine.context import Context

__all__ = ["remember", "remembered"]

_DECODER = msgspec.msgpack.Decoder(dict[str, Remembered])


def remembered(ctx: Context, root: Path) -> Mapping[str, Remembered]:
    """The digests that the files below a folder had; nothing where that is not known or cannot be read."""
    try:
        return _DECODER.decode(_place(ctx, root).read_bytes())
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return {}


def remember(ctx: Context, root: Path, marks: Mapping[str, Remembered]) -> None:
    """Remember them in place of those of before; a disk that takes nothing makes the next look longer."""
    place = _place(ctx, root)
    draft = place.with_name(f"{place.name}.{secrets.token_hex(8)}")
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_bytes(msgspec.msgpack.encode(marks))
            draft.replace(place)
        finally:
            draft.unlink(missing_ok=True)


def _place(ctx: Context, root: Path) -> Path:
    return ctx.ports.folder / "cache" / "files" / digest_bytes(os.fsencode(root))
