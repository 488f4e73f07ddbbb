"""The Polars engine passes the suite of engines of tables."""

import numpy as np
import pyarrow as pa
import pytest

from loopwright.adapters.tables import PolarsTables, parquet
from loopwright.ports.tables import Tables
from loopwright.testing.tables import TablesSuite


class TestPolarsTables(TablesSuite):
    @pytest.fixture
    def tables(self) -> Tables:
        return PolarsTables()


def test_texts_that_one_chunk_of_plain_strings_cannot_hold_come_in_several(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parquet, "_TEXT_BYTES", 1000)
    texts = [None if n % 7 == 0 else "x" * n for n in range(90)] + ["y" * 5000]
    chunks = pa.chunked_array([pa.array(texts, pa.large_string()), pa.array([], pa.large_string())])
    found = parquet.plain_table(pa.table({"n": list(range(91)), "t": chunks}))
    assert found.schema.field("t").type == pa.string()
    assert found.column("t").to_pylist() == texts
    assert found.column("n").to_pylist() == list(range(91))
    sizes = [chunk.nbytes for chunk in found.column("t").chunks]
    assert len(sizes) > 4
    assert sorted(sizes)[-1] > 5000
    assert sorted(sizes)[-2] <= 1000


def test_a_slice_from_far_within_very_long_texts_is_read_as_what_it_holds() -> None:
    far = 1 << 31
    nothing = np.zeros(far + 100, np.uint8)  # never touched, so it costs no memory
    nothing[far + 50 :] = ord("z")
    places = np.array([0, far + 50, far + 53, far + 53, far + 60], np.int64)
    whole = pa.LargeStringArray.from_buffers(4, pa.py_buffer(places), pa.py_buffer(nothing))
    found = parquet.plain_table(pa.table({"t": whole}).slice(1))
    assert found.schema.field("t").type == pa.string()
    assert found.column("t").to_pylist() == ["zzz", "", "zzzzzzz"]
