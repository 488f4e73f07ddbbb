"""The conformance suite that every engine of tables passes."""

from __future__ import annotations

import io
import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from loopwright.core.errors import Invalid
from loopwright.core.expressions import Expr, col, evaluate, lit, when
from loopwright.core.instants import to_micros
from loopwright.core.schema import ColumnType
from loopwright.ports.tables import RowCheck, Tables

__all__ = ["TablesSuite", "sample_table"]

_START = datetime(2013, 1, 1, tzinfo=UTC)


def sample_table(rows: int = 100) -> pa.Table:
    """A table with every type the platform keeps, with nulls, a NaN and repeated values."""
    return pa.table(
        {
            "at": pa.array([_START + timedelta(minutes=i) for i in range(rows)], pa.timestamp("us", "UTC")),
            "carrier": pa.array(
                [None if i % 10 == 9 else "AAUADLB6"[2 * (i % 4) :][:2] for i in range(rows)]
            ),
            "delay": pa.array([None if i % 7 == 6 else i - 20 for i in range(rows)], pa.int64()),
            "wind": pa.array([math.nan if i == 3 else i / 4 for i in range(rows)], pa.float64()),
            "late": pa.array([i % 3 == 0 for i in range(rows)], pa.bool_()),
        }
    )


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    """Rows with instants as microseconds and NaN as a word, so that they compare."""
    return [{name: _comparable(value) for name, value in row.items()} for row in table.to_pylist()]


def _comparable(value: object) -> object:
    if isinstance(value, datetime):
        return to_micros(value)
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


class TablesSuite:
    """What every engine of tables does. A subclass gives the fixture `tables`."""

    @pytest.fixture
    def tables(self) -> Tables:
        """The engine."""
        raise NotImplementedError

    # -- files ----------------------------------------------------------------------------------------------

    def test_a_file_gives_back_the_table(self, tables: Tables) -> None:
        table = sample_table()
        found = tables.read([io.BytesIO(tables.write(table))])
        assert found.schema == table.schema
        assert _rows(found) == _rows(table)

    def test_equal_tables_give_equal_bytes(self, tables: Tables) -> None:
        table = sample_table(500)
        chunked = pa.concat_tables([table.slice(0, 123), table.slice(123)])
        noted = table.replace_schema_metadata({"made": "yesterday"})
        assert tables.write(table) == tables.write(table) == tables.write(chunked) == tables.write(noted)

    @pytest.mark.parametrize("rows", [0, 1, 100, 131_072, 140_000])
    def test_a_file_in_pieces_is_that_at_once(self, tables: Tables, rows: int) -> None:
        table = pa.table(
            {"n": pa.array(range(rows), pa.int64()), "few": pa.array([1, 2] * (rows // 2) + [3] * (rows % 2))}
        )
        pieces = (table.slice(at, 30_000) for at in range(0, max(rows, 1), 30_000))
        data = b"".join(tables.write_batches(pieces))
        assert data == tables.write(table)
        found = list(tables.batches(io.BytesIO(data), columns=["n", "nothing"], rows=50_000))
        assert all(piece.num_rows <= 50_000 and piece.column_names == ["n"] for piece in found)
        assert [n for piece in found for n in piece["n"].to_pylist()] == list(range(rows))

    def test_a_footer_says_between_which_values_columns_lie(self, tables: Tables) -> None:
        table = sample_table(140_000)
        found = tables.ranges(io.BytesIO(tables.write(table)))
        assert (found["delay"].low, found["delay"].high) == (-20, 139_978)
        assert found["delay"].nulls == table["delay"].null_count
        assert (found["carrier"].low, found["carrier"].high) == ("AA", "UA")
        assert found["at"].low == to_micros(_START)
        assert (found["wind"].low, found["wind"].high) == (0.0, 139_999 / 4)
        nothing = pa.table({"x": pa.nulls(3, pa.int64())})
        assert "x" not in tables.ranges(io.BytesIO(tables.write(nothing)))

    def test_equal_values_fall_into_one_bucket(self, tables: Tables) -> None:
        table = sample_table()
        twice = pa.concat_tables([table, table])
        found = tables.buckets(twice, ["carrier", "wind"], 7)
        assert found.shape == (200,)
        assert (found[:100] == found[100:]).all()
        assert set(found.tolist()) <= set(range(7))
        assert len(set(found.tolist())) > 3

    def test_an_empty_table_keeps_its_columns(self, tables: Tables) -> None:
        table = sample_table().slice(0, 0)
        found = tables.read([io.BytesIO(tables.write(table))])
        assert found.num_rows == 0
        assert found.schema == table.schema

    def test_files_are_read_in_order_with_columns_and_condition(self, tables: Tables, tmp_path: Path) -> None:
        table = sample_table(90)
        paths = []
        for i in range(3):
            path = tmp_path / f"{i}.parquet"
            path.write_bytes(tables.write(table.slice(i * 30, 30)))
            paths.append(str(path))
        cut = to_micros(_START + timedelta(minutes=25))
        found = tables.read(paths, columns=["wind", "carrier"], where=(col("at") >= cut) & col("late"))
        wanted = [row for row in table.to_pylist() if to_micros(row["at"]) >= cut and row["late"]]
        assert found.column_names == ["wind", "carrier"]
        assert found.to_pylist() == [{"wind": row["wind"], "carrier": row["carrier"]} for row in wanted]

    def test_a_column_that_a_file_lacks_is_null_there(self, tables: Tables) -> None:
        table = sample_table(20)
        files = [table.drop_columns(["wind"]).slice(0, 10), table.slice(10)]
        for order in (files, files[::-1]):
            found = tables.read([io.BytesIO(tables.write(part)) for part in order])
            wanted = pa.concat_tables(order, promote_options="default")
            assert found.num_rows == 20
            assert found["wind"].null_count == 10
            assert found["at"].to_pylist() == wanted["at"].to_pylist()
        found = tables.read([io.BytesIO(tables.write(part)) for part in files], where=col("wind") > 3.0)
        assert found["wind"].to_pylist() == [i / 4 for i in range(13, 20)]

    def test_no_files_are_no_rows(self, tables: Tables) -> None:
        assert tables.read([], columns=["a"]).column_names == ["a"]
        assert tables.read([]).num_rows == 0

    def test_what_cannot_be_read_is_invalid(self, tables: Tables) -> None:
        good = tables.write(sample_table(10))
        for bad in (b"", b"not parquet at all", good[: len(good) // 2]):
            with pytest.raises(Invalid) as caught:
                tables.read([io.BytesIO(bad)])
            assert caught.value.hint
        for asked in ({"columns": ["nothing"]}, {"where": col("nothing") > 1}):
            with pytest.raises(Invalid, match="nothing"):
                tables.read([io.BytesIO(good)], **asked)

    def test_schema_names_the_types(self, tables: Tables) -> None:
        found = tables.schema_of(sample_table())
        assert [(c.name, c.type, c.nullable) for c in found.columns] == [
            ("at", ColumnType.INSTANT, False),
            ("carrier", ColumnType.STRING, True),
            ("delay", ColumnType.INT, True),
            ("wind", ColumnType.FLOAT, False),
            ("late", ColumnType.BOOL, False),
        ]

    def test_a_time_without_a_zone_and_a_list_are_refused(self, tables: Tables) -> None:
        for kind in (pa.timestamp("us"), pa.list_(pa.int64()), pa.struct({"a": pa.int64()})):
            with pytest.raises(Invalid, match="'x'"):
                tables.schema_of(pa.table({"x": pa.nulls(1, kind)}))

    # -- expressions ----------------------------------------------------------------------------------------

    def test_compute_means_what_evaluate_means(self, tables: Tables) -> None:
        table = sample_table()
        asked: dict[str, Expr] = {
            "half": col("delay") / 2,
            "tenth": col("wind") / 10.0,
            "floor": col("delay") // 7,
            "rest": col("delay") % 7,
            "minute": (col("at") // 60_000_000) % 60,
            "side": when(col("wind") > 5, "high", "low"),
            "known": ~col("carrier").is_null(),
            "big": col("carrier").is_in(["AA", "UA"]) | col("late"),
            "one": lit(1),
        }
        found = tables.compute(table, asked)
        assert found.column_names == list(asked)
        assert found.num_rows == table.num_rows
        inputs = [{name: _plain(value) for name, value in row.items()} for row in table.to_pylist()]
        wanted = [{name: evaluate(expr, row) for name, expr in asked.items()} for row in inputs]
        assert _rows(found) == [{name: _comparable(value) for name, value in row.items()} for row in wanted]

    def test_select_keeps_order_and_all_columns(self, tables: Tables) -> None:
        table = sample_table()
        found = tables.select(table, col("delay") < 0)
        assert found.schema == table.schema
        assert _rows(found) == [row for row in _rows(table) if row["delay"] is not None and row["delay"] < 0]

    # -- checks ---------------------------------------------------------------------------------------------

    def test_checks_count_failures_and_name_the_first_ten(self, tables: Tables) -> None:
        table = sample_table()
        found = tables.check(
            table,
            [
                RowCheck(name="wind range", expr=col("wind").between(0, 20)),
                RowCheck(name="delay", expr=col("delay") >= -20),
                RowCheck(name="delay there", expr=col("delay") >= -20, null_fails=True),
                RowCheck(name="never", expr=lit(False)),
            ],
        )
        assert [(r.name, r.failed, r.rows) for r in found] == [
            ("wind range", 20, 100),
            ("delay", 0, 100),
            ("delay there", 14, 100),
            ("never", 100, 100),
        ]
        assert found[0].first == (3, *range(81, 90))
        assert found[1].first == ()
        assert found[2].first == tuple(range(6, 70, 7))
        assert found[3].first == tuple(range(10))

    def test_an_empty_table_fails_no_check(self, tables: Tables) -> None:
        found = tables.check(sample_table().slice(0, 0), [RowCheck(name="a", expr=col("wind") > 1)])
        assert [(r.failed, r.rows, r.first) for r in found] == [(0, 0, ())]
        assert tables.check(sample_table(), []) == ()

    # -- profiles -------------------------------------------------------------------------------------------

    def test_a_profile_agrees_with_plain_python(self, tables: Tables) -> None:
        table = sample_table(1000)
        found = tables.profile(table)
        assert json.loads(json.dumps(found)) == found
        assert found["rows"] == 1000
        delay = found["columns"]["delay"]
        values = sorted(value for value in table["delay"].to_pylist() if value is not None)
        mean = sum(values) / len(values)
        spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
        assert (delay["type"], delay["count"], delay["nulls"]) == ("int", len(values), 1000 - len(values))
        assert (delay["distinct"], delay["min"], delay["max"]) == (len(set(values)), values[0], values[-1])
        assert delay["mean"] == pytest.approx(mean)
        assert delay["std"] == pytest.approx(spread)
        assert delay["quantiles"]["0.5"] == pytest.approx(values[len(values) // 2], abs=2)
        shape = delay["histogram"]
        assert len(shape["edges"]) == len(shape["counts"]) + 1
        assert sum(shape["counts"]) + shape["below"] + shape["above"] == len(values)

    def test_a_profile_of_words_instants_and_nan(self, tables: Tables) -> None:
        columns = tables.profile(sample_table(1000))["columns"]
        carrier = columns["carrier"]
        assert carrier["distinct"] == 4
        assert sum(item["count"] for item in carrier["top"]) == carrier["count"]
        assert carrier["top"] == sorted(carrier["top"], key=lambda item: (-item["count"], item["value"]))
        assert columns["at"]["min"] == "2013-01-01T00:00:00Z"
        assert columns["wind"]["nan"] == 1
        assert columns["wind"]["max"] == 999 / 4
        assert {item["value"]: item["count"] for item in columns["late"]["top"]} == {True: 334, False: 666}

    def test_odd_tables_have_a_profile(self, tables: Tables) -> None:
        odd = pa.table(
            {
                "none": pa.nulls(3, pa.float64()),
                "same": pa.array([2.0, 2.0, 2.0]),
                "endless": pa.array([math.inf, 1.0, -math.inf]),
                "untyped": pa.nulls(3),
            }
        )
        for table in (odd, odd.slice(0, 0), pa.table({})):
            found = tables.profile(table)
            assert found["rows"] == table.num_rows
            assert json.loads(json.dumps(found, allow_nan=False)) == found
        assert tables.profile(odd)["columns"]["same"]["histogram"]["counts"] == [3]

    def test_a_profile_like_another_counts_between_its_edges(self, tables: Tables) -> None:
        first = tables.profile(
            pa.table({"x": [0.0, 10.0, 20.0], "y": [1, 1, 1], "z": pa.nulls(3, pa.int64())})
        )
        values = [-5.0, 0.0, 10.0, 20.0, 20.5, math.inf, -math.inf, math.nan, None]
        part = pa.table({"x": values, "y": list(range(9)), "z": list(range(9)), "w": list(range(9))})
        found = tables.profile(part, like=first)["columns"]
        shape, before = found["x"]["histogram"], first["columns"]["x"]["histogram"]
        assert (shape["edges"], sum(shape["counts"])) == (before["edges"], 3)
        assert (shape["below"], shape["above"]) == (2, 2)
        assert [found["y"]["histogram"][key] for key in ("counts", "below", "above")] == [[1], 1, 7]
        assert found["z"]["histogram"] == found["w"]["histogram"]

    def test_fingerprints_are_those_of_values(self, tables: Tables) -> None:
        rows = pa.table(
            {
                "n": [1, 1, None, 2, None, 1],
                "x": [0.0, -0.0, math.nan, 0.5, math.nan, 0.0],
                "t": ["a", "a", None, "", None, ""],
            }
        )
        found = [tuple(each) for each in tables.fingerprints(rows).tolist()]
        assert found[0] == found[1]
        assert found[2] == found[4]
        assert len(set(found)) == 4
        apart = pa.table({"a": ["ab", "a"], "b": ["c", "bc"]})
        assert len({tuple(each) for each in tables.fingerprints(apart).tolist()}) == 2
        many = tables.fingerprints(pa.table({"n": list(range(100_000))}))
        assert {len(set(many[:, at].tolist())) for at in (0, 1)} == {100_000}
        assert len(set((many[:, 0] ^ many[:, 1]).tolist())) == 100_000

    # -- joins ----------------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    return to_micros(value) if isinstance(value, datetime) else value
