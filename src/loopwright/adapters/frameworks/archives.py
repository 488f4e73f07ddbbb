"""Opens what may run code: skops archives and pickles, behind what the loading side granted."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from typing import Any

from loopwright.core.errors import Corrupt, Invalid, TooLarge, Untrusted
from loopwright.ports.predictors import Grant

__all__ = ["dump_pickle", "dump_skops", "load_pickle", "load_skops"]

_SCHEMA = "schema.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""the earliest time of a ZIP archive"""
_MEMBERS = 100_000
_UNPACKED_BYTES = 8 << 30
_RATIO = 200
"""a model's arrays shrink by less; what shrinks by more and is large is a bomb"""
_SMALL_BYTES = 64 << 20
_BROKEN = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ImportError,
    OSError,
    EOFError,
    RecursionError,
    MemoryError,
    NotImplementedError,
    zipfile.BadZipFile,
    pickle.UnpicklingError,
)
"""what readers of foreign bytes raise when the bytes are not theirs"""


def dump_skops(model: Any) -> tuple[bytes, tuple[str, ...]]:
    """A model as a skops archive, and the types in it that skops does not hold harmless by itself."""
    import skops.io

    try:
        data: bytes = skops.io.dumps(model, compression=zipfile.ZIP_DEFLATED)
        return _settled(data), tuple(sorted(skops.io.get_untrusted_types(data=data)))
    except _BROKEN as error:
        raise Invalid(
            f"skops cannot write this {type(model).__name__}: {type(error).__name__}",
            hint="save it with form='cloudpickle', which only those who trust you can load",
        ) from error


def _settled(data: bytes) -> bytes:
    """The archive with numbers for its memory addresses, and no times: equal models have equal bytes."""
    numbers: dict[int, int] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        schema = _numbered(json.loads(archive.read(_SCHEMA)), numbers)
        names = {name: _renamed(name, numbers) for name in archive.namelist() if name != _SCHEMA}
        members = {after: archive.read(before) for before, after in names.items()}
    members[_SCHEMA] = json.dumps(schema).encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(members):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), members[name], zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _numbered(node: Any, numbers: dict[int, int]) -> Any:
    """The tree with each `__id__` as its place in the order of first mention, files named accordingly."""
    if isinstance(node, list):
        return [_numbered(each, numbers) for each in node]
    if not isinstance(node, dict):
        return node
    if isinstance(node.get("__id__"), int):
        numbers.setdefault(node["__id__"], len(numbers) + 1)
    found = {key: _numbered(each, numbers) for key, each in node.items()}
    if "__id__" in found:
        found["__id__"] = numbers.get(found["__id__"], found["__id__"])
    if isinstance(found.get("file"), str):
        found["file"] = _renamed(found["file"], numbers)
    return found


def _renamed(name: str, numbers: dict[int, int]) -> str:
    stem, dot, ending = name.partition(".")
    known = numbers.get(int(stem)) if stem.isdecimal() else None
    return name if known is None else f"{known}{dot}{ending}"


def load_skops(data: bytes, grant: Grant, where: str) -> Any:
    """The object in a skops archive; `Untrusted` names the types that were not granted."""
    import skops.io

    _check_archive(data, where)
    try:
        unknown = skops.io.get_untrusted_types(data=data)
        refused = [] if grant.code else sorted(set(unknown) - grant.types)
        if refused:
            raise _refused_types(refused, where)
        return skops.io.loads(data, trusted=unknown)
    except _BROKEN as error:
        raise Corrupt(
            f"the model cannot be read from its skops archive: {type(error).__name__}",
            hint="it was damaged, or written by another version of its framework: see the package's lock",
            where=where,
        ) from error


def _refused_types(types: list[str], where: str) -> Untrusted:
    shown = ", ".join(name[:100] for name in types[:8]) + (" ..." if len(types) > 8 else "")
    return Untrusted(
        f"loading would make objects of types that are not known to be harmless: {shown}",
        hint="if you know them, load with trust=['type:NAME', ...]; or trust the package's signer",
        where=where,
    )


def _check_archive(data: bytes, where: str) -> None:
    """`TooLarge` for an archive that would unpack to far more than it is, `Corrupt` for none."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
    except _BROKEN as error:
        raise Corrupt("the file is no skops archive", hint="save the model again", where=where) from error
    unpacked = sum(member.file_size for member in members)
    is_bomb = unpacked > _SMALL_BYTES and unpacked > _RATIO * len(data)
    if len(members) > _MEMBERS or unpacked > _UNPACKED_BYTES or is_bomb:
        raise TooLarge(
            f"the skops archive of {len(data):,} bytes would unpack to {unpacked:,} bytes",
            hint="a model does not shrink that far: ask whoever made it",
            where=where,
        )


def dump_pickle(model: Any) -> bytes:
    """A model by cloudpickle."""
    import cloudpickle

    try:
        data: bytes = cloudpickle.dumps(model)
    except (*_BROKEN, pickle.PicklingError) as error:
        raise Invalid(
            f"this {type(model).__name__} cannot be pickled: {error}",
            hint="leave open files, locks and connections out of the model",
        ) from error
    return data


def load_pickle(data: bytes, grant: Grant, where: str) -> Any:
    """The object in a pickle, whose code runs: only where code was granted."""
    if not grant.code:
        raise Untrusted(
            "the model is a pickle: loading it runs whatever code its maker put in",
            hint="load it only from who you trust: trust=['ed25519:...'] for a signer, "
            "trust=['blake3:...'] for this very package",
            where=where,
        )
    import cloudpickle

    try:
        return cloudpickle.loads(data)
    except _BROKEN as error:
        raise Corrupt(
            f"the pickle cannot be read here: {type(error).__name__}: {str(error)[:200]}",
            hint="install what the package's requirements name",
            where=where,
        ) from error
