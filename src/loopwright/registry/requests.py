"""Requests to move an alias or a stage: asked by one, answered by another, recorded as a decision."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from shlex import quote
from typing import Annotated, Literal

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import Address, AliasName, AssetName
from loopwright.core.errors import Conflict, Denied, Invalid, NotFound
from loopwright.core.manifests import Manifest
from loopwright.core.nouns import Decision, Evidence, Json, Verdict, Version
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.engine.publishing import asset_of, prepare, publish
from loopwright.ports.ledger import Transaction
from loopwright.registry.guarding import add_guard, drop_guard, guards, point, stage_target
from loopwright.registry.naming import check_alias_name
from loopwright.registry.nouns import KIND, Stage
from loopwright.registry.origins import version_at
from loopwright.registry.stages import read_stage, transition

__all__ = [
    "Approval",
    "RequestState",
    "TransitionRequest",
    "approve",
    "demand_approval",
    "expire_open",
    "open_requests",
    "reject",
    "request",
    "requests",
    "withdraw",
]

RequestState = Literal["open", "approved", "rejected", "withdrawn", "expired"]
_COLLECTION = "transition_requests"
_POLICY = "policy"
_NOTE = 2_000

Days = Annotated[int, msgspec.Meta(ge=1, le=365, description="until when it can be answered")]


class TransitionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The wish of somebody that an alias point to a version, or that a version stand on a stage."""

    id: str
    model: str
    asset_id: str
    number: int
    alias: str = ""
    stage: str = ""
    note: str = ""
    requested_by: str
    requested_at: datetime
    expires_at: datetime
    state: RequestState = "open"
    answered_by: str = ""
    answered_at: datetime | None = None
    reason: str = ""
    decision_id: str = ""

    @property
    def target(self) -> str:
        """By which name policies guard it."""
        return self.alias or stage_target(self.stage)

    @property
    def goal(self) -> str:
        """In words."""
        return f"alias {self.alias!r}" if self.alias else f"stage {self.stage}"


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a second person has to approve before an alias or a stage of a model moves."""

    model: str
    alias: str = ""
    stage: str = ""
    is_demanded: bool
    policy: str
    """address of the policy that demands it"""


# -- kept ------------------------------------------------------------------------------------


def _put(tx: Transaction, space: str, asked: TransitionRequest) -> TransitionRequest:
    body: Json = msgspec.to_builtins(asked)
    tx.documents.put(space, _COLLECTION, f"{asked.asset_id}/{asked.id}", body)
    return asked


def _read(body: Json, now: datetime) -> TransitionRequest:
    """A request as it stands: an open one whose time is over counts as expired."""
    found = msgspec.convert(body, TransitionRequest)
    return replace(found, state="expired") if found.state == "open" and found.expires_at <= now else found


def _of_model(ctx: Context, tx: Transaction, asset_id: str) -> list[TransitionRequest]:
    kept = tx.documents.all(ctx.space, _COLLECTION, start=f"{asset_id}/", end=f"{asset_id}0")
    return [_read(body, ctx.now()) for body in reversed(list(kept.values()))]


def _one(ctx: Context, tx: Transaction, name: str, request_id: str) -> TransitionRequest:
    asset = asset_of(ctx, tx, KIND, name)
    body = tx.documents.get(ctx.space, _COLLECTION, f"{asset.id}/{request_id}")
    if body is None:
        raise NotFound(
            f"model:{name} has no request {request_id[:80]!r}",
            hint=f"loopwright models requests {quote(name)}",
        )
    return replace(_read(body, ctx.now()), model=asset.name)


def _open(ctx: Context, tx: Transaction, name: str, request_id: str) -> TransitionRequest:
    found = _one(ctx, tx, name, request_id)
    if found.state != "open":
        raise Conflict(
            f"the request is {found.state}",
            hint=f"ask again: loopwright models request {quote(name)}",
            where=found.id,
        )
    return found


def _told(ctx: Context, tx: Transaction, kind: str, asked: TransitionRequest) -> None:
    payload: Json = {"request": asked.id, "version": asked.number, "decision": asked.decision_id or None}
    goal = {"alias": asked.alias} if asked.alias else {"stage": asked.stage}
    ctx.record(tx, kind, Address(kind=KIND, name=asked.model), {**payload, **goal})


# -- asked -----------------------------------------------------------------------------------


def _goal(alias: str, stage: str) -> tuple[str, str]:
    if bool(alias) == bool(stage):
        raise Invalid(
            "say what is to move: an alias, or a stage", hint="--alias champion, or --stage Production"
        )
    return (check_alias_name(alias), "") if alias else ("", read_stage(stage).value)


@operation(
    "registry.request", scope="model:write", route="POST /models/{name}/requests", command="models request"
)
def request(
    ctx: Context,
    name: AssetName,
    version: int,
    *,
    alias: AliasName = "",
    stage: str = "",
    note: str = "",
    days: Days = 7,
) -> TransitionRequest:
    """Ask that an alias point to a version, or that a version stand on a stage; somebody else answers."""
    wanted_alias, wanted_stage = _goal(alias, stage)
    if len(note) > _NOTE:
        raise Invalid(f"a note has at most {_NOTE} characters", hint="say it shorter")

    def work(tx: Transaction) -> TransitionRequest:
        wanted = version_at(ctx, tx, name, version)
        asked = TransitionRequest(
            id=ctx.new_id(),
            model=wanted.name,
            asset_id=wanted.asset_id,
            number=version,
            alias=wanted_alias,
            stage=wanted_stage,
            note=note,
            requested_by=ctx.principal.name,
            requested_at=ctx.now(),
            expires_at=ctx.now() + timedelta(days=days),
        )
        _refuse_twice(asked, _of_model(ctx, tx, wanted.asset_id))
        _told(ctx, tx, "request.opened", asked)
        return _put(tx, ctx.space, asked)

    return ctx.write(work)


def _refuse_twice(asked: TransitionRequest, known: list[TransitionRequest]) -> None:
    same = (each for each in known if each.state == "open" and each.target == asked.target)
    twin = next((each for each in same if each.number == asked.number), None)
    if twin is not None:
        hint = "wait for the answer, or withdraw it"
        raise Conflict(f"{twin.requested_by} asked the same already", hint=hint, where=twin.id)


@operation(
    "registry.requests", scope="model:read", route="GET /models/{name}/requests", command="models requests"
)
def requests(
    ctx: Context, name: AssetName, *, state: RequestState | None = None
) -> tuple[TransitionRequest, ...]:
    """List the requests about a model, open ones first, then the newest."""
    with ctx.read() as tx:
        asset = asset_of(ctx, tx, KIND, name)
        found = [replace(each, model=asset.name) for each in _of_model(ctx, tx, asset.id)]
    wanted = [each for each in found if state is None or each.state == state]
    return tuple(sorted(wanted, key=lambda each: each.state != "open"))


@operation("registry.inbox", scope="model:read", route="GET /model-requests", command="models inbox")
def open_requests(ctx: Context) -> tuple[TransitionRequest, ...]:
    """List the open requests about all models, those that end first first."""
    with ctx.read() as tx:
        return tuple(sorted(_all_open(ctx, tx), key=lambda each: each.expires_at))


def _all_open(ctx: Context, tx: Transaction) -> Iterator[TransitionRequest]:
    names: dict[str, str | None] = {}
    for body in tx.documents.all(ctx.space, _COLLECTION).values():
        found = _read(body, ctx.now())
        if found.state == "open":
            if found.asset_id not in names:
                names[found.asset_id] = _name(tx, found.asset_id)
            name = names[found.asset_id]
            if name is not None:
                yield replace(found, model=name)


def _name(tx: Transaction, asset_id: str) -> str | None:
    try:
        asset = tx.assets.get(asset_id)
    except NotFound:
        return None
    return None if asset.deleted_at is not None else asset.name


# -- answered --------------------------------------------------------------------------------


@operation(
    "registry.approve",
    scope="model:promote",
    route="POST /models/{name}/requests/{request_id}/approve",
    command="models approve",
)
def approve(ctx: Context, name: AssetName, request_id: str, *, reason: str) -> TransitionRequest:
    """Approve what somebody else asked for: the approval is recorded as a decision, and the move is made.

    `Denied` for one's own request; `PolicyBlocked` where another policy guards it and did not allow it yet.
    """
    _check_reason(reason)

    def work(tx: Transaction) -> TransitionRequest:
        asked = _open(ctx, tx, name, request_id)
        _check_second(ctx, asked)
        version = version_at(ctx, tx, name, asked.number)
        decision = _decide(ctx, tx, asked, version, verdict=Verdict.ALLOW, reason=reason)
        if asked.alias:
            point(ctx, tx, version, asked.alias, reason)
        else:
            transition(ctx, name, asked.number, Stage(asked.stage))
        return _answered(ctx, tx, asked, "approved", reason=reason, decision_id=decision.id)

    return ctx.write(work)


@operation(
    "registry.reject",
    scope="model:promote",
    route="POST /models/{name}/requests/{request_id}/reject",
    command="models reject",
)
def reject(ctx: Context, name: AssetName, request_id: str, *, reason: str) -> TransitionRequest:
    """Reject what somebody else asked for; the reason is recorded as a decision."""
    _check_reason(reason)

    def work(tx: Transaction) -> TransitionRequest:
        asked = _open(ctx, tx, name, request_id)
        _check_second(ctx, asked)
        version = version_at(ctx, tx, name, asked.number)
        decision = _decide(ctx, tx, asked, version, verdict=Verdict.DENY, reason=reason)
        return _answered(ctx, tx, asked, "rejected", reason=reason, decision_id=decision.id)

    return ctx.write(work)


@operation(
    "registry.withdraw",
    scope="model:write",
    route="POST /models/{name}/requests/{request_id}/withdraw",
    command="models withdraw",
)
def withdraw(ctx: Context, name: AssetName, request_id: str) -> TransitionRequest:
    """Take one's own request back."""

    def work(tx: Transaction) -> TransitionRequest:
        asked = _open(ctx, tx, name, request_id)
        if asked.requested_by != ctx.principal.name:
            raise Denied(f"{asked.requested_by} asked for it", hint="reject it with a reason instead")
        return _answered(ctx, tx, asked, "withdrawn")

    return ctx.write(work)


def _check_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > _NOTE:
        raise Invalid(f"an answer needs a reason of 1 to {_NOTE} characters", hint='--reason "why"')


def _check_second(ctx: Context, asked: TransitionRequest) -> None:
    if asked.requested_by == ctx.principal.name:
        raise Denied(
            f"{ctx.principal.name} asked for it: a second person has to answer",
            hint="ask a colleague, or withdraw the request",
        )


def _decide(
    ctx: Context,
    tx: Transaction,
    asked: TransitionRequest,
    version: Version,
    *,
    verdict: Verdict,
    reason: str,
) -> Decision:
    """Record the answer with what it stands on."""
    is_allowed, asker = verdict is Verdict.ALLOW, asked.requested_by
    evidence = (
        Evidence(check="asked for", held=True, found=f"{asked.goal} by {asker}", detail=asked.note),
        Evidence(check="a second person", held=True, found=ctx.principal.name, limit=f"not {asker}"),
        Evidence(check="approved", held=is_allowed, found="yes" if is_allowed else "no", detail=reason),
    )
    decision = Decision(
        id=ctx.new_id(),
        space=ctx.space,
        policy=_approval_policy(asked.model, asked.target),
        subject=str(version.ref),
        action="promote",
        verdict=verdict,
        reason=reason,
        evidence=evidence,
        at=ctx.now(),
        by=ctx.principal.name,
    )
    tx.decisions.add(decision)
    payload = {"decision": decision.id, "verdict": verdict.value, "policy": decision.policy}
    ctx.record(tx, "decision.made", decision.subject, payload)
    return decision


def _answered(
    ctx: Context,
    tx: Transaction,
    asked: TransitionRequest,
    state: RequestState,
    *,
    reason: str = "",
    decision_id: str = "",
) -> TransitionRequest:
    answered = replace(
        asked,
        state=state,
        answered_by=ctx.principal.name,
        answered_at=ctx.now(),
        reason=reason,
        decision_id=decision_id,
    )
    _told(ctx, tx, f"request.{state}", answered)
    return _put(tx, ctx.space, answered)


def expire_open(ctx: Context) -> int:
    """Write down that the time of open requests is over; how many."""

    def work(tx: Transaction) -> int:
        kept = tx.documents.all(ctx.space, _COLLECTION).values()
        late = [_read(body, ctx.now()) for body in kept if body["state"] == "open"]
        over = [each for each in late if each.state == "expired"]
        for each in over:
            _told(ctx, tx, "request.expired", each)
            _put(tx, ctx.space, each)
        return len(over)

    with ctx.read() as tx:
        if not any(body["state"] == "open" for body in tx.documents.all(ctx.space, _COLLECTION).values()):
            return 0
    return ctx.write(work)


# -- demanded --------------------------------------------------------------------------------


def _approval_policy(model: str, target: str) -> str:
    return str(Address(kind=_POLICY, name=f"approval/{model}/{target}"))


@operation(
    "registry.demand_approval",
    scope="model:promote",
    route="PUT /models/{name}/approval",
    command="models demand-approval",
)
def demand_approval(
    ctx: Context, name: AssetName, *, alias: AliasName = "", stage: str = "", off: bool = False
) -> Approval:
    """Let an alias or a stage of a model move only where a second person approved it; `off` ends that."""
    wanted_alias, wanted_stage = _goal(alias, stage)
    target = wanted_alias or stage_target(wanted_stage)
    policy = _approval_policy(name, target)
    body: Json = {"kind": "approval", "model": name, "target": target, "approvals": 1}
    draft = prepare(ctx, f"approval/{name}/{target}", Manifest(kind=_POLICY, body=body))

    def work(tx: Transaction) -> Approval:
        asset_of(ctx, tx, KIND, name)
        if off:
            drop_guard(tx, ctx.space, name, target, policy)
        else:
            publish(ctx, tx, draft)
            add_guard(tx, ctx.space, name, target, policy)
        now = guards(tx, ctx.space, name, target)
        ctx.record(tx, "setting.changed", f"model:{name}", {"alias": target, "guards": list(now)})
        return Approval(
            model=name, alias=wanted_alias, stage=wanted_stage, is_demanded=policy in now, policy=policy
        )

    return ctx.write(work)
