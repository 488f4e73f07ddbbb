"""Use cases of purposes: what columns may be read for, requests for access, tags along lineage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from loopwright.core.addresses import Address, AssetName, check_name, version_address
from loopwright.core.errors import Conflict, Denied, Invalid, NotFound
from loopwright.core.instants import duration
from loopwright.core.manifests import Manifest
from loopwright.core.nouns import Json, Version
from loopwright.core.schema import ColumnType
from loopwright.data.allowing import (
    PURPOSES_PREFIX,
    REQUESTS,
    AccessRequest,
    Purposes,
    kept_purposes,
    requests_about,
)
from loopwright.data.guarding import publish_guard
from loopwright.data.nouns import DATASET, POLICY
from loopwright.data.personal import PersonalColumn, personal_kind
from loopwright.data.presidio import found_in, presidio_finder
from loopwright.data.reading import first_rows, schema_of
from loopwright.data.tagging import tags_along
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.engine.publishing import manifest_of, prepare, resolve
from loopwright.ports.ledger import Transaction

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "access_requests",
    "answer_access",
    "column_tags",
    "personal",
    "purposes",
    "request_access",
    "set_purposes",
]

_LOOKED_AT = 200
"""texts of a column that are handed to Presidio: it takes a millisecond and a half for each"""

Purpose = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Why = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


@operation("data.set_purposes", scope="dataset:admin", route="PUT /datasets/{name}/purposes")
def set_purposes(ctx: Context, name: AssetName, purposes: Purposes) -> Version:
    """Say what the columns of a dataset may be read for; the next version of `policy:purposes/<name>`."""
    named = [rule.column for rule in purposes.rules]
    if len(set(named)) != len(named):
        raise Invalid(f"the purposes of {name} name a column twice", hint="give one rule a column")
    if not purposes.ask.strip():
        raise Invalid("nobody is named to ask", hint="say ask: a person or a team")
    manifest = Manifest(kind=POLICY, body=msgspec.to_builtins(purposes))
    draft = prepare(
        ctx, f"{PURPOSES_PREFIX}{check_name(name)}", manifest, facts={"guards": f"read dataset:{name}"}
    )
    return ctx.write(lambda tx: publish_guard(ctx, tx, draft, name))


@operation("data.purposes", scope="dataset:read", route="GET /datasets/{name}/purposes")
def purposes(ctx: Context, name: AssetName) -> Purposes:
    """Show what the columns of a dataset may be read for, and whom to ask."""
    found = kept_purposes(ctx, name)
    if found is None:
        raise NotFound(f"dataset:{name} has no purpose rules", hint="loopwright data set-purposes")
    return found


@operation("data.tags", scope="dataset:read", route="GET /datasets/{name}/tags")
def column_tags(ctx: Context, name: AssetName, *, version: str = "") -> dict[str, tuple[str, ...]]:
    """Show the tags of columns: the contract's, and those of the columns that they were made of."""
    found = resolve(ctx, version_address(DATASET, name, version))
    schema = manifest_of(ctx, found).schema
    return tags_along(ctx, found, () if schema is None else schema.names)


@operation("data.personal", scope="dataset:read", route="GET /datasets/{name}/personal")
def personal(
    ctx: Context,
    name: AssetName,
    *,
    version: str = "",
    rows: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1000,
    presidio: Annotated[bool, msgspec.Meta(description="look by Presidio's patterns too")] = False,
) -> tuple[PersonalColumn, ...]:
    """Find columns that seem to hold personal data, by their names and the forms of their first texts.

    Cards and IBANs need their check digits. What is found is a proposal: tags stand in the contract.
    `presidio` looks through the first 200 texts for identifiers of many countries too, where
    `loopwright[presidio]` is installed; it uses no model and asks nothing of the network.
    """
    manifest = manifest_of(ctx, resolve(ctx, version_address(DATASET, name, version)))
    kinds = {column.name: column.type for column in schema_of(manifest).columns}
    first = first_rows(ctx, manifest, 0, rows)
    found = (
        personal_kind(column, _texts(first, column) if kind is ColumnType.STRING else ())
        for column, kind in kinds.items()
    )
    sure = tuple(each for each in found if each is not None)
    if not presidio:
        return sure
    find = presidio_finder()
    texts = [(name, _texts(first, name)) for name, kind in kinds.items() if kind is ColumnType.STRING]
    return (*sure, *(each for name, some in texts for each in found_in(name, some[:_LOOKED_AT], find)))


def _texts(table: pa.Table, column: str) -> list[str]:
    found: list[str] = table.column(column).drop_null().to_pylist()
    return found


@operation("data.request_access", scope="dataset:read", route="POST /datasets/{name}/access", status=201)
def request_access(
    ctx: Context, name: AssetName, columns: tuple[str, ...], purpose: Purpose, why: Why
) -> AccessRequest:
    """Ask to read restricted columns of a dataset for a purpose; when it was asked is recorded."""
    kept = purposes(ctx, name)
    for column in columns:
        rule = next((each for each in kept.rules if each.column == column), None)
        if rule is None or rule.standing(purpose) == "allowed":
            raise Invalid(f"the column {column!r} may be read for {purpose!r} already", hint="just read it")
        if rule.standing(purpose) == "forbidden":
            raise Denied(f"the column {column!r} is forbidden for {purpose!r}", hint=f"ask {kept.ask}")
    if not columns:
        raise Invalid("no column is asked for", hint="name those that are restricted")
    asked = AccessRequest(
        id=ctx.new_id(),
        dataset=name,
        columns=columns,
        purpose=purpose,
        why=why,
        by=ctx.principal.name,
        asked_at=ctx.now(),
    )
    ctx.write(lambda tx: _keep(ctx, tx, asked, "access.requested"))
    return asked


@operation("data.answer_access", scope="dataset:admin", route="POST /access/{request}/answer")
def answer_access(
    ctx: Context, request: str, *, grant: bool, answer: str = "", lasting: str = ""
) -> AccessRequest:
    """Grant or refuse a request for access, for a time (`30d`) or until further notice."""

    def work(tx: Transaction) -> AccessRequest:
        body = tx.documents.get(ctx.space, REQUESTS, request)
        if body is None:
            raise NotFound(f"there is no request {request!r}", hint="loopwright data access-requests")
        asked = msgspec.convert(body, AccessRequest)
        if asked.state != "open":
            raise Conflict(f"the request was {asked.state} by {asked.answered_by}", hint="ask anew")
        if asked.by == ctx.principal.name and not ctx.principal.may("*"):
            raise Denied("nobody answers a request of their own", hint="ask another admin of the dataset")
        now = ctx.now()
        answered = msgspec.structs.replace(
            asked,
            state="granted" if grant else "refused",
            answered_by=ctx.principal.name,
            answered_at=now,
            answer=answer,
            until=now + duration(lasting) if lasting and grant else None,
        )
        _keep(ctx, tx, answered, "access.granted" if grant else "access.refused")
        return answered

    return ctx.write(work)


@operation("data.access_requests", scope="dataset:read", route="GET /datasets/{name}/access")
def access_requests(ctx: Context, name: AssetName) -> tuple[AccessRequest, ...]:
    """List requests for access to a dataset, with when they were asked and answered."""
    with ctx.read() as tx:
        return tuple(requests_about(ctx, tx, name))


def _keep(ctx: Context, tx: Transaction, asked: AccessRequest, kind: str) -> None:
    tx.documents.put(ctx.space, REQUESTS, asked.id, msgspec.to_builtins(asked))
    payload: Json = {
        "request": asked.id,
        "columns": list(asked.columns),
        "purpose": asked.purpose,
        "by": asked.by,
    }
    ctx.record(tx, kind, Address(kind=DATASET, name=asked.dataset), payload)
