"""Use cases of datasets."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from loopwright.core.addresses import AssetName, version_address
from loopwright.core.errors import Invalid, NotFound
from loopwright.core.expressions import Expr, Scalar, all_of, col
from loopwright.core.instants import duration
from loopwright.core.nouns import Job, Json, LinkRole, Version
from loopwright.core.schema import ColumnType, Schema
from loopwright.data.appending import append
from loopwright.data.compaction import Compacted, compact_streams
from loopwright.data.contracts import contract_of, define_contract
from loopwright.data.downloading import one_file
from loopwright.data.drafting import Change
from loopwright.data.nouns import (
    DATASET,
    Appended,
    Contract,
    DatasetDetail,
    DatasetView,
    QuarantinedRow,
)
from loopwright.data.profiled import stored_profile
from loopwright.data.profiling import shown_profile
from loopwright.data.quarantine import quarantined_rows, quarantined_total
from loopwright.data.reading import first_rows, permitted, read, schema_of
from loopwright.data.rewriting import delete, overwrite, upsert, write_together
from loopwright.data.rows import json_rows, row_number
from loopwright.data.streams import read_stream, write_segment
from loopwright.data.uploads import table_of_upload
from loopwright.data.withholding import check_compared, check_condition, check_quarantined, withheld_from
from loopwright.engine.context import Context
from loopwright.engine.operation import Blob, Upload, on_job, operation
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.ports.ledger import Page, PageRequest

__all__ = [
    "append",
    "compact",
    "contract",
    "datasets",
    "define_contract",
    "delete",
    "delete_rows",
    "download",
    "overwrite",
    "profile",
    "quarantine",
    "read",
    "read_stream",
    "rows",
    "run_compact",
    "set_contract",
    "show",
    "upload",
    "upsert",
    "write_segment",
    "write_together",
]

Limit = Annotated[int, msgspec.Meta(ge=1, le=1000, description="how many on a page")]
Selected = Annotated[
    str, msgspec.Meta(max_length=600, description="which version: a number, an alias, an instant or #digest")
]
_PARQUET = "application/vnd.apache.parquet"


@operation("data.list", scope="dataset:read", route="GET /datasets")
def datasets(ctx: Context, *, limit: Limit = 100, token: str = "") -> Page[DatasetView]:
    """List datasets by name."""
    with ctx.read() as tx:
        page = tx.assets.page(ctx.space, DATASET, PageRequest(limit=limit, token=token))
        newest = [(asset, tx.versions.latest(asset.id)) for asset in page.items]
    views = tuple(
        DatasetView(
            name=asset.name,
            version=version.number,
            rows=int(version.facts.get("rows", 0)),
            files=int(version.facts.get("files", 0)),
            size_bytes=version.size_bytes,
            updated_at=version.created_at,
            description=asset.description,
        )
        for asset, version in newest
        if version is not None
    )
    return Page(items=views, next_token=page.next_token)


@operation("data.show", scope="dataset:read", route="GET /datasets/{name}")
def show(ctx: Context, name: AssetName, *, version: Selected = "") -> DatasetDetail:
    """Show a version of a dataset: its columns, rows, times, contract, aliases."""
    found = _version(ctx, name, version)
    manifest = manifest_of(ctx, found)
    with ctx.read() as tx:
        aliases = {alias.alias: alias.number for alias in tx.aliases.of(found.asset_id)}
    return DatasetDetail(
        version=found,
        columns=Schema(columns=()) if manifest.is_folder else schema_of(manifest),
        rows=manifest.rows or 0,
        parts=len(manifest.entries),
        files=int(found.facts.get("files", 0)),
        body=manifest.body,
        aliases=aliases,
        quarantined=quarantined_total(ctx, name),
    )


@operation("data.rows", scope="dataset:read", route="GET /datasets/{name}/rows")
def rows(
    ctx: Context,
    name: AssetName,
    *,
    version: Selected = "",
    columns: tuple[str, ...] = (),
    limit: Limit = 100,
    token: str = "",
    purpose: str = "",
) -> Page[Json]:
    """Read rows of a version, or some columns of them, in the order they came, a page at a time.

    The version becomes an input of the run.
    """
    number, start = _row_place(token)
    found = _version(ctx, name, number or version)
    permitted(ctx, found, columns or None, purpose=purpose)
    if ctx.run_id is not None:
        ctx.write(lambda tx: ctx.touch(tx, LinkRole.INPUT, found.ref, columns or None))
    manifest = manifest_of(ctx, found)
    items = json_rows(first_rows(ctx, manifest, start, limit, columns or None))
    end = start + len(items)
    more = bool(items) and end < (manifest.rows or 0)
    return Page(items=tuple(items), next_token=f"{found.number}.{end}" if more else "")


@operation("data.upload", scope="dataset:write", route="POST /datasets/{name}/rows")
def upload(
    ctx: Context,
    name: AssetName,
    body: Upload,
    *,
    contract: str = "",
    event_time: str = "",
    known_at: str = "",
    keys: tuple[str, ...] = (),
    how: Literal["append", "overwrite", "upsert"] = "append",
    schema: Literal["compatible", "replace"] = "compatible",
    branch: str = "",
    expect: int | None = None,
    batch: str = "",
) -> Appended:
    """Write rows sent as Parquet, CSV or one JSON object a line: appended, or as `how` says.

    `overwrite` puts them in the place of all rows, `upsert` in the place of those with the same `keys`.
    An overwrite that takes away or re-types columns is refused unless `schema` is `replace`. `batch`
    names the rows, so that sending them again does nothing; `expect` is the number of the newest version.
    """
    change = Change(
        how=how,
        name=name,
        branch=branch or None,
        table=table_of_upload(body, _types(ctx, name, contract)),
        contract=contract or None,
        event_time=event_time or None,
        known_at=known_at or None,
        keys=keys,
        schema=schema,
        expect=expect,
        batch=batch or None,
    )
    return write_together(ctx, (change,))[0]


@operation("data.delete_rows", scope="dataset:write", route="POST /datasets/{name}/deletions")
def delete_rows(
    ctx: Context,
    name: AssetName,
    *,
    match: dict[str, Scalar] | None = None,
    where: Expr | None = None,
    branch: str = "",
    expect: int | None = None,
    batch: str = "",
    purpose: str = "",
) -> Appended:
    """Take rows out of a dataset: those with the values of `match`, or those an expression is true of.

    Both make one new version; earlier ones keep the rows. In an expression an instant is its microseconds.
    How many rows went tells what they hold, so the columns that are asked for are read for the purpose.
    """
    wanted: list[Expr] = [
        col(column).is_null() if value is None else col(column).eq(value)
        for column, value in (match or {}).items()
    ]
    wanted += [] if where is None else [where]
    if not wanted:
        raise Invalid(
            "it is not said which rows go", hint='give match, such as {"tailnum": "N123"}, or where'
        )
    asked = all_of(*wanted)
    check_condition(ctx, name, branch, asked, purpose)
    return delete(ctx, name, where=asked, branch=branch or None, expect=expect, batch=batch or None)


@operation("data.profile", scope="dataset:read", route="GET /datasets/{name}/profile", command="data stats")
def profile(ctx: Context, name: AssetName, *, version: Selected = "", purpose: str = "") -> Json:
    """Show what the columns of a version hold: counts, range, moments, quantiles, histogram, top values.

    Of a column that may not be read for the purpose only its counts are told, and whom to ask (`withheld`).
    """
    found = _version(ctx, name, version)
    stored = stored_profile(ctx, manifest_of(ctx, found))
    if stored is None:
        raise NotFound(f"dataset:{name} has no profile", hint="profiles are made when rows are appended")
    return withheld_from(ctx, found, shown_profile(stored), purpose)


@operation("data.quarantine", scope="dataset:read", route="GET /datasets/{name}/quarantine")
def quarantine(
    ctx: Context, name: AssetName, *, limit: Limit = 100, token: str = "", purpose: str = ""
) -> Page[QuarantinedRow]:
    """List rows that the contract kept out, with their reasons, newest batch first.

    The purposes of the dataset hold for them too.
    """
    found = quarantined_rows(ctx, name, limit, token)
    check_quarantined(ctx, name, {column for row in found.items for column in row.values}, purpose)
    return found


@operation("data.download", scope="dataset:read", route="GET /datasets/{name}/file")
def download(
    ctx: Context,
    name: AssetName,
    *,
    version: Selected = "",
    columns: tuple[str, ...] = (),
    purpose: str = "",
) -> Blob:
    """Download a version, or some columns of it, as one Parquet file."""
    found = _version(ctx, name, version)
    permitted(ctx, found, columns or None, purpose=purpose)
    manifest = manifest_of(ctx, found)
    schema_of(manifest)
    if ctx.run_id is not None:
        ctx.write(lambda tx: ctx.touch(tx, LinkRole.INPUT, found.ref, columns or None))
    file, size = one_file(ctx, manifest, columns)
    return Blob(file=file, size_bytes=size, media_type=_PARQUET, filename=f"{found.number}.parquet")


@operation("data.compact", scope="dataset:admin", route="POST /streams/compact")
def compact(ctx: Context, *, stream: str = "", older_than: str = "1h") -> Compacted:
    """Put small segments of streams (predictions, labels, quarantine) together; rows stay as they are."""
    return compact_streams(ctx, stream, duration(older_than))


@on_job("data.compact")
def run_compact(ctx: Context, job: Job) -> Json:
    """Carry out a scheduled compaction of all streams of the space."""
    done: Json = msgspec.to_builtins(compact(ctx, older_than=str(job.arguments.get("older_than", "1h"))))
    return done


@operation("data.contract", scope="dataset:read", route="GET /datasets/{name}/contract")
def contract(ctx: Context, name: AssetName) -> Contract:
    """Show the contract that batches of a dataset are held against."""
    held = contract_of(ctx, name)
    if held is None:
        raise NotFound(f"dataset:{name} has no contract", hint="loopwright data set-contract")
    return held.contract


@operation("data.set_contract", scope="dataset:admin", route="PUT /datasets/{name}/contract")
def set_contract(ctx: Context, name: AssetName, contract: Contract, *, purpose: str = "") -> Version:
    """Define the contract that batches of a dataset are held against from now on.

    Columns of other datasets and versions that it compares with are read for the purpose.
    """
    check_compared(ctx, contract, purpose)
    return define_contract(ctx, name, contract)


def _version(ctx: Context, name: str, selector: str) -> Version:
    return resolve(ctx, version_address(DATASET, name, selector))


def _row_place(token: str) -> tuple[str, int]:
    if not token:
        return "", 0
    number, _, start = token.partition(".")
    return str(row_number(number)), row_number(start)


def _types(ctx: Context, name: str, contract_name: str) -> dict[str, ColumnType]:
    """Types that a body's texts are read as: the contract's, else those the dataset has."""
    held = contract_of(ctx, contract_name or name, required=bool(contract_name))
    with ctx.read() as tx:
        is_there = tx.assets.find(ctx.space, DATASET, name) is not None
    found: dict[str, ColumnType] = {}
    if is_there:
        columns = schema_of(manifest_of(ctx, _version(ctx, name, ""))).columns
        found = {column.name: column.type for column in columns}
    if held is not None:
        found |= {rule.name: rule.type for rule in held.contract.columns}
    return found
