"""Whether columns may be read for a purpose, by the rules of a dataset and of what it was made of."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from loopwright.core.addresses import Address, ByNumber, parse_address
from loopwright.core.errors import Denied, NotFound
from loopwright.core.nouns import Asset, LinkRole, Version, VersionRef
from loopwright.data.nouns import DATASET, POLICY
from loopwright.engine.context import Context
from loopwright.engine.publishing import BRANCH, manifest_of, resolve
from loopwright.ports.ledger import PageRequest, Transaction

__all__ = [
    "PURPOSES_PREFIX",
    "REQUESTS",
    "AccessRequest",
    "PurposeRule",
    "Purposes",
    "check_purpose",
    "kept_purposes",
    "refusals",
    "requests_about",
    "upstream",
]

PURPOSES_PREFIX = "purposes/"
REQUESTS = "access_requests"
_DEPTH = 20
"""steps that lineage is followed back over"""
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

    Rules travel: those of a dataset hold for columns of the same name of what was made of it. A purpose
    that is not said is that of the current run (its tag `purpose`).
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
    judged, found = set[str](), dict[str, Denied]()
    for name in [version] if isinstance(version, str) else upstream(ctx, version):
        kept = kept_purposes(ctx, name) if name in ruled else None
        for rule in () if kept is None else kept.rules:
            if kept is None or rule.column not in columns or rule.column in judged:
                continue
            judged.add(rule.column)
            refusal = _refusal(ctx, name, kept, rule, said)
            if refusal is not None:
                found[rule.column] = refusal
    return found


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
        f"{ask}: loopwright data request-access {name}"
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


def upstream(ctx: Context, version: Version) -> Iterator[str]:
    """The dataset and those it was made of, nearest first, each once.

    Of a version these are what the runs read that made it or an earlier one of its line, what a training
    or label set says that it was made of, and of a branch the dataset it is of.
    """
    names, looked_at = set[str](), dict[tuple[str, str], int]()
    waiting = [version.ref]
    for _ in range(_DEPTH):
        newest = {(ref.kind, ref.name): ref for ref in sorted(waiting)}
        fresh = [ref for at, ref in newest.items() if ref.number > looked_at.get(at, 0)]
        looked_at |= {(ref.kind, ref.name): ref.number for ref in fresh}
        new = dict.fromkeys(name for name in map(_dataset_of, fresh) if name not in names)
        names |= new.keys()
        yield from new
        if not fresh:
            return
        with ctx.read() as tx:
            waiting = [source for ref in fresh for source in _sources(ctx, tx, ref)]


def _dataset_of(ref: VersionRef) -> str:
    """The dataset's name; a branch is `name/branch`."""
    return ref.name.rpartition("/")[0] if ref.kind == BRANCH else ref.name


def _sources(ctx: Context, tx: Transaction, ref: VersionRef) -> Iterator[VersionRef]:
    """What a version, and those before it on its line, were made of."""
    line = [
        each for each in tx.versions.among(ctx.space, ref.kind, name=ref.name) if each.number <= ref.number
    ]
    line += _merged(ctx, tx, ref, {each.digest for each in line})
    for run_id in dict.fromkeys(each.run_id for each in line):
        links = () if run_id is None else tx.runs.links(run_id)
        inputs = (link.version for link in links if link.role is LinkRole.INPUT)
        yield from (source for source in inputs if source.kind in {DATASET, BRANCH})
    if ref.kind == BRANCH:
        yield from _newest(ctx, tx, _dataset_of(ref))
    for version in line:
        if version.number == ref.number and version.kind == ref.kind:
            yield from _told(ctx, tx, version)


def _merged(ctx: Context, tx: Transaction, ref: VersionRef, digests: set[str]) -> list[Version]:
    """Versions of branches that became some of the dataset's."""
    if ref.kind == BRANCH:
        return []
    branches = tx.versions.among(ctx.space, BRANCH)
    return [each for each in branches if each.digest in digests and _dataset_of(each.ref) == ref.name]


def _newest(ctx: Context, tx: Transaction, name: str) -> Iterator[VersionRef]:
    asset = tx.assets.find(ctx.space, DATASET, name)
    newest = None if asset is None else tx.versions.latest(asset.id)
    if newest is not None:
        yield newest.ref


def _told(ctx: Context, tx: Transaction, version: Version) -> Iterator[VersionRef]:
    """The datasets that a training set or a label set says it was made of."""
    try:
        facts = manifest_of(ctx, version).body.get("facts", {})
    except NotFound:  # retention let its content go
        return
    told = [*facts.get("sources", {}).values(), facts.get("spine", ""), facts.get("labels_of", "")]
    for text in filter(None, told):
        address = parse_address(text)
        asset = tx.assets.find(ctx.space, address.kind, address.name)
        if asset is None or not isinstance(address.selector, ByNumber):
            continue
        found = tx.versions.get(asset.id, address.selector.number)
        if found is not None:
            yield found.ref


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
