"""Whether columns may be read for a purpose, by the rules of a dataset and of what it was made of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from shlex import quote
from typing import Literal

import msgspec

from loopwright.core.addresses import Address
from loopwright.core.errors import Denied, NotFound
from loopwright.core.nouns import Asset, Version
from loopwright.data.descent import descent
from loopwright.data.nouns import POLICY
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.ports.ledger import PageRequest, Transaction

__all__ = [
    "PURPOSES_PREFIX",
    "REQUESTS",
    "AccessRequest",
    "PurposeRule",
    "Purposes",
    "check_purpose",
    "has_rules",
    "kept_purposes",
    "refusals",
    "requests_about",
]

PURPOSES_PREFIX = "purposes/"
REQUESTS = "access_requests"
_PAGE = 1000

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

    Rules travel: those of a dataset hold for the columns that were made of its columns, as `descent` tells
    them. A purpose that is not said is that of the current run (its tag `purpose`).
    """
    for refusal in refusals(ctx, version, columns, purpose).values():
        raise refusal


def refusals(
    ctx: Context, version: Version | str, columns: Collection[str], purpose: str
) -> dict[str, Denied]:
    """The columns that may not be read for a purpose, each with the refusal that says whom to ask.

    Of a version, or of what stands beside the dataset of a name that may have none yet.
    """
    with ctx.read() as tx:
        ruled = {asset.name.removeprefix(PURPOSES_PREFIX) for asset in _policies(ctx, tx)}
    if not ruled:
        return {}
    said = purpose or _run_purpose(ctx)
    rules = _Rules(ctx, ruled)
    told: Iterable[tuple[str, Mapping[str, Collection[str]]]] = (
        [(version, {column: (column,) for column in columns})]
        if isinstance(version, str)
        else descent(ctx, version, columns, ends=rules.columns)
    )
    found = dict[str, Denied]()
    for name, there in told:
        for column in rules.columns(name) & there.keys():
            refusal = rules.refusal(name, column, said)
            if refusal is not None:
                found = {**dict.fromkeys(there[column], refusal), **found}
    return {column: found[column] for column in columns if column in found}


def has_rules(ctx: Context) -> bool:
    """Whether any dataset has rules of purposes."""
    with ctx.read() as tx:
        return any(True for _ in _policies(ctx, tx))


class _Rules:
    """The rules of datasets, read when they are met. The nearest to what is read holds alone."""

    def __init__(self, ctx: Context, ruled: Collection[str]) -> None:
        self._ctx, self._ruled = ctx, ruled
        self._kept = dict[str, Purposes | None]()

    def columns(self, name: str) -> frozenset[str]:
        """The columns that have a rule."""
        kept = self._of(name)
        return frozenset() if kept is None else frozenset(rule.column for rule in kept.rules)

    def refusal(self, name: str, column: str, purpose: str) -> Denied | None:
        """Why a column that has a rule may not be read for a purpose; None where it may."""
        kept = self._of(name)
        rules = () if kept is None else (rule for rule in kept.rules if rule.column == column)
        for rule in rules:
            if kept is not None:
                return _refusal(self._ctx, name, kept, rule, purpose)
        return None

    def _of(self, name: str) -> Purposes | None:
        if name not in self._kept:
            self._kept[name] = kept_purposes(self._ctx, name) if name in self._ruled else None
        return self._kept[name]


def _policies(ctx: Context, tx: Transaction) -> Iterator[Asset]:
    """The policies that are purpose rules."""
    token = ""
    while True:
        page = tx.assets.page(ctx.space, POLICY, PageRequest(limit=_PAGE, token=token))
        yield from (asset for asset in page.items if asset.name.startswith(PURPOSES_PREFIX))
        if not (token := page.next_token):
            return


def _refusal(ctx: Context, name: str, kept: Purposes, rule: PurposeRule, purpose: str) -> Denied | None:
    standing = rule.standing(purpose)
    if standing == "allowed" or (standing == "restricted" and _is_granted(ctx, name, rule.column, purpose)):
        return None
    what = f"for {purpose!r}" if purpose else "without a purpose"
    ask = f"ask {kept.ask}"
    hint = (
        f"{ask}: loopwright data request-access {quote(name)}"
        if standing == "restricted"
        else f"{ask}; or leave it out"
    )
    return Denied(f"the column {rule.column!r} of dataset:{name} is {standing} {what}", hint=hint)


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
