"""Keeps, beside each part of a dataset, which values occurred when: counts by stretch of time, by column.

Made of the rows that are written anyway. A stretch is a single instant where there are few; else a minute, an
hour, six hours, a day or a week, with its first and last instant. Of a single instant the values stand in the
order of their rows, of longer ones they are counted. What is not kept of a column is told with why.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from loopwright.core.digests import canonical
from loopwright.core.manifests import ManifestEntry
from loopwright.core.nouns import Json
from loopwright.engine.context import Context

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["STRETCHES", "Stretches", "keep_stretches", "stretch_objects", "stretches_in", "stretches_of"]

STRETCHES = "stretches"
"""fact of a part: the column of times, and the object that holds its stretches"""
_MINUTE, _HOUR = 60_000_000, 3_600_000_000
_WIDTHS = (1, _MINUTE, _HOUR, 6 * _HOUR, 24 * _HOUR, 168 * _HOUR)
_FEW_STRETCHES, _MOST_STRETCHES = 1024, 1 << 16
_MOST_COLUMNS, _MOST_VALUES, _MOST_RUNS, _MOST_TEXT = 64, 4096, 1 << 16, 1 << 16
_PRESSED = 4096
"""bytes above which numbers are pressed: parts that were put together, seldom a batch"""
_LOOKED_AT, _NEARLY_ALL = 512, 0.75
_EXACT = 1 << 53
"""whole numbers beyond are not all numbers of 64 bits with a point"""


class Stretches(NamedTuple):
    """Stretches of time, rising and apart: first and last microsecond `(n,)`, rows `(n,)`, and columns."""

    time: str
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: dict[str, tuple[list[Any], NDArray[np.int64]]]
    """values, and for every row in order its place among them, -1 for none; within a stretch of several
    instants the order is that of the places"""
    left_out: dict[str, str]
    """columns of the part that are not kept: why"""


def keep_stretches(ctx: Context, table: pa.Table, time: str | None) -> Json:
    """Keep the stretches of a part's rows as an object; the fact that says so, or none without a time."""
    found = None if time is None else stretches_of(table, time)
    return {} if found is None else {STRETCHES: [time, ctx.ports.objects.put(canonical(found))]}


def stretch_objects(entries: Iterable[ManifestEntry]) -> set[str]:
    """The objects that hold the stretches of parts."""
    return {entry.facts[STRETCHES][1] for entry in entries if STRETCHES in entry.facts}


def stretches_of(table: pa.Table, time: str) -> Json | None:
    """Which values occurred when, plain; rows without a time are left out. None for times without bounds."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if table[time].null_count:
        table = table.filter(pc.is_valid(table[time]))
    times = table[time].cast(pa.int64()).to_numpy()
    order = None
    if (np.diff(times) < 0).any():
        order = np.argsort(times, kind="stable")
        times = times[order]
    starts = _starts(times)
    if starts is None:
        return None
    rows = np.diff(np.append(starts, times.size))
    ends = starts + rows - 1
    place = np.repeat(np.arange(starts.size), rows)
    is_long = (times[starts] < times[ends])[place] if starts.size else np.zeros(0, np.bool_)
    columns: Json = {}
    left_out: Json = {}
    for name in table.column_names:
        if name == time:
            continue
        found = _TOO_MANY if len(columns) >= _MOST_COLUMNS else _column(table[name], order, place, is_long)
        (left_out if isinstance(found, str) else columns)[name] = found
    return {
        "time": time,
        "first": _packed(times[starts]),
        "spans": _packed(times[ends] - times[starts]),
        "rows": _packed(rows),
        "columns": columns,
        "left_out": left_out,
    }


_TOO_MANY = f"only {_MOST_COLUMNS} columns are kept by stretches of time"


def _starts(times: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Where each stretch begins, of the finest width that makes few enough of them."""
    import numpy as np

    if not times.size:
        return np.empty(0, np.int64)
    for width in _WIDTHS:
        places = (times - 1) // width
        starts = np.append(0, np.flatnonzero(places[1:] != places[:-1]) + 1)
        most = max(_FEW_STRETCHES, times.size // 2) if width < _HOUR else _MOST_STRETCHES
        if starts.size <= most:
            return starts
    return None


def _column(
    values: pa.ChunkedArray,
    order: NDArray[np.int64] | None,
    place: NDArray[np.int64],
    is_long: NDArray[np.bool_],
) -> Json | str:
    """Values and runs of their places, or why they are not kept."""
    coded = _coded(values)
    if isinstance(coded, str):
        return coded
    known, codes = coded
    if order is not None:
        codes = codes[order]
    places, lengths = _runs(codes, place, is_long, len(known) + 1)
    if lengths.size > _MOST_RUNS:
        return f"its values change more than {_MOST_RUNS:,} times in a part"
    if codes.size > _MOST_VALUES and lengths.size > codes.size // 2 and is_long.any():
        return "its stretches of time have nearly as many values as rows"
    return {"values": known, "codes": _packed(places), "runs": _packed(lengths)}


def _runs(
    codes: NDArray[np.int64], place: NDArray[np.int64], is_long: NDArray[np.bool_], width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Codes from 0, which is no value, and how often each comes in turn; by code in long stretches."""
    import numpy as np

    codes = codes + 1
    if codes.size and (int(place[-1]) + 1) * width <= codes.size and is_long.all():
        counts = np.bincount(place * width + codes)
        found = np.flatnonzero(counts)
        return found % width, counts[found]
    if is_long.any():  # by place and code: each stretch stays where it is
        base = place[is_long] * width
        codes[is_long] = np.sort(base + codes[is_long]) - base
    is_new = np.ones(codes.size, np.bool_)
    is_new[1:] = (codes[1:] != codes[:-1]) | (place[1:] != place[:-1])
    begins = np.flatnonzero(is_new)
    return codes[begins], np.diff(np.append(begins, codes.size))


def _coded(values: pa.ChunkedArray) -> tuple[list[Any], NDArray[np.int64]] | str:
    import numpy as np
    import pyarrow as pa

    kind = values.type
    is_text, is_float = pa.types.is_string(kind), pa.types.is_floating(kind)
    if not (is_text or is_float or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        return "it is no number, text or truth"
    if len(values) > _MOST_VALUES:  # a key is soon told by its first rows
        among = len(_encoded(values.slice(0, _LOOKED_AT)).dictionary)
        if among > _NEARLY_ALL * _LOOKED_AT:
            return "nearly every row has another value of it"
    encoded = _encoded(values)
    if len(encoded.dictionary) > _MOST_VALUES:
        return f"a part has more than {_MOST_VALUES:,} different values of it"
    known = encoded.dictionary.to_pylist()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    if is_float:
        if any(map(math.isinf, known)):
            return "it holds infinite numbers"
        nans = {at for at, value in enumerate(known) if math.isnan(value)}
        if nans:
            codes[np.isin(codes, list(nans))] = -1
            known = [0.0 if at in nans else value for at, value in enumerate(known)]
    elif pa.types.is_integer(kind) and max(map(abs, known), default=0) > _EXACT:
        return "it holds whole numbers beyond 2^53"
    elif is_text and sum(map(len, known)) > _MOST_TEXT:
        return "its texts are too long"
    return known, codes


def _encoded(values: pa.ChunkedArray) -> pa.DictionaryArray:
    import pyarrow.compute as pc

    found = pc.dictionary_encode(values.combine_chunks())
    return found.combine_chunks() if hasattr(found, "combine_chunks") else found


def _packed(values: NDArray[np.int64]) -> str:
    """Whole numbers as the narrowest bytes that hold them, in text, many pressed; a constant as itself."""
    import numpy as np

    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    if low == high:
        return f"{values.size}x{low}"
    kind = next((k for k in ("u1", "u2", "u4") if low >= 0 and high <= np.iinfo(k).max), "i8")
    data = values.astype("<" + kind).tobytes()
    if len(data) > _PRESSED:
        kind, data = f"z{kind}", zlib.compress(data, 1)
    return f"{kind}:{base64.b64encode(data).decode()}"


def _unpacked(text: str) -> NDArray[np.int64]:
    import numpy as np

    kind, is_list, data = text.partition(":")
    if not is_list:
        count, _, value = text.partition("x")
        return np.full(int(count), int(value), np.int64)
    plain = base64.b64decode(data)
    plain = zlib.decompress(plain) if kind.startswith("z") else plain
    return np.frombuffer(plain, dtype=f"<{kind.removeprefix('z')}").astype(np.int64)


def stretches_in(ctx: Context, entry: ManifestEntry, columns: Iterable[str]) -> Stretches | None:
    """The stretches of a part with some columns, None where it has none."""
    if STRETCHES not in entry.facts:
        return None
    import numpy as np

    found = msgspec.json.decode(ctx.ports.objects.get(entry.facts[STRETCHES][1]))
    first = _unpacked(found["first"])
    there = {name: found["columns"][name] for name in columns if name in found["columns"]}
    return Stretches(
        time=found["time"],
        first=first,
        last=first + _unpacked(found["spans"]),
        rows=_unpacked(found["rows"]),
        columns={
            name: (each["values"], np.repeat(_unpacked(each["codes"]) - 1, _unpacked(each["runs"])))
            for name, each in there.items()
        },
        left_out=found["left_out"],
    )
