"""Use cases of contracts beside an append: dry runs, what a version was found to be, contracts from data."""

from __future__ import annotations

import os
from typing import Annotated, Any

import msgspec

from loopwright.core.addresses import Address, AssetName, ByNumber, version_address
from loopwright.core.errors import CheckFailed, Invalid, NotFound
from loopwright.core.nouns import Verdict, Version
from loopwright.core.sizes import parse_size
from loopwright.data.checked import results_in
from loopwright.data.contracts import contract_of
from loopwright.data.declaring import contract as contract_from
from loopwright.data.inferring import ContractChange, changes_between, inferred, with_what_people_said
from loopwright.data.inspecting import before_of, broken_of
from loopwright.data.nouns import DATASET, Contract, RuleResult
from loopwright.data.planning import Before, plan_of, results_of
from loopwright.data.profiled import stored_profile
from loopwright.data.reading import WIDTH, body_of, first_rows, permitted, read_version, schema_of
from loopwright.data.rules import check_contract, judge, schema_faults
from loopwright.data.streams import files_of
from loopwright.data.uploads import check_regular, table_of_file
from loopwright.data.withholding import check_compared, withheld_from
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.ports.scans import Scanner

__all__ = [
    "CheckReport",
    "Inferred",
    "check",
    "check_file",
    "check_source",
    "checks",
    "infer_contract",
    "infer_file",
]

Selected = Annotated[
    str, msgspec.Meta(max_length=600, description="which version: a number, an alias, an instant or #digest")
]


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a contract says of rows that are looked at and left where they are."""

    contract: str
    subject: str
    rows: int
    holds: bool
    """whether no rule is broken, of whichever severity"""
    verdict: Verdict
    """deny when a blocking rule is broken"""
    reason: str
    rules: tuple[RuleResult, ...]


class Inferred(msgspec.Struct, frozen=True, kw_only=True):
    """A contract that the data hold, and how it differs from the present one."""

    contract: Contract
    changes: tuple[ContractChange, ...] = ()
    """against the present contract; all of it where there is none"""


def check_source(
    scanner: Scanner,
    contract: Contract,
    source: Any,
    before: Before,
    *,
    subject: str = "rows",
    memory: str = "",
) -> CheckReport:
    """Hold a contract against any source of rows that a scanner takes, in one scan; nothing is changed.

    Lazy frames and streams are read to their end. Keys are unique within the source. `memory` is what the
    process may take (the scanner's own limit).
    """
    check_contract(contract)
    with scanner.open(source, memory_bytes=parse_size(memory) if memory else None) as held:
        faults = schema_faults(contract, held.schema)
        if faults:
            results = tuple(
                RuleResult(rule=f.rule, severity=f.severity, held=False, found=f.found, limit=f.limit)
                for f in faults
            )
            return _report(contract, subject, 0, results)
        scanned = held.scan(plan_of(contract, before))
    results = (*results_of(contract, before, scanned), *_volume(contract, scanned.rows))
    return _report(contract, subject, scanned.rows, results)


def _volume(contract: Contract, rows: int) -> tuple[RuleResult, ...]:
    least, most = contract.volume.min_rows, contract.volume.max_rows
    if not least and most is None:
        return ()
    held = rows >= least and (most is None or rows <= most)
    limit = f"at least {least:,}" + ("" if most is None else f", at most {most:,}")
    return (RuleResult(rule="rows of a batch", severity="block", held=held, found=f"{rows:,}", limit=limit),)


def _report(contract: Contract, subject: str, rows: int, results: tuple[RuleResult, ...]) -> CheckReport:
    judgement = judge(broken_of(results))
    return CheckReport(
        contract=contract.name,
        subject=subject,
        rows=rows,
        holds=all(each.held for each in results),
        verdict=judgement.verdict,
        reason=judgement.reason,
        rules=results,
    )


@operation("data.check", scope="dataset:read", route="POST /datasets/{name}/check")
def check(
    ctx: Context,
    name: AssetName,
    *,
    contract: Contract | None = None,
    version: Selected = "",
    rows: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0,
    purpose: str = "",
) -> CheckReport:
    """Hold a contract, the given or the present one, against a version without changing anything.

    `rows` looks at the first so many rows alone; 0 at all of them.
    """
    chosen = contract if contract is not None else _present(ctx, name)
    found = _version(ctx, name, version)
    permitted(ctx, found, purpose=purpose)  # the report tells values of what breaks a rule
    check_compared(ctx, chosen, purpose)
    before = before_of(ctx, chosen, _previous(ctx, found))
    source = first_rows(ctx, manifest_of(ctx, found), 0, rows) if rows else _rows(ctx, found)
    return check_source(ctx.ports.scanner, chosen, source, before, subject=str(found.ref))


@operation("data.checks", scope="dataset:read", route="GET /datasets/{name}/checks")
def checks(ctx: Context, name: AssetName, *, version: Selected = "") -> tuple[RuleResult, ...]:
    """Show what the contract found in the batch of a version when it was published, rule by rule."""
    found = _version(ctx, name, version)
    with ctx.read() as tx:
        return results_in(tx.signals.window(ctx.space, str(found.ref)))


@operation("data.check_file", scope="dataset:read", local=True, command="data check-file")
def check_file(ctx: Context, file: str, *, contract: str, memory: str = "") -> CheckReport:
    """Hold a contract, a file of JSON, against a Parquet, CSV or NDJSON file of this machine.

    Exit code 1 when a rule is broken, whatever its severity. `memory`, such as 4GB, is what may be taken;
    without it half of the machine's. Keys that do not fit wait in temporary files.
    """
    chosen = contract_from(_text(contract))
    if chosen.references or chosen.comparisons or any(r.baseline for r in chosen.distributions):
        raise Invalid(
            "the contract refers to other versions or datasets",
            hint="check a version of a dataset: data check",
        )
    check_regular(file)
    report = check_source(
        ctx.ports.scanner,
        chosen,
        file,
        Before(now=ctx.now()),
        subject=os.path.basename(file),
        memory=memory,
    )
    if not report.holds:
        torn = [f"{each.rule}: {each.found}" for each in report.rules if not each.held]
        raise CheckFailed(
            f"{report.subject} breaks {len(torn)} rules of {chosen.name!r}: {'; '.join(torn)}",
            hint="mend the rows, or the contract",
        )
    return report


@operation("data.infer_contract", scope="dataset:read", route="GET /datasets/{name}/contract/inferred")
def infer_contract(ctx: Context, name: AssetName, *, version: Selected = "", purpose: str = "") -> Inferred:
    """Read a contract off the profile of a version, and show how it differs from the present one.

    Of columns that may not be read for the purpose it has no ranges and no values. What people said of the
    present one's columns, their tags and descriptions, is kept.
    """
    found = _version(ctx, name, version)
    manifest = manifest_of(ctx, found)
    stored = stored_profile(ctx, manifest)
    if stored is None:
        raise NotFound(f"{found.ref} has no profile", hint="profiles are made when rows are appended")
    profile = withheld_from(ctx, found, stored, purpose)
    made = inferred(name, profile, keys=body_of(manifest).keys)
    held = contract_of(ctx, name, required=False)
    if held is None:
        return Inferred(contract=made, changes=changes_between(None, made))
    made = with_what_people_said(made, held.contract)
    return Inferred(contract=made, changes=changes_between(held.contract, made))


@operation("data.infer_file", scope="dataset:read", local=True, command="data infer-contract-of")
def infer_file(ctx: Context, file: str, *, name: str = "") -> Contract:
    """Read a contract off a Parquet, CSV or NDJSON file of this machine; save it with `--json`."""
    from_name = os.path.basename(file).partition(".")[0]
    return inferred(name or from_name, ctx.ports.tables.profile(table_of_file(file)))


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"the contract {path} cannot be read", hint="give a file of JSON") from error


def _present(ctx: Context, name: str) -> Contract:
    held = contract_of(ctx, name)
    if held is None:
        raise NotFound(f"dataset:{name} has no contract", hint="loopwright data set-contract")
    return held.contract


def _version(ctx: Context, name: str, selector: str) -> Version:
    return resolve(ctx, version_address(DATASET, name, selector))


def _previous(ctx: Context, version: Version) -> Version | None:
    if version.number < 2:
        return None
    try:
        return resolve(ctx, Address(kind=DATASET, name=version.name, selector=ByNumber(version.number - 1)))
    except NotFound:
        return None


def _rows(ctx: Context, version: Version) -> Any:
    """The version's files where a scan can take them as they are, else its rows."""
    manifest = manifest_of(ctx, version)
    width = len(schema_of(manifest).columns)
    files = files_of(ctx, tuple(entry.digest for entry in manifest.entries))
    are_alike = all(entry.facts.get(WIDTH, width) == width for entry in manifest.entries)
    if files and are_alike and all(isinstance(file, str) for file in files):
        return files
    return read_version(ctx, version)
