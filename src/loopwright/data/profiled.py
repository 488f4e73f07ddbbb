"""Gives the profile of a version: the one it was published with, else one made of its rows, and why."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import json

from loopwright.core.manifests import Manifest, ManifestEntry
from loopwright.core.nouns import Json, Version
from loopwright.core.schema import Schema
from loopwright.data.cutting import each_batch
from loopwright.data.profiles import merged_profile
from loopwright.data.reading import schema_of
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of

__all__ = ["Profiled", "profile_of", "profile_of_parts", "stored_profile"]

_PIECE_ROWS = 1 << 20


class Profiled(msgspec.Struct, frozen=True, kw_only=True):
    """What the columns of a version hold, and whether its rows had to be read for that."""

    profile: Json
    because: str = ""
    """why rows were read; empty: the version was published with its profile, and nothing else was read"""


def stored_profile(ctx: Context, manifest: Manifest) -> Json | None:
    """The profile that a version was published with, or None."""
    if manifest.profile is None:
        return None
    found: Json = json.decode(ctx.ports.objects.get(manifest.profile))
    return found


def profile_of(ctx: Context, version: Version) -> Profiled:
    """The profile of a table: of the object beside its parts, or of all its rows where it has none.

    Versions have had one since they are made of tables; training sets of earlier releases have none.
    """
    manifest = manifest_of(ctx, version)
    found = stored_profile(ctx, manifest)
    if found is not None:
        return Profiled(profile=found)
    made = profile_of_parts(ctx, manifest.entries, schema_of(manifest))
    return Profiled(
        profile={"rows": 0, "columns": {}} if made is None else made,
        because=f"{version.ref} has no profile",
    )


def profile_of_parts(ctx: Context, entries: Sequence[ManifestEntry], schema: Schema) -> Json | None:
    """The profile of parts, read a piece at a time; None where there is no part."""
    found: Json | None = None
    for batch in (batch for entry in entries for batch in each_batch(ctx, entry, schema, rows=_PIECE_ROWS)):
        part = ctx.ports.tables.profile(batch, like=found)
        found = part if found is None else merged_profile(found, part)
    return found
