"""What a source of a dataset is, how it is kept (its secrets sealed), and how far it was read."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Literal

import msgspec

from loopwright.core.addresses import Address, check_name
from loopwright.core.digests import digest_value
from loopwright.core.errors import Conflict, Invalid, NotFound
from loopwright.core.manifests import Manifest
from loopwright.core.nouns import Json, Version
from loopwright.engine.context import Context
from loopwright.engine.publishing import asset_of, manifest_of, prepare, publish, resolve
from loopwright.engine.schedule import Schedule, put_schedule, remove_schedule
from loopwright.ports.ledger import PageRequest, Transaction
from loopwright.ports.sources import Origin

__all__ = [
    "INGEST",
    "SOURCE",
    "Declared",
    "Reading",
    "Source",
    "all_sources",
    "declare",
    "declared_of",
    "forget",
    "note_reading",
    "origin_of",
    "reading_of",
    "remove",
    "shown_address",
]

SOURCE = "source"
INGEST = "data.ingest"
"""the name of the jobs that read a source"""
_SECRETS = "source_secrets"
_READINGS = "source_readings"
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?\Z", re.DOTALL)
_HIDDEN = "***"

Format = Literal["", "csv", "ndjson", "parquet", "arrow"]
Mode = Literal["append", "replace"]


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where rows of a dataset come from. What is secret in it is kept apart, sealed, and shown as `***`."""

    address: str
    into: str
    """the dataset"""
    query: str = ""
    cursor: str = ""
    mode: Mode = "append"
    """`append`: what is new is added; `replace`: a version holds what the source holds"""
    format: Format = ""
    """of files; empty: by ending, media type or first bytes"""
    zone: str = ""
    """in which zone times without one are, such as Europe/Berlin; empty: such times are refused"""
    event_time: str = ""
    known_at: str = ""
    contract: str = ""
    every: str = ""
    cron: str = ""
    skip_bad: bool = False
    """whether records of a stream that are no JSON objects are left out, and counted, instead of refused"""
    headers: tuple[str, ...] = ()
    """names of what is sent along"""
    options: tuple[str, ...] = ()
    """names of the driver's options"""

    @property
    def place(self) -> str:
        """What tells whether it is still the same thing that is read: how far that was holds for it alone."""
        return digest_value([self.address, self.query, self.cursor, self.mode, self.into])


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """A source and the version that keeps it."""

    source: Source
    version: Version

    @property
    def name(self) -> str:
        """The source's name."""
        return self.version.name


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """How far a source was read: written in the unit of work that publishes what was read."""

    place: str = ""
    state: Json = {}
    """marks of files, the greatest value of the cursor column, or offsets of a stream"""
    count: int = 0
    """how many times something was kept"""
    rows: int = 0
    version: int = 0
    """the dataset's version that the last one ended with"""
    at: datetime | None = None


def shown_address(address: str) -> str:
    """The address with its password, and whatever follows a `?`, as `***`; a path is itself."""
    found = _ADDRESS.match(address)
    if found is None:
        return address
    scheme, net, path, query, _ = found.groups()
    who, at, host = net.rpartition("@")
    user, colon, _ = who.partition(":")
    if scheme.lower() in {"http", "https"} and at:
        user = _HIDDEN
    hidden = re.sub(r"=[^&]*", f"={_HIDDEN}", query) if query and "=" in query else (query and f"?{_HIDDEN}")
    return f"{scheme}://{user}{f':{_HIDDEN}' if colon else ''}{at}{host}{path}{hidden or ''}"


def declare(ctx: Context, name: str, source: Source, origin: Origin) -> Declared:
    """Keep a source as the next version of `source:<name>`, its secrets sealed, its schedule set or ended."""
    check_name(source.into)
    manifest = Manifest(kind=SOURCE, body=msgspec.to_builtins(source))
    draft = prepare(ctx, check_name(name), manifest, facts={"into": source.into})
    told = {"address": origin.address, "headers": dict(origin.headers), "options": origin.options}
    sealed = ctx.ports.safe.seal(msgspec.json.encode(told).decode(), about=_about(name))

    def work(tx: Transaction) -> Version:
        version = publish(ctx, tx, draft)
        tx.documents.put(ctx.space, _SECRETS, name, {"sealed": sealed})
        _schedule(ctx, tx, name, source)
        return version

    return Declared(source=source, version=ctx.write(work))


def _schedule(ctx: Context, tx: Transaction, name: str, source: Source) -> None:
    if source.every or source.cron:
        wanted = Schedule(
            name=_about(name),
            operation=INGEST,
            arguments={"source": name},
            every=source.every,
            cron=source.cron,
        )
        put_schedule(ctx, tx, wanted)
    else:
        remove_schedule(ctx, tx, _about(name))


def declared_of(ctx: Context, name: str) -> Declared:
    """The source of that name as it stands, else `NotFound`."""
    try:
        version = resolve(ctx, Address(kind=SOURCE, name=name))
        with ctx.read() as tx:
            is_there = tx.documents.get(ctx.space, _SECRETS, name) is not None
    except NotFound:
        is_there = False
    if not is_there:
        raise NotFound(
            f"there is no source named {name!r}", hint="`loopwright data sources list` names all there are"
        )
    return Declared(source=msgspec.convert(manifest_of(ctx, version).body, Source), version=version)


def origin_of(ctx: Context, declared: Declared) -> Origin:
    """Where it is read, with its secrets: not to be shown, kept or logged."""
    with ctx.read() as tx:
        body = tx.documents.get(ctx.space, _SECRETS, declared.name)
    if body is None:
        raise NotFound(f"the source {declared.name!r} was removed", hint="declare it anew")
    told = msgspec.json.decode(ctx.ports.safe.unseal(body["sealed"], about=_about(declared.name)))
    return Origin(
        address=told["address"],
        query=declared.source.query,
        cursor=declared.source.cursor,
        headers=told["headers"],
        options=told["options"],
    )


def reading_of(tx: Transaction, space: str, declared: Declared) -> Reading:
    """How far it was read; an empty one where it never was, or was another source then."""
    body = tx.documents.get(space, _READINGS, declared.name)
    found = Reading() if body is None else msgspec.convert(body, Reading)
    return found if found.place == declared.source.place else Reading(place=declared.source.place)


def note_reading(ctx: Context, tx: Transaction, declared: Declared, before: Reading, after: Reading) -> None:
    """Write how far it was read; `Conflict` when somebody read on from the same place meanwhile."""
    if reading_of(tx, ctx.space, declared) != before:
        raise Conflict(
            f"the source {declared.name!r} was read by somebody else meanwhile",
            hint="nothing was added twice; run it again for what is new since",
        )
    tx.documents.put(ctx.space, _READINGS, declared.name, msgspec.to_builtins(after))


def forget(ctx: Context, name: str) -> None:
    """Let the next reading begin from the beginning."""
    declared = declared_of(ctx, name)

    def work(tx: Transaction) -> None:
        tx.documents.remove(ctx.space, _READINGS, name)
        ctx.record(tx, "source.rewound", declared.version.ref, {})

    ctx.write(work)


def remove(ctx: Context, name: str) -> None:
    """End a source: its secrets, its schedule and its place go; what was read, and its versions, stay."""
    declared = declared_of(ctx, name)

    def work(tx: Transaction) -> None:
        asset_of(ctx, tx, SOURCE, name)
        for collection in (_SECRETS, _READINGS):
            tx.documents.remove(ctx.space, collection, name)
        remove_schedule(ctx, tx, _about(name))
        ctx.record(tx, "source.removed", declared.version.ref, {})

    ctx.write(work)


def all_sources(ctx: Context, request: PageRequest) -> tuple[tuple[str, ...], str]:
    """Names of the sources that are not removed, in order, a page of them; and the next page's token."""
    with ctx.read() as tx:
        names = tx.documents.all(ctx.space, _SECRETS, start=request.token, limit=request.limit + 1)
    found = tuple(names)
    return found[: request.limit], found[request.limit] if len(found) > request.limit else ""


def check_times(source: Source) -> Source:
    """The source itself when its zone is one."""
    if source.zone:
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        try:
            ZoneInfo(source.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise Invalid(
                f"{source.zone[:60]!r} is no zone of times", hint="such as Europe/Berlin"
            ) from error
    return source


def _about(name: str) -> str:
    return f"{SOURCE}/{name}"
