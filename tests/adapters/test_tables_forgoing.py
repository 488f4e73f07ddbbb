"""Arrow begins without pandas where it is told to, and finds it when a frame of pandas is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow  # a process of its own: what was imported stays imported

PROGRAM = """
import sys
from loopwright.adapters.tables.forgoing import forgo_pandas
forgo_pandas()
import pyarrow as pa
table = pa.table({"a": [1.5, None]})
assert "pandas" not in sys.modules
frame = table.to_pandas()
assert "pandas" in sys.modules
assert pa.array(frame["a"]).null_count == 1
assert pa.Table.from_pandas(frame).equals(table)
"""


def test_pandas_is_looked_for_when_it_is_asked_for() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=120)
