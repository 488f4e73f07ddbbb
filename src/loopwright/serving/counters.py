"""Counts what an endpoint answers in this process: calls, rows, failures and latencies."""

from __future__ import annotations

import math

__all__ = ["Counters", "LatencyHistogram"]

_PER_OCTAVE = 8
_BUCKETS = 30 * _PER_OCTAVE
_SHOWN_FROM, _SHOWN_TO = 6, 25


class LatencyHistogram:
    """Latencies in buckets that grow by 2^(1/8): a quantile is right within 9 percent."""

    def __init__(self) -> None:
        self.counts = [0] * _BUCKETS
        self.total_us = 0
        self.count = 0

    def add(self, latency_us: int) -> None:
        """Count one latency."""
        bucket = int(math.log2(latency_us) * _PER_OCTAVE) if latency_us > 1 else 0
        self.counts[min(bucket, _BUCKETS - 1)] += 1
        self.total_us += latency_us
        self.count += 1

    def quantile(self, share: float) -> float | None:
        """The upper end of the bucket of this quantile, in microseconds; None when nothing was counted."""
        wanted, seen = share * self.count, 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return float(2.0 ** ((bucket + 1) / _PER_OCTAVE))
        return None

    def cumulative(self) -> list[tuple[str, float]]:
        """How many were at most so many seconds, an octave apart from 64 us to 34 s."""
        found, seen = [], 0
        for bucket, count in enumerate(self.counts):
            seen += count
            octave, rest = divmod(bucket + 1, _PER_OCTAVE)
            if rest == 0 and _SHOWN_FROM <= octave <= _SHOWN_TO:
                found.append((f"{2.0**octave / 1e6:.6g}", float(seen)))
        return [*found, ("+Inf", float(self.count))]


class Counters:
    """What one endpoint counted; a torn read between threads may be off by the call in flight."""

    def __init__(self) -> None:
        self.requests = 0
        self.rows = 0
        self.failed = 0
        self.latency = LatencyHistogram()

    def answered(self, rows: int, latency_us: int) -> None:
        """Count a call that was answered."""
        self.requests += 1
        self.rows += rows
        self.latency.add(latency_us)
