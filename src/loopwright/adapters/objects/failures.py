"""What the objects' adapters say when the world fails them."""

from __future__ import annotations

import errno
import re

from loopwright.core.errors import Corrupt, NotFound, Unavailable

__all__ = ["absent", "damaged", "is_digest", "refused"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


def is_digest(name: str) -> bool:
    """Whether a name found in a store is that of an object."""
    return _DIGEST.match(name) is not None


def absent(digest: str) -> NotFound:
    """No object has this digest."""
    return NotFound(
        f"there is no object {digest}",
        hint="it was collected, or belongs to another store: check the workspace's setting of objects, "
        "or restore a backup",
        where=f"object:{digest}",
    )


def damaged(digest: str, found: str) -> Corrupt:
    """The stored bytes have another digest than their name."""
    return Corrupt(
        f"the object {digest} is damaged: its bytes have the digest {found}",
        hint="restore it from a backup, or publish the same content again, which puts it right",
        where=f"object:{digest}",
    )


def refused(action: str, error: OSError) -> Unavailable:
    """The file system or the store failed; the message says how, the hint what to do."""
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno in _FULL:
        hint = "free some space (`loopwright gc --no-dry-run` removes what nothing needs) and repeat"
    elif error.errno in _DENIED or isinstance(error, PermissionError):
        hint = "make the store writable for this user, or check its key and secret"
    else:
        hint = "check that the store is there and reachable, and repeat"
    return Unavailable(f"the object store could not {action}: {reason}", hint=hint)
