"""Lets rows out of quarantine: into the dataset or away, by a person or by the contract's rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec

from loopwright.core.addresses import Address, AssetName
from loopwright.core.errors import Conflict, Invalid, NotFound
from loopwright.core.instants import duration
from loopwright.core.nouns import Job, Json
from loopwright.data.admitting import QUARANTINED_AT, REASON, quarantine_stream
from loopwright.data.appending import plan_append
from loopwright.data.conforming import conformed
from loopwright.data.contracts import contract_of
from loopwright.data.drafting import Change, base_of, carry_out, wanted_types
from loopwright.data.inspecting import inspect
from loopwright.data.nouns import DATASET, Appended
from loopwright.data.streams import files_of, prepare_segment, segments_of
from loopwright.engine.context import Context
from loopwright.engine.operation import on_job, operation
from loopwright.engine.publishing import asset_of
from loopwright.ports.ledger import Segment, Transaction

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["Settled", "drop_quarantined", "release", "run_settle", "settle_quarantine"]

Reason = Annotated[str, msgspec.Meta(max_length=1000)]


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What became of rows in quarantine."""

    released: int = 0
    """rows let into the dataset"""
    dropped: int = 0
    left: int = 0
    """rows that stay"""
    version: int | None = None
    """the version the released rows are in"""


@operation("data.release", scope="dataset:admin", route="POST /datasets/{name}/quarantine/release")
def release(ctx: Context, name: AssetName, *, why: Reason, rule: str = "", segment: str = "") -> Settled:
    """Let rows in quarantine into the dataset although they break the contract, and say why.

    `rule` chooses those that only this rule keeps out, `segment` those of one batch; without either, all.
    The columns must still fit the dataset; who let them in and why is in the journal.
    """
    if not why.strip():
        raise Invalid("nothing is said about why", hint="say --why, which is kept in the journal")
    return _settle(ctx, name, _chooser(rule, alone=True), segment=segment, why=why, way="released")


@operation("data.drop_quarantined", scope="dataset:admin", route="POST /datasets/{name}/quarantine/drop")
def drop_quarantined(
    ctx: Context, name: AssetName, *, why: Reason, rule: str = "", segment: str = ""
) -> Settled:
    """Drop rows in quarantine for good: those that this rule keeps out, those of one batch, or all."""
    if not why.strip():
        raise Invalid("nothing is said about why", hint="say --why, which is kept in the journal")
    return _settle(ctx, name, _chooser(rule, alone=False), segment=segment, why=why, way="dropped")


@operation("data.settle_quarantine", scope="dataset:admin", route="POST /datasets/{name}/quarantine/settle")
def settle_quarantine(ctx: Context, name: AssetName) -> Settled:
    """Do what the contract's `release` says: let in rows that hold the contract of today, drop old ones."""
    held = contract_of(ctx, name)
    if held is None:
        raise NotFound(f"dataset:{name} has no contract", hint="loopwright data set-contract")
    rule, done = held.contract.release, Settled(left=_rows(segments_of(ctx, quarantine_stream(name))))
    if rule.when_they_pass:
        done = _settle(ctx, name, _passing(ctx, name), why=f"they hold {held.version.ref}", way="released")
    if rule.drop_after:
        limit = ctx.now() - duration(rule.drop_after)
        old = [each for each in segments_of(ctx, quarantine_stream(name)) if each.end < limit]
        for each in old:
            told = f"older than {rule.drop_after}"
            last = _settle(ctx, name, _chooser("", alone=False), segment=each.id, why=told, way="dropped")
            done = msgspec.structs.replace(done, dropped=done.dropped + last.dropped, left=last.left)
    return done


@on_job("data.settle_quarantine")
def run_settle(ctx: Context, job: Job) -> Json:
    """Carry out a scheduled settling of a dataset's quarantine."""
    done: Json = msgspec.to_builtins(settle_quarantine(ctx, str(job.arguments["name"])))
    return done


_Choose = Callable[["pa.Table"], "NDArray[np.bool_]"]


def _chooser(rule: str, *, alone: bool) -> _Choose:
    """Which rows of a segment are meant: of one rule (that alone keeps them out), or all."""

    def chosen(table: pa.Table) -> NDArray[np.bool_]:
        import numpy as np

        reasons = [reason.split("; ") for reason in table.column(REASON).to_pylist()]
        if not rule:
            return np.ones(len(reasons), dtype=np.bool_)
        return np.array([each == [rule] if alone else rule in each for each in reasons], dtype=np.bool_)

    return chosen


def _passing(ctx: Context, name: str) -> _Choose:
    """Which rows hold the present contract, as a batch that follows the newest version."""

    def chosen(table: pa.Table) -> NDArray[np.bool_]:
        import numpy as np

        held = contract_of(ctx, name)
        base = base_of(ctx, Change(how="append", name=name))
        if held is None:
            return np.zeros(table.num_rows, dtype=np.bool_)
        rows = conformed(_values(table), wanted_types(held, base.schema))
        found = inspect(ctx, held.contract, rows, ctx.ports.tables.schema_of(rows), base.version, name=name)
        if any(each.severity == "block" and each.rows for each in found.broken):
            return np.zeros(table.num_rows, dtype=np.bool_)
        return ~found.kept_out(rows.num_rows)

    return chosen


def _values(table: pa.Table) -> pa.Table:
    """The rows as they came: without what quarantine added, under their own names."""
    plain = table.drop_columns([REASON, QUARANTINED_AT])
    taken = {f"value_{name}": name for name in (REASON, QUARANTINED_AT)}
    return plain.rename_columns([taken.get(name, name) for name in plain.column_names])


def _rows(segments: Sequence[Segment]) -> int:
    return sum(segment.rows for segment in segments)


def _settle(ctx: Context, name: str, choose: _Choose, *, why: str, way: str, segment: str = "") -> Settled:
    stream = quarantine_stream(name)
    segments = segments_of(ctx, stream)
    if segment and segment not in {each.id for each in segments}:
        raise NotFound(
            f"dataset:{name} has no batch {segment!r} in quarantine", hint="loopwright data quarantine"
        )
    if not segments:
        with ctx.read() as tx:
            asset_of(ctx, tx, DATASET, name)
    gone, version = 0, None
    for each in segments:
        if segment and each.id != segment:
            continue
        table = ctx.ports.tables.read(files_of(ctx, (each.digest,)))
        chosen = choose(table)
        count = int(chosen.sum())
        if not count:
            continue
        let_out = _LetOut(ctx, name, each, table, chosen)
        if way == "released":
            version = let_out.into_dataset(why)
        else:
            let_out.away(why)
        gone += count
    left = _rows(segments) - gone
    if way == "released":
        return Settled(released=gone, left=left, version=version)
    return Settled(dropped=gone, left=left)


class _LetOut:
    """Some rows of one segment that leave quarantine; the others stay as a segment of their own."""

    def __init__(
        self, ctx: Context, name: str, segment: Segment, table: pa.Table, chosen: NDArray[np.bool_]
    ) -> None:
        import pyarrow as pa

        self._ctx, self._name, self._segment = ctx, name, segment
        self._rows = table.filter(pa.array(chosen))
        rest = table.filter(pa.array(~chosen))
        span = (segment.start, segment.end)
        self._rest = (
            prepare_segment(ctx, segment.stream, rest, *span, segment.facts) if rest.num_rows else None
        )

    def away(self, why: str) -> None:
        """Drop them."""
        self._ctx.write(lambda tx: self._removed(tx, "quarantine.dropped", why, None))

    def into_dataset(self, why: str) -> int:
        """Append them in the unit of work that takes them out of quarantine; gives the version's number."""
        change = Change(
            how="append",
            name=self._name,
            table=_values(self._rows),
            batch=f"quarantine:{self._ctx.new_id()}",
            also=lambda tx, version: self._removed(tx, "quarantine.released", why, version.number),
        )
        done: tuple[Appended, ...] = carry_out(
            self._ctx, (change,), lambda asked, base: plan_append(self._ctx, asked, base, None)
        )
        return done[0].version.number

    def _removed(self, tx: Transaction, kind: str, why: str, version: int | None) -> None:
        there = tx.segments.between(self._ctx.space, self._segment.stream, None, None)
        if self._segment.id not in {each.id for each in there}:
            raise Conflict("the rows left quarantine meanwhile", hint="look at what is there now, and repeat")
        tx.segments.replace([self._segment.id], self._rest, space=self._ctx.space)
        payload: Json = {"dataset": self._name, "rows": self._rows.num_rows, "why": why, "version": version}
        self._ctx.record(tx, kind, Address(kind=DATASET, name=self._name), payload)
