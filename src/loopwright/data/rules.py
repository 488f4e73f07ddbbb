"""Pure decisions of the data slice: what a contract asks, what breaks it, which parts a question can need."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.expressions import Binary, Col, Expr, Lit, Matches, all_of, col, columns_of
from loopwright.core.instants import duration, parse_instant, to_micros
from loopwright.core.nouns import Evidence, Verdict
from loopwright.core.schema import ColumnType, Schema
from loopwright.data.nouns import ColumnRule, Contract, Severity
from loopwright.ports.tables import RowCheck

__all__ = [
    "Asked",
    "Broken",
    "Judgement",
    "asked_of",
    "check_contract",
    "judge",
    "merged_schema",
    "needs_part",
    "schema_faults",
    "volume_faults",
]

_ENDS = {ColumnType.INT: (int, float), ColumnType.FLOAT: (int, float), ColumnType.INSTANT: (str,)}
_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "=="}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One row check of a contract and what becomes of a row that fails it."""

    check: RowCheck
    severity: Severity
    limit: str = ""
    mostly: float = 1.0


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that did not hold: of how many rows, and what it asked."""

    rule: str
    severity: Severity
    found: str
    limit: str = ""
    rows: int = 0


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a batch: blocked when `verdict` is deny; else published, with warnings."""

    verdict: Verdict
    reason: str
    evidence: tuple[Evidence, ...]
    warnings: tuple[str, ...]


def asked_of(contract: Contract) -> tuple[Asked, ...]:
    """The row checks of a contract, in its order; all of them are made in one scan."""
    of_columns = [asked for rule in contract.columns for asked in _of_column(rule)]
    of_rows = [
        Asked(
            check=RowCheck(name=rule.name, expr=rule.expr, null_fails=rule.null_fails),
            severity=rule.severity,
            mostly=rule.mostly,
        )
        for rule in contract.rows
    ]
    return (*of_columns, *_of_keys(contract), *of_rows)


def _of_keys(contract: Contract) -> list[Asked]:
    """That no part of a primary key is null, where the column does not say so itself."""
    said = {rule.name for rule in contract.columns if not rule.nullable}
    return [
        Asked(
            check=RowCheck(name=f"{name} is there", expr=~col(name).is_null(), null_fails=True),
            severity=key.severity,
            limit="not null",
        )
        for key in contract.unique
        if key.primary
        for name in key.columns
        if name not in said
    ]


def _of_column(rule: ColumnRule) -> list[Asked]:
    column, found = col(rule.name), list[tuple[str, str, Expr, bool]]()
    if not rule.nullable:
        found.append(("is there", "not null", ~column.is_null(), True))
    bounds = _bounds(rule)
    if bounds is not None:
        limit = f"between {_end(rule.min)} and {_end(rule.max)}"
        found.append(("is in range", limit, bounds, False))
    if rule.allowed:
        limit = f"one of {len(rule.allowed)} values"
        found.append(("is an allowed value", limit, column.is_in(rule.allowed), False))
    if rule.forbidden:
        limit = f"none of {len(rule.forbidden)} values"
        found.append(("is no forbidden value", limit, ~column.is_in(rule.forbidden), False))
    if rule.pattern:
        found.append(("has the form", rule.pattern, Matches(expr=column, pattern=rule.pattern), False))
    return [
        Asked(
            check=RowCheck(name=f"{rule.name} {words}", expr=expr, null_fails=null_fails),
            severity=rule.severity,
            limit=limit,
            mostly=rule.mostly,
        )
        for words, limit, expr, null_fails in found
    ]


def _end(value: float | str | None) -> str:
    return "anything" if value is None else str(value)


def _bounds(rule: ColumnRule) -> Expr | None:
    column, parts = col(rule.name), list[Expr]()
    if rule.min is not None:
        parts.append(column >= _number(rule.min))
    if rule.max is not None:
        parts.append(column <= _number(rule.max))
    return all_of(*parts) if parts else None


def _number(value: float | str) -> float:
    return to_micros(parse_instant(value)) if isinstance(value, str) else value


def check_contract(contract: Contract) -> Contract:
    """Return the contract itself when it makes sense, else `Invalid` that says which rule does not."""
    names = [rule.name for rule in contract.columns]
    if len(set(names)) != len(names):
        raise Invalid(f"contract {contract.name!r} names a column twice", hint="give one rule a column")
    for rule in contract.columns:
        _check_rule(contract, rule)
    named = [rule.name for rule in contract.rows]
    if len(set(named)) != len(named) or not all(named):
        raise Invalid(f"contract {contract.name!r} has row rules of one name", hint="name each differently")
    check_shares(contract)
    used = {name for rule in contract.rows for name in columns_of(rule.expr)}
    used |= named_elsewhere(contract)
    used |= {name for key in contract.unique for name in key.columns}
    used |= {reference.column for reference in contract.references}
    if unknown := sorted(used - set(names)) if names else []:
        raise Invalid(
            f"contract {contract.name!r} asks for the column {unknown[0]!r}, which it does not name",
            hint="add it to the columns",
        )
    return contract


def named_elsewhere(contract: Contract) -> set[str]:
    """The columns that rules of groups, freshness, comparisons and distributions ask for."""
    found = {name for rule in contract.groups for name in rule.by}
    found |= {name for rule in contract.groups if rule.expr is not None for name in columns_of(rule.expr)}
    found |= {rule.column for rule in contract.freshness}
    found |= {rule.column for rule in contract.comparisons if rule.column}
    return found | {rule.column for rule in contract.distributions}


def check_shares(contract: Contract) -> None:
    """Raise `Invalid` for a share, a duration or a group that makes no sense."""
    what = f"contract {contract.name!r}"
    shares = [rule.mostly for rule in contract.columns] + [rule.mostly for rule in contract.rows]
    shares += [rule.mostly for rule in contract.references] + [rule.mostly for rule in contract.groups]
    for share in shares:
        if not 0.0 < share <= 1.0:
            raise Invalid(f"{what} has a rule with mostly {share}", hint="give a share such as 0.99")
    for group in contract.groups:
        if not group.by or (group.min is None and group.max is None):
            raise Invalid(
                f"{what}: the rule {group.name!r} has no group or no limit", hint="give by, and min or max"
            )
        if group.expr is None and group.of != "rows":
            raise Invalid(f"{what}: the rule {group.name!r} has no expression", hint="say what is aggregated")
    for compared in contract.comparisons:
        if (compared.of == "rows") is bool(compared.column) or compared.at_most < 0:
            raise Invalid(
                f"{what} compares {compared.of} of {compared.column!r}",
                hint="rows have no column, all else has",
            )
    names = [rule.name for rule in contract.groups]
    if len(set(names)) != len(names):
        raise Invalid(f"{what} has group rules of one name", hint="name each differently")
    ages = [rule.within for rule in contract.freshness]
    for text in (*ages, *filter(None, [contract.release.drop_after])):
        duration(text)


def _check_rule(contract: Contract, rule: ColumnRule) -> None:
    where = f"the column {rule.name!r} of contract {contract.name!r}"
    for end in (rule.min, rule.max):
        if end is not None and not isinstance(end, _ENDS.get(rule.type, ())):
            raise Invalid(f"{where} is of type {rule.type}, but has the end {end!r}", hint="mend the rule")
    ends = [_number(end) for end in (rule.min, rule.max) if end is not None]
    if ends != sorted(ends):
        raise Invalid(f"{where} has a range from {rule.min} to {rule.max}", hint="mend the rule")
    if rule.pattern and rule.type is not ColumnType.STRING:
        raise Invalid(f"{where} has a pattern but is of type {rule.type}", hint="patterns are for strings")
    try:
        re.compile(rule.pattern)
    except re.error as error:
        raise Invalid(f"{where} has a pattern that is none: {error}", hint="mend the rule") from error


def schema_faults(contract: Contract, schema: Schema) -> tuple[Broken, ...]:
    """What is wrong with a batch's columns: each fault blocks."""
    there = {column.name: column for column in schema.columns}
    faults = []
    for rule in contract.columns:
        column = there.get(rule.name)
        if column is None:
            faults.append(_fault(f"{rule.name} is a column", "missing", rule.type))
        elif column.type is not rule.type:
            faults.append(_fault(f"{rule.name} is of type {rule.type}", column.type, rule.type))
    if contract.other_columns == "refuse":
        known = {rule.name for rule in contract.columns}
        extra = [name for name in there if name not in known]
        if extra:
            faults.append(_fault("no other columns", ", ".join(extra[:5]), "none"))
    return tuple(faults)


def _fault(rule: str, found: str, limit: str) -> Broken:
    return Broken(rule=rule, severity="block", found=str(found), limit=str(limit))


def volume_faults(contract: Contract, rows: int, quarantined: int) -> tuple[Broken, ...]:
    """What is wrong with the size of a batch, or with how much of it would go to quarantine."""
    volume, faults = contract.volume, []
    if rows < volume.min_rows:
        faults.append(_fault("rows of a batch", str(rows), f"at least {volume.min_rows}"))
    if volume.max_rows is not None and rows > volume.max_rows:
        faults.append(_fault("rows of a batch", str(rows), f"at most {volume.max_rows}"))
    share = quarantined / rows if rows else 0.0
    if share > volume.max_quarantined:
        limit = f"at most {volume.max_quarantined:.0%}"
        faults.append(_fault("share of rows in quarantine", f"{share:.1%}", limit))
    return tuple(faults)


def judge(broken: Sequence[Broken]) -> Judgement:
    """A batch is refused when a blocking rule is broken; each broken rule is a line of evidence."""
    evidence = tuple(
        Evidence(
            check=item.rule,
            held=item.severity != "block",
            found=item.found,
            limit=item.limit,
            detail=item.severity,
        )
        for item in broken
    )
    blocking = [item for item in broken if item.severity == "block"]
    said = "; ".join(f"{item.rule}: found {item.found}" for item in blocking)
    warnings = tuple(f"{item.rule}: {item.found}" for item in broken if item.severity == "warn")
    return Judgement(
        verdict=Verdict.DENY if blocking else Verdict.ALLOW,
        reason=said or "no blocking rule is broken",
        evidence=evidence,
        warnings=warnings,
    )


def merged_schema(parent: Schema | None, added: Schema) -> Schema:
    """The schema of the whole after a part was added: columns may come, none may change its type.

    A column that older parts lack is nullable, as is one the new part lacks.
    """
    if parent is None:
        return added
    new = {column.name: column for column in added.columns}
    kept = []
    for column in parent.columns:
        other = new.pop(column.name, None)
        if other is not None and other.type is not column.type:
            raise Invalid(
                f"the column {column.name!r} is of type {column.type} so far and {other.type} now",
                hint="convert it, or keep the rows in another dataset",
            )
        nullable = column.nullable or other is None or other.nullable
        kept.append(msgspec.structs.replace(column, nullable=nullable))
    come = [msgspec.structs.replace(column, nullable=True) for column in new.values()]
    return Schema(columns=(*kept, *come))


def needs_part(where: Expr | None, spans: Mapping[str, tuple[int, int]]) -> bool:
    """Whether a part whose columns lie within these spans can hold a row the condition is true of.

    Only conjunctions of a column with a constant are looked at; anything else may be true.
    """
    if where is None:
        return True
    match where:
        case Binary(op="and"):
            return needs_part(where.left, spans) and needs_part(where.right, spans)
        case Binary(left=Col(name), right=Lit(int() | float() as limit)) if name in spans:
            return _may_hold(where.op, spans[name], limit)
        case Binary(left=Lit(int() | float() as limit), right=Col(name)) if name in spans:
            return _may_hold(_FLIPPED.get(where.op, where.op), spans[name], limit)
        case _:
            return True


def _may_hold(op: str, span: tuple[int, int], limit: float) -> bool:
    low, high = span
    match op:
        case "<":
            return low < limit
        case "<=":
            return low <= limit
        case ">":
            return high > limit
        case ">=":
            return high >= limit
        case "==":
            return low <= limit <= high
        case _:
            return True
