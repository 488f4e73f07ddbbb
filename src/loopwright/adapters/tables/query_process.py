"""A process that runs queries of strangers and nothing else: shut off, limited, and thrown away afterwards.

It reads requests from standard input and answers on standard output, each as a length and JSON; rows follow
as an Arrow stream. Only the parent is trusted: the texts it hands on are not. It is run by its path and
imports nothing of ours, so that it is there at once.
"""

from __future__ import annotations

import os
import resource
import struct
import sys
from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

__all__ = ["LENGTH", "Answer", "Request", "main"]

LENGTH = struct.Struct(">Q")
_MAY_GIVE_TABLES = frozenset({"generate_series", "generate_subscripts", "range", "repeat", "unnest"})
_PLAIN = frozenset(
    {
        "BETWEEN",
        "CASE",
        "CAST",
        "COLLATE",
        "COLUMN_REF",
        "COMPARISON",
        "CONJUNCTION",
        "CONSTANT",
        "FUNCTION",
        "OPERATOR",
        "WINDOW",
    }
)
"""expressions that are computed of the columns they name and of nothing else"""
_ARROW = {"bool": "bool", "int": "int64", "float": "float64", "string": "string"}
_BATCH = 1024
_BESIDE = 3 << 30
"""address space for code, and for what the reader of Parquet holds"""
_LOCKED = (
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET allow_community_extensions = false",
    "SET python_enable_replacements = false",
    "SET preserve_insertion_order = true",
    "SET TimeZone = 'UTC'",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What the parent asks: to look at a query, or to run it over tables."""

    sql: str
    tables: dict[str, tuple[tuple[str, ...], dict[str, str]]] | None = None
    """by name their files and the types of columns; None: only look"""
    rows: int = 0
    result_bytes: int = 0


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    error: str = ""
    is_too_large: bool = False
    is_cut: bool = False
    tables: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    outputs: dict[str, tuple[tuple[str, ...], ...]] | None = None
    is_all: bool = False


class _Refused(Exception):
    """What a query may not be."""


# --------------------------------------------------------------------------------------------- looking


class _Names:
    """Walks through a query as its parser saw it."""

    def __init__(self) -> None:
        self.tables: dict[str, None] = {}
        self.names: dict[str, None] = {}
        self.made: set[str] = set()
        """names of what the query makes itself: of other queries in it, and of what it computes"""
        self.is_all = False

    def walk(self, node: Any) -> None:
        """Look at a node and at all beneath it."""
        waiting = [node]
        while waiting:
            at = waiting.pop()
            if isinstance(at, list):
                waiting.extend(at)
            elif isinstance(at, dict):
                self._look(at)
                waiting.extend(at.values())

    def _look(self, node: dict[str, Any]) -> None:
        match node.get("type"):
            case "BASE_TABLE":
                self._table(node)
            case "TABLE_FUNCTION":
                called = str(node["function"].get("function_name", "")).lower()
                if called not in _MAY_GIVE_TABLES:
                    raise _Refused(
                        f"a query may not call {called}(): it reads the datasets it names, nothing else"
                    )
            case "COLUMN_REF":
                parts = [str(part) for part in node.get("column_names", ())]
                self.names.update(dict.fromkeys(parts[1:] or parts))
            case "STAR" | "SHOW_REF" | "PIVOT":
                self.is_all = True
            case "JOIN":
                self.names.update(dict.fromkeys(map(str, node.get("using_columns", ()))))
                self.is_all |= node.get("ref_type") == "NATURAL"
        if isinstance(node.get("cte_map"), dict):
            self.made.update(str(each["key"]) for each in node["cte_map"].get("map", ()))
        if "class" in node and node.get("alias"):
            self.made.add(str(node["alias"]))

    def _table(self, node: dict[str, Any]) -> None:
        path = node.get("qualified_name", {}).get("path") or [node.get("table_name", "")]
        if len(path) > 1 or node.get("schema_name") or node.get("catalog_name"):
            raise _Refused(f"a query may not read {'.'.join(map(str, path))}: it reads the datasets it names")
        self.tables[str(path[0])] = None


def _looked(connection: duckdb.DuckDBPyConnection, sql: str) -> Answer:
    if not sql.strip():
        raise _Refused("the query is empty")
    ((told,),) = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
    found = msgspec.json.decode(told)
    if found.get("error"):
        said = str(found.get("error_message", ""))
        raise _Refused("a query is one SELECT" if "Only SELECT" in said else said)
    if len(found["statements"]) != 1:
        raise _Refused("a query is one SELECT, and here are several")
    names = _Names()
    names.walk(found["statements"])
    return Answer(
        tables=tuple(names.tables),
        names=tuple(names.names),
        made=tuple(names.made),
        outputs=_outputs(found["statements"][0]["node"]),
        is_all=names.is_all,
    )


def _outputs(node: dict[str, Any]) -> dict[str, tuple[tuple[str, ...], ...]] | None:
    """By column of the result what it is computed of, where a plain SELECT from tables says so."""
    if node.get("type") != "SELECT_NODE" or node["cte_map"]["map"] or not _is_plain(node["from_table"]):
        return None
    stars = [each for each in node["select_list"] if each["type"] == "STAR"]
    if any(star[key] for star in stars for key in ("replace_list", "rename_list", "columns", "expr")):
        return None
    found: dict[str, tuple[tuple[str, ...], ...]] = {}
    for each in node["select_list"]:
        if each["type"] == "STAR":
            continue
        name = (each["alias"] or (each["column_names"][-1] if each["type"] == "COLUMN_REF" else "")).lower()
        parts = list(_parts_of(each))
        if name in found or (stars and None in parts):
            return None
        if name and None not in parts:
            found[name] = tuple(tuple(part) for part in parts if part is not None)
    return found


def _is_plain(place: dict[str, Any]) -> bool:
    """Whether rows come from tables and joins of them alone, with columns under their own names."""
    if place["type"] == "JOIN":
        return _is_plain(place["left"]) and _is_plain(place["right"])
    return place["type"] == "EMPTY" or (place["type"] == "BASE_TABLE" and not place["column_name_alias"])


def _parts_of(node: Any) -> Iterator[list[str] | None]:
    """The names an expression is computed of; None where it may be computed of others too."""
    if isinstance(node, list):
        for each in node:
            yield from _parts_of(each)
    elif isinstance(node, dict):
        if "class" in node and node["class"] not in _PLAIN:
            yield None
        elif node.get("class") == "COLUMN_REF":
            yield [str(part) for part in node["column_names"]]
        else:
            for each in node.values():
                yield from _parts_of(each)


# --------------------------------------------------------------------------------------------- running


def _ran(connection: duckdb.DuckDBPyConnection, asked: Request) -> tuple[Answer, pa.Table]:
    looked = _looked(connection, asked.sql)
    tables = asked.tables or {}
    if missing := [name for name in looked.tables if name not in tables and name not in looked.made]:
        raise _Refused(f"the query reads {missing[0]!r}, which is none of its datasets")
    with connection.cursor() as cursor:  # closed, it lets go of rows that nobody takes any more
        for name, (files, columns) in tables.items():
            cursor.register(name, _source(files, columns))
        table, is_cut = _first(cursor.sql(asked.sql).to_arrow_reader(_BATCH), asked)
    return Answer(is_cut=is_cut), table


def _source(files: tuple[str, ...], columns: Mapping[str, str]) -> Any:
    import pyarrow as pa
    import pyarrow.dataset

    schema = pa.schema([(name, _arrow(kind)) for name, kind in columns.items()])
    return (
        pyarrow.dataset.dataset(list(files), format="parquet", schema=schema)
        if files
        else schema.empty_table()
    )


def _arrow(kind: str) -> pa.DataType:
    import pyarrow as pa

    return pa.timestamp("us", "UTC") if kind == "instant" else pa.type_for_alias(_ARROW[kind])


def _first(reader: pa.RecordBatchReader, asked: Request) -> tuple[pa.Table, bool]:
    import pyarrow as pa

    batches, rows, size, is_cut = list[Any](), 0, 0, False
    for batch in reader:
        size += batch.nbytes
        kept = batch.slice(0, asked.rows - rows)
        is_cut = size > asked.result_bytes or kept.num_rows < batch.num_rows
        if size > asked.result_bytes:
            break
        batches.append(kept)
        rows += kept.num_rows
        if is_cut:
            break
    if len(set(reader.schema.names)) != len(reader.schema.names):
        raise _Refused("two columns of the result have one name: name them by AS")
    return _plain(pa.Table.from_batches(batches, reader.schema)), is_cut


def _plain(table: pa.Table) -> pa.Table:
    import pyarrow as pa

    return pa.table({name: _column(table.column(name)) for name in table.column_names})


def _column(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """In the platform's types: whole numbers that fit are integers, what it has no type for is text."""
    import pyarrow as pa

    kind = values.type
    if pa.types.is_decimal(kind):
        if kind.scale == 0:
            try:
                return values.cast(pa.int64())
            except pa.ArrowInvalid:
                pass
        return values.cast(pa.float64())
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        plain = values.cast(pa.timestamp("us")) if kind != pa.timestamp("us", "UTC") else values
        return plain.cast(pa.timestamp("us", "UTC"))
    if pa.types.is_unsigned_integer(kind) and kind.bit_width == 64:
        return values.cast(pa.float64(), safe=False)
    simple = (
        (pa.types.is_boolean, "bool"),
        (pa.types.is_integer, "int64"),
        (pa.types.is_floating, "float64"),
    )
    for holds, name in simple:
        if holds(kind):
            return values.cast(pa.type_for_alias(name))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return values.cast(pa.string())
    texts = [None if value is None else str(value) for value in values.to_pylist()]
    return pa.chunked_array([pa.array(texts, pa.string())])


# --------------------------------------------------------------------------------------------- talking


def main() -> None:
    """Answer the parent until it closes; arguments: a folder, bytes of memory and of disk, seconds."""
    folder, memory, scratch, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing a library prints may look like an answer
    _limit(memory, scratch, seconds)
    connection = _connected(folder, memory, scratch)
    for asked in _requests(sys.stdin.buffer):
        answer, rows = _answered(connection, asked)
        for part in (msgspec.json.encode(answer), rows):
            answers.write(LENGTH.pack(len(part)) + part)
        answers.flush()


def _limit(memory: int, scratch: int, seconds: float) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory + _BESIDE, memory + _BESIDE))
    resource.setrlimit(resource.RLIMIT_FSIZE, (scratch, scratch))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    spent = int(10 * seconds) + 60
    resource.setrlimit(resource.RLIMIT_CPU, (spent, spent))


def _connected(folder: str, memory: int, scratch: int) -> duckdb.DuckDBPyConnection:
    import duckdb

    config: dict[str, Any] = {
        "temp_directory": folder,
        "memory_limit": f"{memory}B",
        "max_temp_directory_size": f"{scratch}B",
        "threads": 1,
    }
    connection = duckdb.connect(":memory:", config=config)
    for setting in _LOCKED:
        connection.execute(setting)
    return connection


def _requests(stream: IO[bytes]) -> Iterator[Request]:
    while len(head := stream.read(LENGTH.size)) == LENGTH.size:
        yield msgspec.json.decode(stream.read(LENGTH.unpack(head)[0]), type=Request)


def _answered(connection: duckdb.DuckDBPyConnection, asked: Request) -> tuple[Answer, bytes]:
    import duckdb
    import pyarrow as pa

    try:
        if asked.tables is None:
            return _looked(connection, asked.sql), b""
        answer, table = _ran(connection, asked)
    except _Refused as error:
        return Answer(error=str(error)), b""
    except (duckdb.OutOfMemoryException, MemoryError, pa.ArrowMemoryError):
        return Answer(error="the query needs more memory or disk than it may have", is_too_large=True), b""
    except (duckdb.Error, pa.ArrowException, RecursionError, OSError) as error:
        return Answer(error=_short(str(error))), b""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return answer, sink.getvalue().to_pybytes()


def _short(said: str) -> str:
    """What the engine says, without the picture of the place it draws."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.strip().startswith("^")]
    return " ".join(lines)[:400]


if __name__ == "__main__":
    main()
