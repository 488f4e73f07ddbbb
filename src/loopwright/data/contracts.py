"""Keeps contracts as policies, and asks for their verdict on a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import msgspec

from loopwright.core.addresses import Address, check_name
from loopwright.core.errors import NotFound, PolicyBlocked
from loopwright.core.manifests import Manifest
from loopwright.core.nouns import Decision, Verdict, Version
from loopwright.data.guarding import publish_guard
from loopwright.data.inspecting import Inspection, inspect
from loopwright.data.nouns import CONTRACT_PREFIX, DATASET, POLICY, Contract
from loopwright.data.rules import Judgement, check_contract, judge
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, prepare, resolve
from loopwright.ports.ledger import Transaction

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["HeldContract", "contract_of", "define_contract", "inspected"]


def define_contract(ctx: Context, name: str, contract: Contract) -> Version:
    """Keep a contract as the next version of `policy:contract/<name>`; an equal one is that version."""
    check_contract(contract)
    manifest = Manifest(kind=POLICY, body=msgspec.to_builtins(contract))
    facts = {"guards": f"append dataset:{name}", "columns": len(contract.columns)}
    draft = prepare(ctx, f"{CONTRACT_PREFIX}{check_name(name)}", manifest, facts=facts)
    return ctx.write(lambda tx: publish_guard(ctx, tx, draft, name))


class HeldContract(msgspec.Struct, frozen=True, kw_only=True):
    """A contract and the version of the policy that keeps it."""

    contract: Contract
    version: Version


def contract_of(ctx: Context, name: str, *, required: bool = True) -> HeldContract | None:
    """The newest contract of that name; when it is not required, None where there is none."""
    address = Address(kind=POLICY, name=f"{CONTRACT_PREFIX}{name}")
    try:
        version = resolve(ctx, address)
    except NotFound as error:
        if required:
            hint = "define it with define_contract, or `loopwright data set-contract`"
            raise NotFound(f"there is no contract named {name!r}", hint=hint) from error
        return None
    return HeldContract(contract=msgspec.convert(manifest_of(ctx, version).body, Contract), version=version)


def inspected(
    ctx: Context, held: HeldContract | None, rows: pa.Table, name: str, newest: Version | None
) -> tuple[Inspection, Judgement]:
    """What a contract finds in a batch, and its verdict; a batch it blocks raises `PolicyBlocked`."""
    if held is None:
        return Inspection(broken=(), masks={}), judge(())
    found = inspect(ctx, held.contract, rows, ctx.ports.tables.schema_of(rows), newest, name=name)
    judgement = judge(found.broken)
    if judgement.verdict is Verdict.DENY:
        _refuse(ctx, held.version, name, judgement)
    return found, judgement


def _refuse(ctx: Context, policy: Version, name: str, judgement: Judgement) -> NoReturn:
    decision = Decision(
        id=ctx.new_id(),
        space=ctx.space,
        policy=str(policy.ref),
        subject=str(Address(kind=DATASET, name=name)),
        action="append",
        verdict=judgement.verdict,
        reason=judgement.reason,
        evidence=judgement.evidence,
        at=ctx.now(),
        by=ctx.principal.name,
    )

    def work(tx: Transaction) -> None:
        tx.decisions.add(decision)
        payload = {"decision": decision.id, "verdict": decision.verdict.value, "policy": decision.policy}
        ctx.record(tx, "decision.made", decision.subject, payload)

    ctx.write(work)
    raise PolicyBlocked(
        f"the batch of {decision.subject} breaks its contract: {judgement.reason}",
        decision_id=decision.id,
        hint=f"mend the batch, or the contract {decision.policy}; nothing of it was published",
    )
