"""What the page of a model's version tells of its package: how to load it, its signature, its files."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import quote

from loopwright.core.errors import LoopwrightError
from loopwright.core.nouns import Version
from loopwright.registry.mlmodel import read_mlmodel
from loopwright.registry.signatures import ColumnSpec, TensorSpec, read_signature
from loopwright.surfaces.ui.desk import Desk, Values

__all__ = ["Input", "packaged", "signature_told"]

_MLMODEL = "MLmodel"


class Input(NamedTuple):
    """A line of a signature: `in` or `out`, its name or place, its type, and whether it may be missing."""

    side: str
    name: str
    type: str
    optional: bool


def packaged(desk: Desk, version: Version) -> Values | None:
    """The package of a model's version; None where it has no files here, or they may not be read."""
    source = str(version.ref)
    try:
        files = desk.call("registry.folder", source=source).files
    except LoopwrightError:
        return None
    if not files:
        return None
    return {
        "files": files,
        "content": f"/api/v1/model-files/content?source={quote(source, safe='')}&path=",
        "signature": _signature(desk, source) if any(each.path == _MLMODEL for each in files) else (),
        "uri": f"models:/{version.name}/{version.number}",
    }


def _signature(desk: Desk, source: str) -> tuple[Input, ...]:
    try:
        with desk.call("registry.download", source=source, path=_MLMODEL).file as file:
            return signature_told(file.read())
    except LoopwrightError:
        return ()


def signature_told(mlmodel: bytes) -> tuple[Input, ...]:
    """The signature that a file `MLmodel` holds, inputs first; `Invalid` for a file that is none."""
    found = read_signature(read_mlmodel(mlmodel).get("signature"))
    if found is None:
        return ()
    sides: tuple[tuple[str, Any], ...] = (("in", found.inputs), ("out", found.outputs))
    return tuple(_line(side, at, spec) for side, specs in sides for at, spec in enumerate(specs))


def _line(side: str, at: int, spec: ColumnSpec | TensorSpec) -> Input:
    if isinstance(spec, TensorSpec):
        shape = " \u00d7 ".join("any" if length < 0 else str(length) for length in spec.shape)
        return Input(side, spec.name or str(at), f"{spec.dtype} ({shape})", optional=False)
    return Input(side, spec.name or str(at), spec.type, optional=not spec.required)
