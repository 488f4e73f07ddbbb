"""Learns what a measure is when nothing has changed: random chunks of a reference against its rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import msgspec
import numpy as np
import numpy.typing as npt

from loopwright.core.errors import Invalid
from loopwright.stats.intervals import cluster_codes
from loopwright.stats.samples import FloatArray, IntArray, UndefinedStatistic, finite, level_between

__all__ = ["NullDraws", "draw_chunks", "null_draws"]

_TAIL_SHARE = 0.2
_LEAST_DRAWS = 20


class NullDraws(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Values `(b,)` of a measure under no change, rising, and the effective size they were drawn at.

    A measure with `noise_power` g is taken to scale as size ** -g, so that one set of draws serves chunks of
    other sizes. Block draws carry the reference's own dependence, for which that scaling is only a guide.
    """

    values: FloatArray
    effective_size: float
    noise_power: float

    @classmethod
    def of_values(
        cls, values: npt.ArrayLike, *, effective_size: float, noise_power: float = 0.5
    ) -> NullDraws:
        """Keep drawn values, at least 20 of them."""
        drawn = np.sort(finite(values, "values"))
        if drawn.size < _LEAST_DRAWS:
            raise UndefinedStatistic(
                f"{drawn.size} draws say too little about a tail", hint=f"make {_LEAST_DRAWS} or more"
            )
        if effective_size <= 0.0:
            raise Invalid(f"the effective size is {effective_size}")
        return cls(values=drawn, effective_size=effective_size, noise_power=noise_power)

    def p_value(self, value: float, *, effective_size: float | None = None) -> float:
        """How often no change gives `value` or more, at a chunk's own effective size.

        Up to the highest fifth of the draws by counting, (1 + hits) / (1 + b); above it by an exponential
        tail through that fifth (peaks over a threshold, Davison and Smith 1990, at shape 0). That is on the
        safe side for measures whose tail is lighter than exponential, as distances have.
        """
        like = value * self._ratio(effective_size)
        b = self.values.size
        if like <= self._threshold:
            return (1.0 + b - int(np.searchsorted(self.values, like, "left"))) / (1.0 + b)
        share = (1.0 + self._tail_count) / (1.0 + b)
        spread = self._mean_excess
        return share * math.exp(-(like - self._threshold) / spread) if spread > 0.0 else 1.0 / (1.0 + b)

    def threshold(self, p: float, *, effective_size: float | None = None) -> float:
        """The smallest value whose `p_value` is `p` or less; infinite when the draws allow none."""
        b = self.values.size
        share = (1.0 + self._tail_count) / (1.0 + b)
        if level_between(p, "p") >= share:
            at = b - math.floor(p * (1.0 + b) + 1e-9)
            like = float(np.nextafter(self.values[at], math.inf))
        elif self._mean_excess > 0.0:
            like = self._threshold + self._mean_excess * math.log(share / p)
        else:
            like = float(np.nextafter(self._threshold, math.inf)) if p >= 1.0 / (1.0 + b) else math.inf
        return like / self._ratio(effective_size)

    @property
    def _tail_count(self) -> int:
        return max(1, int(self.values.size * _TAIL_SHARE))

    @property
    def _threshold(self) -> float:
        return float(self.values[self.values.size - self._tail_count - 1])

    @property
    def _mean_excess(self) -> float:
        return float(self.values[-self._tail_count :].mean()) - self._threshold

    def _ratio(self, effective_size: float | None) -> float:
        if effective_size is None:
            return 1.0
        return float((effective_size / self.effective_size) ** self.noise_power)


def draw_chunks(
    rows: int,
    chunk_rows: int,
    rng: np.random.Generator,
    *,
    draws: int,
    blocks: npt.ArrayLike | None = None,
) -> Iterator[IntArray]:
    """Row numbers of `draws` random chunks of a reference of `rows`.

    Without `blocks`, `chunk_rows` single rows each. With `blocks` (a day for each row, say) whole blocks are
    taken until the chunk is full, the last cut to a run of neighbouring rows, so that season and dependence
    within a day are part of what counts as no change.
    """
    if not 0 < chunk_rows < rows:
        raise Invalid(f"a chunk of {chunk_rows} of {rows} rows", hint="take 1 or more, and leave some")
    if blocks is None:
        for _ in range(draws):
            yield rng.choice(rows, chunk_rows, replace=False, shuffle=False)
        return
    members = _blocks(blocks, rows)
    for _ in range(draws):
        yield _block_chunk(members, chunk_rows, rng)


def null_draws(
    measure: Callable[[IntArray], float],
    rows: int,
    chunk_rows: int,
    rng: np.random.Generator,
    *,
    draws: int = 200,
    noise_power: float = 0.5,
    blocks: npt.ArrayLike | None = None,
) -> NullDraws:
    """Draws of `measure(row numbers of a chunk)`, which compares that chunk with the rest of its reference.

    With a prepared reference that is `lambda at: wasserstein(reference.compare(column[at], inside=True))`.
    Chunks on which it is undefined are left out.
    """
    values = []
    for chunk in draw_chunks(rows, chunk_rows, rng, draws=draws, blocks=blocks):
        try:
            values.append(measure(chunk))
        except UndefinedStatistic:
            continue
    size = chunk_rows * (rows - chunk_rows) / rows
    return NullDraws.of_values(values, effective_size=size, noise_power=noise_power)


def _blocks(blocks: npt.ArrayLike, rows: int) -> list[IntArray]:
    codes, groups = cluster_codes(blocks, rows)
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.searchsorted(codes[order], np.arange(1, groups)))


def _block_chunk(members: list[IntArray], chunk_rows: int, rng: np.random.Generator) -> IntArray:
    parts: list[IntArray] = []
    wanted = chunk_rows
    for block in rng.permutation(len(members)):
        rows = members[block]
        if rows.size > wanted:
            start = int(rng.integers(0, rows.size - wanted + 1))
            rows = rows[start : start + wanted]
        parts.append(rows)
        wanted -= rows.size
        if wanted == 0:
            break
    return np.concatenate(parts)
