"""Writes what checks measured as signals: of the endpoint, its groups, each input, each feed column."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from loopwright.core.nouns import Json, Signal
from loopwright.engine.context import Context
from loopwright.monitoring.nouns import ColumnSign, DayReport, Period, Quality, Reading, SkewReport

__all__ = ["SKEW", "signal_of_skew", "signals_of", "signals_of_feed"]

SKEW = "skew"
"""name of the signal of an endpoint: which share of its logged values a replay gave otherwise"""


def signals_of(ctx: Context, report: DayReport, *, drift: bool = True) -> list[Signal]:
    """A window's measurements, of drift where asked; `facts.maturity` is the share of labels behind them.

    Of a group (a version, a slice) the subject is `endpoint:<name>/<group>`.
    """
    subject = f"endpoint:{report.endpoint}"
    facts: Json = {"monitor": report.monitor, "maturity": report.live.labelled_share}
    found = [(subject, name, reading, facts) for name, reading in _readings(report.live)]
    for group in report.groups:
        told = {**facts, "maturity": group.labelled_share, "group": group.group}
        found += [(f"{subject}/{group.group}", name, reading, told) for name, reading in _readings(group)]
    for each in report.drift if drift else ():
        told = {"monitor": report.monitor, "p_value": each.p_value, "drifted": each.drifted}
        reading = Reading(value=each.stability_index, n=each.n)
        found.append((subject, f"drift.{each.column}", reading, {**told, "missing": each.missing_share}))
    return [
        _signal(ctx, subject, name, reading, window=Period(start=report.start, end=report.end), facts=told)
        for subject, name, reading, told in found
        if reading.value is not None
    ]


def _readings(group: Quality) -> list[tuple[str, Reading]]:
    n = group.predictions
    return [
        ("predictions", Reading(value=float(n), n=n)),
        ("labelled_share", Reading(value=group.labelled_share if n else None, n=n)),
        ("mean_score", Reading(value=group.mean_score, n=n)),
        ("roc_auc", group.roc_auc),
        ("roc_auc_expected", group.roc_auc_expected),
        ("brier", group.brier),
        ("calibration_error", group.calibration_error),
        ("calibration_gap", group.calibration_gap),
    ]


def signals_of_feed(
    ctx: Context, subject: str, signs: Sequence[ColumnSign], start: datetime, end: datetime
) -> list[Signal]:
    """The share of strange rows of every watched column."""
    return [
        _signal(
            ctx,
            subject,
            f"strange.{sign.column}",
            Reading(value=sign.share, n=sign.n),
            window=Period(start=start, end=end),
            facts={"kind": sign.kind, "limit": sign.limit, "holds": sign.holds},
        )
        for sign in signs
    ]


def signal_of_skew(ctx: Context, report: SkewReport) -> Signal:
    """Which share of the logged values a replay gave otherwise, with how many by feature."""
    return _signal(
        ctx,
        f"endpoint:{report.endpoint}",
        SKEW,
        Reading(value=report.mismatches / max(report.values, 1), n=report.values),
        window=Period(start=report.start, end=report.end),
        facts={
            "rows": report.rows,
            "mismatches": {each.feature: each.mismatches for each in report.features},
        },
    )


def _signal(
    ctx: Context, subject: str, name: str, reading: Reading, *, window: Period, facts: Json
) -> Signal:
    return Signal(
        id=ctx.new_id(),
        space=ctx.space,
        subject=subject,
        name=name,
        value=reading.value if reading.value is not None else 0.0,
        at=ctx.now(),
        window_start=window.start,
        window_end=window.end,
        n=reading.n,
        low=reading.low,
        high=reading.high,
        facts=facts,
    )
