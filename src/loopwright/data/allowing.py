"""Whether columns may be read for a purpose, by the rules of a dataset and of what it was made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from loopwright.core.addresses import Address
from loopwright.core.errors import Denied, NotFound
from loopwright.core.nouns import LinkRole, Version, VersionRef
from loopwright.data.nouns import DATASET, POLICY
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.ports.ledger import Transaction

__all__ = [
    "PURPOSES_PREFIX",
    "REQUESTS",
    "AccessRequest",
    "PurposeRule",
    "Purposes",
    "check_purpose",
    "kept_purposes",
    "requests_about",
    "upstream",
]

PURPOSES_PREFIX = "purposes/"
REQUESTS = "access_requests"
_DEPTH = 20
"""runs that lineage is followed back over"""

Standing = Literal["allowed", "restricted", "forbidden"]


class PurposeRule(msgspec.Struct, frozen=True, kw_only=True):
    """For which purposes a column may be read; `restricted` needs a grant, `forbidden` has no way in."""

    column: str
    allowed: tuple[str, ...] = ()
    restricted: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    otherwise: Standing = "restricted"
    """for a purpose that is named nowhere, and where none is said"""

    def standing(self, purpose: str) -> Standing:
        """What the rule says of a purpose; the stricter where it is named twice."""
        if purpose in self.forbidden:
            return "forbidden"
        if purpose in self.restricted:
            return "restricted"
        return "allowed" if purpose in self.allowed else self.otherwise


class Purposes(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of a dataset and whom to ask; columns without a rule are free. A policy, versioned."""

    rules: tuple[PurposeRule, ...]
    ask: str
    """a person or a team, told in every refusal"""


class AccessRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Who asked for which columns for what, when, and what came of it."""

    id: str
    dataset: str
    columns: tuple[str, ...]
    purpose: str
    why: str
    by: str
    asked_at: datetime
    state: Literal["open", "granted", "refused"] = "open"
    answered_by: str = ""
    answered_at: datetime | None = None
    answer: str = ""
    until: datetime | None = None
    """when a grant ends; None: not by itself"""


def check_purpose(ctx: Context, version: Version, columns: Sequence[str], purpose: str) -> None:
    """Raise `Denied` when a column may not be read for a purpose; it says whom to ask.

    Rules travel: those of a dataset hold for columns of the same name of what a run made of it. A purpose
    that is not said is that of the current run (its tag `purpose`).
    """
    said = purpose or _run_purpose(ctx)
    judged: set[str] = set()
    for name in upstream(ctx, version):
        kept = kept_purposes(ctx, name)
        for rule in () if kept is None else kept.rules:
            if kept is None or rule.column not in columns or rule.column in judged:
                continue
            judged.add(rule.column)
            _check_rule(ctx, name, kept, rule, said)


def _check_rule(ctx: Context, name: str, kept: Purposes, rule: PurposeRule, purpose: str) -> None:
    standing = rule.standing(purpose)
    if standing == "allowed" or (standing == "restricted" and _is_granted(ctx, name, rule.column, purpose)):
        return
    what = f"for {purpose!r}" if purpose else "without a purpose"
    ask = f"ask {kept.ask}"
    hint = (
        f"{ask}: loopwright data request-access {name}"
        if standing == "restricted"
        else f"{ask}; or leave it out"
    )
    raise Denied(f"the column {rule.column!r} of dataset:{name} is {standing} {what}", hint=hint)


def _run_purpose(ctx: Context) -> str:
    if ctx.run_id is None:
        return ""
    with ctx.read() as tx:
        return tx.runs.get(ctx.run_id).tags.get("purpose", "")


def kept_purposes(ctx: Context, name: str) -> Purposes | None:
    """The purpose rules of a dataset, or None."""
    try:
        version = resolve(ctx, Address(kind=POLICY, name=f"{PURPOSES_PREFIX}{name}"))
    except NotFound:
        return None
    return msgspec.convert(manifest_of(ctx, version).body, Purposes)


def upstream(ctx: Context, version: Version) -> Iterator[str]:
    """The dataset and those that runs read to make it, nearest first, each once."""
    seen, runs = {version.name}, [version.run_id]
    yield version.name
    with ctx.read() as tx:
        for _ in range(_DEPTH):
            read = [ref for run in runs if run is not None for ref in _read_by(tx, run)]
            new = {ref.name: ref for ref in read if ref.name not in seen}
            seen |= set(new)
            yield from new
            runs = [_maker(ctx, tx, ref) for ref in new.values()]
            if not runs:
                return


def _read_by(tx: Transaction, run_id: str) -> list[VersionRef]:
    links = [link for link in tx.runs.links(run_id) if link.role is LinkRole.INPUT]
    return [link.version for link in links if link.version.kind == DATASET]


def _maker(ctx: Context, tx: Transaction, ref: VersionRef) -> str | None:
    asset = tx.assets.find(ctx.space, DATASET, ref.name)
    made = None if asset is None else tx.versions.get(asset.id, ref.number)
    return None if made is None else made.run_id


def requests_about(ctx: Context, tx: Transaction, name: str) -> Iterator[AccessRequest]:
    """Requests for access to a dataset, oldest first."""
    for body in tx.documents.all(ctx.space, REQUESTS).values():
        if body["dataset"] == name:
            yield msgspec.convert(body, AccessRequest)


def _is_granted(ctx: Context, name: str, column: str, purpose: str) -> bool:
    now = ctx.now()
    with ctx.read() as tx:
        return any(
            each.state == "granted"
            and each.by == ctx.principal.name
            and each.purpose == purpose
            and column in each.columns
            and (each.until is None or now < each.until)
            for each in requests_about(ctx, tx, name)
        )
