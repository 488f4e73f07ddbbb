"""Pages and drawings that runs logged, shown where nothing in them can act."""

from __future__ import annotations

from loopwright.core.errors import Invalid, TooLarge
from loopwright.engine.operation import Blob
from loopwright.surfaces.ui.desk import Desk

__all__ = ["FRAME_POLICY", "framed"]

FRAME_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""no script, no request, no form, no origin: only what stands in the file itself is drawn"""
_TYPES = {"html": "text/html; charset=utf-8", "htm": "text/html; charset=utf-8", "svg": "image/svg+xml"}
_MOST_BYTES = 16 << 20


def framed(desk: Desk, run_id: str, path: str) -> tuple[bytes, str]:
    """A file of a run and its type; `Invalid` for one that is neither a page nor a drawing."""
    media = _TYPES.get(path.rpartition(".")[2].lower())
    if media is None:
        raise Invalid(f"{path[-80:]!r} is no page and no drawing", hint="download it instead")
    blob: Blob = desk.call("runs.download", run_id=run_id, path=path)
    with blob.file as file:
        if blob.size_bytes > _MOST_BYTES:
            raise TooLarge("the file is too large to be shown", hint="download it instead")
        return file.read(), media
