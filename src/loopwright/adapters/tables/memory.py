"""How much memory there is, and how much rows take: what decides between one piece and many."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.core.errors import Invalid

__all__ = ["budget_of", "opened_parquet", "spare_of", "widths_of"]

_SHARE = 2
"""of the machine's memory one half may be taken"""
_APART = 48 << 20
"""what the libraries' own threads and buffers come to beside the rows"""
_LEAST = 8
"""where the process has taken the budget already, this part of it is used all the same"""
_LOOKED_AT = 4096
_BUFFER = 1 << 18
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def budget_of(given: int | None) -> int:
    """The bytes of anonymous memory a piece of work may take: what was given, else half of the machine's.

    The machine has as much as its control group lets it have.
    """
    return _machine() // _SHARE if given is None else given


def spare_of(budget: int) -> int:
    """How much of a budget for the whole process is free for rows."""
    return max(budget - _anonymous() - _APART, budget // _LEAST)


def _machine() -> int:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for place in _LIMITS:
        with suppress(OSError, ValueError):
            total = min(total, int(Path(place).read_text("ascii")))
    return total


def _anonymous() -> int:
    """The process's anonymous memory, 0 where the system does not say."""
    with suppress(OSError, ValueError, IndexError):
        resident, shared = Path("/proc/self/statm").read_text("ascii").split()[1:3]
        return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
    return 0


def opened_parquet(path: str) -> pq.ParquetFile:
    """A Parquet file that is read in pieces: of a column no more than a quarter of a megabyte ahead."""
    try:
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER)
    except (pa.ArrowException, OSError) as error:
        raise Invalid(
            f"{path} is not Parquet, or is cut off: {str(error)[:200]}", hint="write it again"
        ) from error


def widths_of(path: str) -> dict[str, float]:
    """Bytes that a value of each column takes in memory, by the first rows of a Parquet file."""
    opened = opened_parquet(path)
    try:
        first = next(opened.iter_batches(batch_size=_LOOKED_AT, use_threads=False), None)
    except (pa.ArrowException, OSError) as error:
        raise Invalid(
            f"{path} is not Parquet, or is cut off: {str(error)[:200]}", hint="write it again"
        ) from error
    finally:
        opened.close()
    if first is None or not first.num_rows:
        return {}
    return {field.name: first.column(at).nbytes / first.num_rows for at, field in enumerate(first.schema)}
