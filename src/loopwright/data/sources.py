"""Operations over sources of datasets: ingest, declare, run by hand or on a schedule, list, rewind."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import AssetName, check_name
from loopwright.core.errors import Invalid
from loopwright.core.nouns import Job, Json
from loopwright.data.ingesting import Ingested, ingest_source
from loopwright.data.sourcing import (
    INGEST,
    Declared,
    Format,
    Source,
    all_sources,
    check_times,
    declare,
    declared_of,
    forget,
    reading_of,
    remove,
    shown_address,
)
from loopwright.engine.context import Context
from loopwright.engine.jobs import enqueue
from loopwright.engine.operation import on_job, operation
from loopwright.engine.schedule import Schedule, next_tick
from loopwright.ports.ledger import Page, PageRequest
from loopwright.ports.sources import Origin

__all__ = [
    "SourceView",
    "carry_out",
    "declare_source",
    "follow",
    "ingest",
    "remove_source",
    "rewind",
    "run_source",
    "show_source",
    "sources",
]

Limit = Annotated[int, msgspec.Meta(ge=1, le=1000, description="how many on a page")]
Place = Annotated[
    str,
    msgspec.Meta(
        max_length=4096,
        description="a file, folder or pattern; https://, s3://, postgresql:// or any SQLAlchemy URL, "
        "redis://host/0/stream, kafka://host/topic",
    ),
]
Query = Annotated[str, msgspec.Meta(description="of a database: a SELECT, or the name of a table")]
Cursor = Annotated[str, msgspec.Meta(description="of a database: the column that only grows")]
Mode = Annotated[
    Literal["", "append", "replace"],
    msgspec.Meta(description="append what is new, or let a version be what the source holds"),
]
Zone = Annotated[str, msgspec.Meta(description="in which zone times without one are: Europe/Berlin")]
Headers = Annotated[
    tuple[str, ...], msgspec.Meta(description="sent along by HTTP, as NAME: VALUE; kept sealed")
]
Options = Annotated[Json, msgspec.Meta(description="of the store's or stream's driver; kept sealed")]
_NAME = re.compile(r"[^A-Za-z0-9_-]+")


class SourceView(msgspec.Struct, frozen=True, kw_only=True):
    """A source, and how far it was read."""

    name: str
    source: Source
    version: int
    runs: int = 0
    """readings that kept something"""
    rows: int = 0
    ended_with: int = 0
    """the dataset's version that the last of them ended with"""
    read_at: datetime | None = None


@operation("data.ingest", scope="dataset:write", local=True, workspace=True)
def ingest(
    ctx: Context,
    address: Place,
    *,
    into: str = "",
    query: Query = "",
    cursor: Cursor = "",
    mode: Mode = "",
    format: Format = "",
    zone: Zone = "",
    event_time: str = "",
    known_at: str = "",
    contract: str = "",
    header: Headers = (),
    options: Options = {},  # noqa: B006 - never changed: a default of a frozen request
    skip_bad: bool = False,
) -> Ingested:
    """Read rows from a file, folder, URL, database, object store or stream into a dataset.

    The source is kept under the dataset's name: the same command again reads what is new since. The dataset
    is named by `--into`, else as the file, table or stream is.
    """
    name = into or _named(address, query)
    source, origin = _read_declaration(
        ctx,
        Source(
            address=address,
            into=name,
            query=query,
            cursor=cursor,
            format=format,
            zone=zone,
            event_time=event_time,
            known_at=known_at,
            contract=contract,
            skip_bad=skip_bad,
        ),
        mode,
        header,
        options,
    )
    declare(ctx, name, source, origin)
    return ingest_source(ctx, name)


@operation(
    "data.sources.declare", scope="dataset:write", local=True, workspace=True, command="data sources declare"
)
def declare_source(
    ctx: Context,
    name: AssetName,
    address: Place,
    *,
    into: str = "",
    query: Query = "",
    cursor: Cursor = "",
    mode: Mode = "",
    format: Format = "",
    zone: Zone = "",
    event_time: str = "",
    known_at: str = "",
    contract: str = "",
    every: str = "",
    cron: str = "",
    header: Headers = (),
    options: Options = {},  # noqa: B006 - as above
    skip_bad: bool = False,
) -> SourceView:
    """Declare where a dataset's rows come from, to be read by hand or on a schedule (`--every 1h`, `--cron`).

    Only where the workspace is: what a server reads of files, databases and inner networks is not for
    callers from elsewhere to say.
    """
    source, origin = _read_declaration(
        ctx,
        Source(
            address=address,
            into=into or name,
            query=query,
            cursor=cursor,
            format=format,
            zone=zone,
            event_time=event_time,
            known_at=known_at,
            contract=contract,
            every=every,
            cron=cron,
            skip_bad=skip_bad,
        ),
        mode,
        header,
        options,
    )
    return _view(ctx, declare(ctx, name, source, origin))


@operation(
    "data.sources.follow", scope="dataset:admin", route="PUT /sources/{name}", command="data sources follow"
)
def follow(
    ctx: Context,
    name: AssetName,
    location: str,
    *,
    into: str = "",
    format: Format = "",
    zone: Zone = "",
    contract: str = "",
    every: str = "",
    cron: str = "",
    header: Headers = (),
) -> SourceView:
    """Declare a public URL as a dataset's source: each version holds what it answers, when that has changed.

    Only public addresses are asked, and what the settings `source_networks` and `source_ports` let through.
    """
    if not location.lower().startswith(("https://", "http://")):
        raise Invalid(
            "only URLs can be followed from elsewhere", hint="declare others where the workspace is"
        )
    wanted = Source(
        address=location,
        into=into or name,
        format=format,
        zone=zone,
        contract=contract,
        every=every,
        cron=cron,
    )
    source, origin = _read_declaration(ctx, wanted, "replace", header, {})
    return _view(ctx, declare(ctx, name, source, origin))


@operation("data.sources.list", scope="dataset:read", route="GET /sources", command="data sources list")
def sources(ctx: Context, *, limit: Limit = 100, token: str = "") -> Page[SourceView]:
    """List sources by name, with how far each was read."""
    names, following = all_sources(ctx, PageRequest(limit=limit, token=token))
    return Page(items=tuple(_view(ctx, declared_of(ctx, name)) for name in names), next_token=following)


@operation(
    "data.sources.show", scope="dataset:read", route="GET /sources/{name}", command="data sources show"
)
def show_source(ctx: Context, name: AssetName) -> SourceView:
    """Show a source, without what is secret of it, and how far it was read."""
    return _view(ctx, declared_of(ctx, name))


@operation(
    "data.sources.run", scope="dataset:write", route="POST /sources/{name}/run", command="data sources run"
)
def run_source(ctx: Context, name: AssetName) -> Job:
    """Read what is new at a source into its dataset, as a job."""
    declared_of(ctx, name)
    return enqueue(ctx, INGEST, {"source": name})


@operation(
    "data.sources.rewind",
    scope="dataset:admin",
    route="POST /sources/{name}/rewind",
    command="data sources rewind",
)
def rewind(ctx: Context, name: AssetName) -> SourceView:
    """Forget how far a source was read: the next reading begins from the beginning."""
    forget(ctx, name)
    return _view(ctx, declared_of(ctx, name))


@operation(
    "data.sources.remove",
    scope="dataset:admin",
    route="DELETE /sources/{name}",
    command="data sources remove",
)
def remove_source(ctx: Context, name: AssetName) -> None:
    """End a source and its schedule, and forget its secrets; the dataset stays as it is."""
    remove(ctx, name)


@on_job(INGEST, beside=True)
def carry_out(ctx: Context, job: Job) -> Json:
    """Read a source because somebody, or a schedule, asked for it."""
    found: Json = msgspec.to_builtins(ingest_source(ctx, str(job.arguments["source"])))
    return found


def _view(ctx: Context, declared: Declared) -> SourceView:
    with ctx.read() as tx:
        place = reading_of(tx, ctx.space, declared)
    return SourceView(
        name=declared.name,
        source=declared.source,
        version=declared.version.number,
        runs=place.count,
        rows=place.rows,
        ended_with=place.version,
        read_at=place.at,
    )


def _read_declaration(
    ctx: Context, wanted: Source, mode: str, header: tuple[str, ...], options: Json
) -> tuple[Source, Origin]:
    """The source as it is kept and shown, and with its secrets; `Invalid` for what cannot be read so."""
    headers = _headers(header)
    wanted = replace(wanted, address=_standing(wanted.address))
    origin = Origin(
        address=wanted.address, query=wanted.query, cursor=wanted.cursor, headers=headers, options=options
    )
    kind = ctx.ports.sources.kind(wanted.address)
    if (wanted.query or wanted.cursor) and kind != "rows":
        raise Invalid("only a database takes a query and a cursor", hint="leave them out")
    if wanted.every and wanted.cron:
        raise Invalid("a source has one schedule", hint="give --every or --cron")
    if wanted.every or wanted.cron:
        next_tick(Schedule(name="source", operation=INGEST, every=wanted.every, cron=wanted.cron), ctx.now())
    grows = (
        bool(wanted.cursor)
        or kind == "records"
        or (kind == "files" and ctx.ports.sources.is_many(wanted.address))
    )
    if mode == "append" and kind == "rows" and not wanted.cursor:
        raise Invalid(
            "rows of a database are appended by a cursor", hint="--cursor COLUMN, or --mode replace"
        )
    if mode == "replace" and (kind == "records" or wanted.cursor):
        raise Invalid("what is read from where it was left off is appended", hint="--mode append")
    return (
        replace(
            check_times(wanted),
            address=shown_address(wanted.address),
            mode=mode or ("append" if grows else "replace"),
            headers=tuple(sorted(headers)),
            options=tuple(sorted(options)),
        ),
        origin,
    )


def _standing(address: str) -> str:
    """A path that means the same wherever a schedule reads it."""
    if "://" not in address:
        return os.path.abspath(address)
    scheme, relative = address.partition(":///")[::2]
    is_near = scheme.partition("+")[0] == "sqlite" and relative and not relative.startswith("/")
    return f"{scheme}:///{os.path.abspath(relative)}" if is_near else address


def _headers(given: tuple[str, ...]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for each in given:
        name, colon, value = each.partition(":")
        if not colon or not name.strip():
            raise Invalid("a header is written NAME: VALUE", hint="--header 'Authorization: Bearer ...'")
        found[name.strip()] = value.strip()
    return found


def _named(address: str, query: str) -> str:
    """What a dataset is called after: the table, or the last part of the address without its ending."""
    is_table = query and " " not in query.strip()
    plain = query.rpartition(".")[2] if is_table else address.partition("?")[0].rstrip("/").rpartition("/")[2]
    found = _NAME.sub("-", plain.partition(".")[0]).strip("-")
    if not found:
        raise Invalid("the address gives the dataset no name", hint="--into NAME")
    return check_name(found)
