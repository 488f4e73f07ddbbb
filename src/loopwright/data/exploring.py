"""Runs exploration documents over pinned versions, keeps what came of them, and runs them again."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import AssetName, ByNumber, parse_address, version_address
from loopwright.core.digests import digest_value
from loopwright.core.errors import Denied, Fault, Invalid, TooLarge
from loopwright.core.manifests import Manifest, ManifestEntry
from loopwright.core.nouns import Json, LinkRole, Version, VersionRef
from loopwright.data.explorations import (
    EXPLORATION,
    Cell,
    Document,
    Explored,
    ExploredCell,
    Pin,
    digest_of,
    parse_document,
    picture,
)
from loopwright.data.querying import tables_for
from loopwright.data.reading import permitted, version_of
from loopwright.data.rows import json_rows
from loopwright.data.streams import files_of
from loopwright.engine.context import Context
from loopwright.engine.erased import anew
from loopwright.engine.operation import Upload, operation
from loopwright.engine.publishing import READS, manifest_of, prepare, publish, resolve, standing, taken_back
from loopwright.ports.ledger import Page, PageRequest, Transaction
from loopwright.ports.queries import Looked, QueryLimits, QuerySession

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ERASED", "ExplorationView", "Rerun", "explorations", "rerun", "run", "save", "show"]

LIMITS = QueryLimits()
"""what one query of a document may take"""
ERASED = "erased"
"""in the body of a version whose results went with rows that were erased"""
_BODY_LIMIT = 800_000
_TYPES = {"bool": "bool", "int64": "int", "double": "float", "string": "string"}


Limit = Annotated[int, msgspec.Meta(ge=1, le=1000, description="how many on a page")]
Selected = Annotated[
    str, msgspec.Meta(max_length=600, description="which version: a number, an alias, an instant or #digest")
]


class ExplorationView(msgspec.Struct, frozen=True, kw_only=True):
    """A saved document in a list."""

    name: str
    title: str
    version: int
    reads: tuple[str, ...]
    """addresses of the versions it is pinned to"""
    saved_at: datetime
    by: str


class Rerun(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a document when it was run again over the versions it is pinned to."""

    outcome: Literal["same", "different"]
    changed: tuple[str, ...] = ()
    """queries whose rows are others now"""
    renewed: tuple[str, ...] = ()
    """datasets whose pinned version has other content since: rows were erased from it"""
    before: str
    now: str
    explored: Explored


@operation("explorations.run", scope="dataset:read", route="POST /exploration-runs", command="explore run")
def run(ctx: Context, body: Upload) -> Explored:
    """Run a document over the newest versions it names, and keep nothing.

    Queries are SQL that reads the datasets of the document and nothing else; code in Python is not run.
    """
    text = _text_of(body)
    return _ran(ctx, parse_document(text), text)[0]


@operation(
    "explorations.save", scope="exploration:write", route="POST /explorations/{name}", command="explore save"
)
def save(ctx: Context, name: AssetName, body: Upload, *, description: str = "") -> Version:
    """Run a document and keep it with its results, pinned to the versions it read; the same twice is one."""
    text = _text_of(body)
    _check_reader(ctx)
    return anew(ctx, lambda: _save(ctx, name, text, description))


def _save(ctx: Context, name: str, text: str, description: str) -> Version:
    """Run it over what there is now, and publish it with what it gave."""
    explored, tables = _ran(ctx, parse_document(text), text)
    entries = tuple(_kept(ctx, name, table) for name, table in tables.items())
    cells = {cell.name: cell for cell in explored.cells if cell.kind == "sql"}
    kept: Json = {
        "title": explored.title,
        "text": text,
        "pins": msgspec.to_builtins(explored.pins),
        "purpose": explored.purpose,
        "results": {key: {"digest": each.digest, "is_cut": each.is_cut} for key, each in cells.items()},
        "digest": explored.digest,
    }
    manifest = Manifest(kind=EXPLORATION, entries=entries, body=kept)
    facts = {READS: sorted(pin.address for pin in explored.pins.values())}  # the ledger keeps no text of it
    sources = tuple(map(_as_read, explored.pins.values()))
    draft = prepare(ctx, name, manifest, facts=facts, description=description, sources=sources)
    with taken_back(ctx, draft.objects):
        return ctx.write(lambda tx: publish(ctx, tx, draft))


@operation("explorations.list", scope="dataset:read", route="GET /explorations", command="explore list")
def explorations(ctx: Context, *, limit: Limit = 100, token: str = "") -> Page[ExplorationView]:
    """List saved documents by name, each with its newest version."""
    with ctx.read() as tx:
        page = tx.assets.page(ctx.space, EXPLORATION, PageRequest(limit=limit, token=token))
        newest = [(asset, next(standing(tx, asset), None)) for asset in page.items]
    views = tuple(
        ExplorationView(
            name=asset.name,
            title=manifest_of(ctx, version).body["title"],
            version=version.number,
            reads=tuple(version.facts["reads"]),
            saved_at=version.created_at,
            by=version.created_by,
        )
        for asset, version in newest
        if version is not None
    )
    return Page(items=views, next_token=page.next_token)


@operation(
    "explorations.show", scope="dataset:read", route="GET /explorations/{name}", command="explore show"
)
def show(ctx: Context, name: AssetName, *, version: Selected = "") -> Explored:
    """Show a saved document with its results, as they were kept.

    They are withheld from who may not read the columns they were made of for the document's purpose.
    """
    found, manifest = _saved(ctx, name, version)
    document, pins = parse_document(manifest.body["text"]), _pins(manifest)
    withheld = _withheld(ctx, manifest, pins)
    tables = {} if withheld else _read(ctx, manifest)
    results: Mapping[str, Json] = {} if withheld else manifest.body["results"]
    return Explored(
        title=document.title,
        text=manifest.body["text"],
        cells=tuple(_shown(cell, tables, results) for cell in document.cells),
        pins=pins,
        purpose=document.purpose,
        digest="" if withheld else manifest.body["digest"],
        version=found.number,
        withheld=withheld,
    )


@operation(
    "explorations.rerun",
    scope="dataset:read",
    route="POST /explorations/{name}/rerun",
    command="explore rerun",
)
def rerun(ctx: Context, name: AssetName, *, version: Selected = "") -> Rerun:
    """Run a saved document again over the versions it is pinned to, and say whether it comes out the same.

    A query that asks for the time or for chance, or leaves the order of rows open, may differ.
    """
    _, manifest = _saved(ctx, name, version)
    text, pins = manifest.body["text"], _pins(manifest)
    document = parse_document(text)
    pinned = replace(document, data={each: pins[each].address for each in document.data})
    explored, _ = _ran(ctx, pinned, text)
    before: Mapping[str, Json] = manifest.body["results"]
    changed = [
        cell.name
        for cell in explored.cells
        if cell.kind == "sql" and cell.digest != before.get(cell.name, {}).get("digest")
    ]
    return Rerun(
        outcome="different" if changed else "same",
        changed=tuple(changed),
        renewed=tuple(each for each, pin in explored.pins.items() if pin.digest != pins[each].digest),
        before=manifest.body["digest"],
        now=explored.digest,
        explored=explored,
    )


def _text_of(body: Upload) -> str:
    data = b""
    for chunk in body.chunks:
        data += chunk
        if len(data) > _BODY_LIMIT:
            raise TooLarge(f"a document is over {_BODY_LIMIT:,} bytes", hint="keep one subject to a document")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Invalid("the document is not UTF-8", hint="write it again as text") from error


def _check_reader(ctx: Context) -> None:
    if not ctx.principal.may("dataset:read"):
        raise Denied("a document is saved by who may read datasets", hint="ask for dataset:read")


def _saved(ctx: Context, name: str, version: str) -> tuple[Version, Manifest]:
    found = resolve(ctx, version_address(EXPLORATION, name, version))
    return found, manifest_of(ctx, found)


def _pins(manifest: Manifest) -> dict[str, Pin]:
    return msgspec.convert(manifest.body["pins"], dict[str, Pin])


def _withheld(ctx: Context, manifest: Manifest, pins: Mapping[str, Pin]) -> str:
    if manifest.body.get(ERASED):
        return "Rows that these results were made of were erased, and the results with them. Run it again."
    try:
        for pin in pins.values():
            permitted(ctx, version_of(ctx, pin.address), pin.columns, purpose=manifest.body["purpose"])
    except Denied as error:
        return f"{error}: {error.hint}"
    return ""


def _as_read(pin: Pin) -> VersionRef:
    address = parse_address(pin.address)
    if not isinstance(address.selector, ByNumber):
        raise Fault(f"a document is pinned to {pin.address}, which is no version")
    return VersionRef(kind=address.kind, name=address.name, number=address.selector.number, digest=pin.digest)


# ------------------------------------------------------------------------------------------- running


def _ran(ctx: Context, document: Document, text: str) -> tuple[Explored, dict[str, pa.Table]]:
    """The document with its results, and these as tables by the names of their queries."""
    versions = {name: version_of(ctx, address) for name, address in document.data.items()}
    queries = [cell for cell in document.cells if cell.kind == "sql"]
    tables: dict[str, Any] = {}
    results: dict[str, Json] = {}
    with (
        ctx.ports.queries.session(LIMITS) as session,
        tempfile.TemporaryDirectory(prefix="loopwright-") as folder,
    ):
        looked = [_look(session, cell) for cell in queries]
        given, read = tables_for(ctx, versions, looked, document.purpose, Path(folder))
        for cell in queries:
            found = _named(cell, lambda cell=cell: session.run(cell.source, given))
            tables[cell.name] = found.table
            results[cell.name] = {
                "digest": _digest(ctx, found.table, is_cut=found.is_cut),
                "is_cut": found.is_cut,
            }
    cells = tuple(_shown(cell, tables, results) for cell in document.cells)
    pins = {
        name: Pin(address=str(version.ref), digest=version.digest, columns=read.get(name, ()))
        for name, version in versions.items()
    }
    if ctx.run_id is not None:
        ctx.write(lambda tx: _touch(ctx, tx, versions))
    explored = Explored(
        title=document.title,
        text=text,
        cells=cells,
        pins=pins,
        purpose=document.purpose,
        digest=digest_of(cells),
    )
    return explored, tables


def _touch(ctx: Context, tx: Transaction, versions: Mapping[str, Version]) -> None:
    for version in versions.values():
        ctx.touch(tx, LinkRole.INPUT, version.ref)


def _look(session: QuerySession, cell: Cell) -> Looked:
    found: Looked = _named(cell, lambda: session.look(cell.source))
    return found


def _named(cell: Cell, work: Any) -> Any:
    """What it gives; its refusal tells of which query it is."""
    try:
        return work()
    except TooLarge as error:
        raise TooLarge(f"query {cell.name!r}: {error.message}", hint=error.hint) from error
    except Invalid as error:
        raise Invalid(f"query {cell.name!r}: {error.message}", hint=error.hint) from error


# ------------------------------------------------------------------------------------------- results


def _digest(ctx: Context, table: pa.Table, *, is_cut: bool) -> str:
    columns = {column.name: column.type.value for column in ctx.ports.tables.schema_of(table).columns}
    rows = [list(row.values()) for row in json_rows(table)]
    return digest_value([list(columns.items()), rows, is_cut])


def _shown(cell: Cell, tables: Mapping[str, pa.Table], results: Mapping[str, Json]) -> ExploredCell:
    plain = ExploredCell(kind=cell.kind, source=cell.source, name=cell.name)
    if cell.chart is not None and cell.chart.of in tables:
        return replace(plain, chart=picture(cell.chart, tables[cell.chart.of]))
    if cell.kind != "sql" or cell.name not in tables:
        return plain
    table, result = tables[cell.name], results[cell.name]
    types = {field.name: _TYPES.get(str(field.type), "instant") for field in table.schema}
    rows = tuple(tuple(row.values()) for row in json_rows(table))
    return replace(plain, columns=types, rows=rows, is_cut=result["is_cut"], digest=result["digest"])


def _kept(ctx: Context, name: str, table: pa.Table) -> ManifestEntry:
    data = ctx.ports.tables.write(table)
    digest = ctx.ports.objects.put(data)
    return ManifestEntry(path=f"{name}.parquet", digest=digest, size_bytes=len(data), rows=table.num_rows)


def _read(ctx: Context, manifest: Manifest) -> dict[str, Any]:
    return {
        entry.path.removesuffix(".parquet"): ctx.ports.tables.read(files_of(ctx, (entry.digest,)))
        for entry in manifest.entries
    }
