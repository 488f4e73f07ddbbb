"""Packages of models: folders that are MLmodel folders too, with our own metadata and its maker's signature.

`loopwright.json` names every other file by digest, `loopwright.sig` is a signature over its bytes: a changed
file, a signature of another package and a foreign signer are each found before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from loopwright.core.digests import canonical, digest_bytes
from loopwright.core.errors import Invalid, Untrusted
from loopwright.core.nouns import Json
from loopwright.ports.predictors import Grant, OpenedModel, Packager
from loopwright.ports.world import Signer
from loopwright.registry.fitting import fitted
from loopwright.registry.mlmodel import MLMODEL, FlavorSection, chosen_flavor, read_mlmodel
from loopwright.registry.signatures import ModelSignature, read_signature

__all__ = ["META", "SIGNATURE", "Package", "PackageMeta", "content_digest", "read_package", "sealed"]

T = TypeVar("T")

META, SIGNATURE = "loopwright.json", "loopwright.sig"
_FORMAT = 1
_DOMAIN = b"loopwright model package 1\n"
"""what stands before the signed bytes, so that no signature made for something else is one of a package"""
_NEEDLESS = frozenset({"registered_model_meta"})
"""files that MLflow adds to a folder when it fetches it"""


class PackageMeta(msgspec.Struct, frozen=True, kw_only=True):
    """What we say of a package beside its MLmodel file."""

    format: int = _FORMAT
    made_at: datetime
    made_with: str
    """this product's version"""
    flavor: str
    python: str
    environment: str
    """digest of the lock of everything that was installed"""
    code: Json
    """commit, and the digest of the difference to it, where there was a repository"""
    files: dict[str, str]
    """digests of all other files by path"""


class _Seal(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the signature's file."""

    signer: str
    signature: str


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """A package that was read and found whole; nothing of it was loaded yet."""

    files: Mapping[str, bytes]
    mlmodel: Json
    section: FlavorSection
    signature: ModelSignature | None
    digest: str
    """of all its files: what `trust=['blake3:...']` names"""
    meta: PackageMeta | None = None
    """None for one that MLflow saved"""
    signer: str = ""
    """the public key that signed it; empty for one that is not signed"""

    def open(self, packager: Packager, grant: Grant) -> OpenedModel:
        """Load the model."""
        return packager.open(self.files, self.section.settings, grant)

    def fitted(self, data: Any) -> Any:
        """The data as the signature has it; `Invalid` names the place that does not fit."""
        return fitted(self.signature, data)


def sealed(files: Mapping[str, bytes], meta: PackageMeta, signer: Signer) -> dict[str, bytes]:
    """The files with our metadata, which names them all, and the signature over it."""
    told = msgspec.structs.replace(meta, files={path: digest_bytes(files[path]) for path in sorted(files)})
    data = canonical(told)
    seal = _Seal(signer=signer.public_key, signature=signer.sign(_DOMAIN + data))
    return {**files, META: data, SIGNATURE: canonical(seal)}


def content_digest(digests: Mapping[str, str]) -> str:
    """The digest of a folder, given those of its files by path; what MLflow adds on fetching is left out."""
    return digest_bytes(canonical({path: each for path, each in digests.items() if path not in _NEEDLESS}))


def read_package(
    files: Mapping[str, bytes],
    packagers: Mapping[str, Packager],
    signer: Signer,
    *,
    digests: Mapping[str, str] | None = None,
) -> Package:
    """Read a package; nothing is loaded, no code runs.

    With the files' digests given, only MLmodel and our own two files need to have their bytes.
    `Untrusted` when a file is not what was signed, `Invalid` when it is no package that can be loaded here.
    """
    if MLMODEL not in files:
        raise Invalid(
            "there is no MLmodel file: this is no folder of a model", hint="name the model's folder"
        )
    known = {path: digest_bytes(data) for path, data in files.items()} if digests is None else digests
    meta, maker = _verified(files, known, signer)
    content = read_mlmodel(files[MLMODEL])
    return Package(
        files=files,
        mlmodel=content,
        section=chosen_flavor(content, packagers, files),
        signature=read_signature(content.get("signature")),
        digest=content_digest(known),
        meta=meta,
        signer=maker,
    )


def _verified(
    files: Mapping[str, bytes], digests: Mapping[str, str], signer: Signer
) -> tuple[PackageMeta | None, str]:
    """What the package says of itself and who signed it; nothing for one of another tool."""
    if META not in files and SIGNATURE not in files:
        return None, ""
    meta, seal = _read(files, META, PackageMeta), _read(files, SIGNATURE, _Seal)
    if canonical(seal) != files[SIGNATURE] or canonical(seal) != canonical(seal).lower():
        raise _changed("its signature is not written as it was made", SIGNATURE)
    if not signer.verify(seal.signer, _DOMAIN + files[META], seal.signature):
        raise _changed("its signature is not one over this package", SIGNATURE)
    expected = set(meta.files) | {META, SIGNATURE}
    for path in sorted(meta.files):
        if path not in digests:
            raise _changed(f"the file {path[:120]!r} is missing", path[:120])
        if digests[path] != meta.files[path]:
            raise _changed(f"the file {path[:120]!r} is not the one that was signed", path[:120])
    added = sorted(set(digests) - expected - _NEEDLESS)
    if added:
        raise _changed(f"the file {added[0][:120]!r} was added to it", added[0][:120])
    return meta, seal.signer


def _read(files: Mapping[str, bytes], path: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(files[path], type=kind)
    except KeyError as error:
        raise _changed(f"its file {path!r} is missing", path) from error
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise _changed(f"its file {path!r} cannot be read", path) from error


def _changed(what: str, where: str) -> Untrusted:
    return Untrusted(
        f"the package was changed after it was signed: {what}",
        hint="fetch it again from where it was saved, or ask its maker",
        where=where,
    )
