"""A version's manifest: which immutable objects it is made of; its digest is the version's identity."""

from __future__ import annotations

import msgspec

from loopwright.core.digests import canonical, digest_bytes
from loopwright.core.nouns import Json
from loopwright.core.schema import Schema

__all__ = ["FOLDER", "LAYOUT", "Manifest", "ManifestEntry", "decode_manifest", "encode_manifest"]

LAYOUT, FOLDER = "layout", "folder"
"""what a body says of a version whose entries are pages of files"""


class ManifestEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One object of a version: a part of a table, or a file of a folder or a package."""

    path: str
    """the name inside the version (`part-00001.parquet`, `model.txt`); never a path of any file system"""
    digest: str
    size_bytes: int
    rows: int | None = None
    facts: Json = {}


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The whole content of a version; equal content has an equal digest."""

    kind: str
    entries: tuple[ManifestEntry, ...] = ()
    schema: Schema | None = None
    rows: int | None = None
    parent: str | None = None
    """digest of the parent manifest, where the version was made from one"""
    body: Json = {}
    """what the kind keeps as a value: a contract, a feature definition, a policy, a model's signature"""
    profile: str | None = None
    """digest of the object that holds the column profiles"""

    @property
    def is_folder(self) -> bool:
        """Whether the version is a folder of files; else a table, or whatever its kind keeps."""
        return self.body.get(LAYOUT) == FOLDER

    @property
    def pages(self) -> tuple[str, ...]:
        """Objects that name further objects of the version: the pages of a folder's files."""
        return tuple(entry.digest for entry in self.entries) if self.is_folder else ()


_DECODER = msgspec.json.Decoder(Manifest)


def encode_manifest(manifest: Manifest) -> tuple[str, bytes]:
    """The manifest's digest and its canonical bytes, which are kept as an object under that digest."""
    data = canonical(manifest)
    return digest_bytes(data), data


def decode_manifest(data: bytes) -> Manifest:
    """Read a manifest back."""
    return _DECODER.decode(data)
