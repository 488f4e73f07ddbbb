"""Says whose an object is that is damaged or gone: the versions of the space that need it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from loopwright.core.errors import LoopwrightError
from loopwright.core.manifests import decode_manifest
from loopwright.core.nouns import Version
from loopwright.engine.context import Context
from loopwright.ports.ledger import PageRequest, Transaction

__all__ = ["located", "versions_needing"]

_MARK = "object:"
_LOOKED_AT = 5_000
_NAMED = 3
_PAGE = 500


def located(ctx: Context, error: LoopwrightError) -> LoopwrightError:
    """The error with the versions that need its object as `where`; itself when it is about no object."""
    if not error.where.startswith(_MARK):
        return error
    digest = error.where.removeprefix(_MARK)
    named = list(islice(versions_needing(ctx, digest), _NAMED + 1))
    where = ", ".join(named[:_NAMED]) + (", ..." if len(named) > _NAMED else "")
    return type(error)(error.message, hint=error.hint, where=where or "no version of this space needs it")


def versions_needing(ctx: Context, digest: str) -> Iterator[str]:
    """Addresses of versions whose manifest is the object or names it, of the newest 5,000 looked at.

    Reads a manifest a version: for error messages, not for work.
    """
    with ctx.read() as tx:
        for version in islice(_versions(ctx, tx), _LOOKED_AT):
            if _needs(ctx, version, digest):
                yield str(version.ref)


def _versions(ctx: Context, tx: Transaction) -> Iterator[Version]:
    token = ""
    while True:
        assets = tx.assets.page(ctx.space, None, PageRequest(limit=_PAGE, token=token))
        for asset in assets.items:
            yield from tx.versions.page(asset.id, PageRequest(limit=_PAGE)).items
        token = assets.next_token
        if not token:
            return


def _needs(ctx: Context, version: Version, digest: str) -> bool:
    if version.digest == digest:
        return True
    try:
        data = ctx.ports.objects.get(version.digest)
    except LoopwrightError:
        return False
    manifest = decode_manifest(data)
    if digest == manifest.profile or any(entry.digest == digest for entry in manifest.entries):
        return True
    return any(_is_named(ctx, page, digest) for page in manifest.pages)


def _is_named(ctx: Context, page: str, digest: str) -> bool:
    try:
        return digest.encode() in ctx.ports.objects.get(page)
    except LoopwrightError:
        return False
