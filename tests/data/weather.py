"""Hourly weather as the flights of New York have it, in small: the frame the tests of datasets share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa

from loopwright.core.expressions import col
from loopwright.core.schema import ColumnType
from loopwright.data.nouns import ColumnRule, Contract, RowRule, UniqueKey, Volume

START = datetime(2013, 1, 1, tzinfo=UTC)
ORIGINS = ("EWR", "JFK", "LGA")


def weather(hours: int, *, start: int = 0, wind: dict[int, float | None] | None = None) -> pa.Table:
    """`hours` hours of three airports; `wind` replaces the wind speed of single rows."""
    rows = [(START + timedelta(hours=start + hour), origin) for hour in range(hours) for origin in ORIGINS]
    speeds: list[float | None] = [float((7 * at) % 30) for at in range(len(rows))]
    for at, speed in (wind or {}).items():
        speeds[at] = speed
    instants = pa.timestamp("us", "UTC")
    return pa.table(
        {
            "origin": pa.array([origin for _, origin in rows]),
            "observed_at": pa.array([at for at, _ in rows], instants),
            "known_at": pa.array([at + timedelta(hours=1) for at, _ in rows], instants),
            "wind_speed": pa.array(speeds, pa.float64()),
            "humid": pa.array([40 + at % 50 for at in range(len(rows))], pa.int64()),
        }
    )


def contract(**changes: object) -> Contract:
    """What the weather must be like."""
    asked: dict[str, object] = {
        "name": "weather",
        "columns": (
            ColumnRule(
                name="origin", type=ColumnType.STRING, nullable=False, allowed=ORIGINS, severity="block"
            ),
            ColumnRule(
                name="observed_at", type=ColumnType.INSTANT, nullable=False, min="2012-01-01T00:00:00Z"
            ),
            ColumnRule(name="known_at", type=ColumnType.INSTANT, nullable=False),
            ColumnRule(name="wind_speed", type=ColumnType.FLOAT, min=0, max=200),
            ColumnRule(name="humid", type=ColumnType.INT, min=0, max=100, severity="warn"),
        ),
        "unique": (UniqueKey(columns=("origin", "observed_at")),),
        "rows": (RowRule(name="known after it happened", expr=col("known_at") >= col("observed_at")),),
        "volume": Volume(min_rows=1),
    }
    return Contract(**{**asked, **changes})  # type: ignore[arg-type]  # a test's own choice of rules
