"""Whatever strangers send as data is kept as it is or refused with what, where and what next; never half."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import os
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loopwright.core.errors import Invalid, LoopwrightError, NotFound, TooLarge
from loopwright.data.appending import append
from loopwright.data.checking import check_file
from loopwright.data.files import add, check_out
from loopwright.data.profiling import profile_file
from loopwright.data.reading import read
from loopwright.data.sources import ingest
from loopwright.data.uploads import table_of_file
from loopwright.engine.context import Context


@pytest.fixture
def ctx(ctx_on_disk: Context) -> Context:
    return ctx_on_disk


def stored(ctx: Context) -> tuple[list[str], list[bytes]]:
    """Every object, read and verified, and every row of the ledger."""
    digests = sorted(stat.digest for stat in ctx.ports.objects.list())
    for digest in digests:
        ctx.ports.objects.get(digest)
    return digests, list(ctx.ports.ledger.dump())


@contextmanager
def refused(ctx: Context, *kinds: type[LoopwrightError]) -> Iterator[None]:
    """A refusal that says what to do next, in few words; and the store is as it was."""
    before = stored(ctx)
    with pytest.raises(kinds or (Invalid,)) as told:
        yield
    assert told.value.hint
    assert len(str(told.value)) < 600
    assert stored(ctx) == before


def offered(ctx: Context, path: Path) -> pa.Table:
    """Read a file and keep it; what is read again."""
    append(ctx, "d", table_of_file(str(path)))
    return read(ctx, "d")


# ------------------------------------------------------------------------------------------- Arrow's types

DAY = dt.date(1583, 1, 1)
NESTED = pa.array([[[[1]]]])
NO_TEXT = pa.Array.from_buffers(
    pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\3\0\0\0"), pa.py_buffer(b"a\xff\xfe")]
)


def _one(values: pa.Array | pa.ChunkedArray) -> pa.Table:
    return pa.table({"x": values})


def _deep(levels: int) -> pa.Array:
    found = pa.array([1])
    for _ in range(levels):
        found = pa.StructArray.from_arrays([found], names=["a"])
    return found


TABLES: dict[str, Callable[[], pa.Table]] = {
    "the same name twice": lambda: pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"]),
    "no name": lambda: pa.Table.from_arrays([pa.array([1])], names=[""]),
    "a name of a line": lambda: pa.Table.from_arrays([pa.array([1])], names=["a\nb"]),
    "a name of escapes": lambda: pa.Table.from_arrays([pa.array([1])], names=["\x1b[31m"]),
    "a name that is turned": lambda: pa.Table.from_arrays([pa.array([1])], names=["a\u202eb"]),
    "a very long name": lambda: pa.Table.from_arrays([pa.array([1])], names=["n" * 1_000_000]),
    "lists": lambda: _one(NESTED),
    "a hundred levels": lambda: _one(_deep(100)),
    "a map": lambda: _one(pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))),
    "a union": lambda: _one(pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])),
    "decimals": lambda: _one(pa.array([Decimal("1.10")])),
    "wide decimals": lambda: _one(pa.array([Decimal(10) ** 60], pa.decimal256(76, 2))),
    "an interval": lambda: _one(pa.array([(1, 2, 3)], pa.month_day_nano_interval())),
    "a duration": lambda: _one(pa.array([5], pa.duration("s"))),
    "a time of day": lambda: _one(pa.array([5], pa.time64("ns"))),
    "bytes": lambda: _one(pa.array([b"\xff\0"])),
    "bytes of one length": lambda: _one(pa.array([b"ab"], pa.binary(2))),
    "nothing but nulls": lambda: _one(pa.nulls(3)),
    "texts that are none": lambda: _one(NO_TEXT),
    "an early day": lambda: _one(pa.array([DAY])),
    "an early instant": lambda: _one(pa.array([-(10**15)], pa.timestamp("us", "UTC"))),
    "an instant out of range": lambda: _one(pa.array([2**62], pa.timestamp("s", "UTC"))),
    "an instant of the year 12000": lambda: _one(
        pa.array([316_538_150_400_000_000], pa.timestamp("us", "UTC"))
    ),
    "a day of the year 12000": lambda: _one(pa.array([3_663_636], pa.date32())),
    "nanoseconds": lambda: _one(pa.array([1], pa.timestamp("ns", "UTC"))),
    "a time without a zone": lambda: _one(pa.array([1], pa.timestamp("us"))),
    "another zone": lambda: _one(pa.array([1], pa.timestamp("us", "Asia/Kathmandu"))),
    "a zone that is none": lambda: _one(pa.array([1], pa.timestamp("us", "Mars/Olympus"))),
    "no numbers": lambda: _one(pa.array([float("nan"), float("inf"), -float("inf"), -0.0])),
    "half floats": lambda: _one(pa.array([1.5], pa.float32()).cast(pa.float16())),
    "a large unsigned": lambda: _one(pa.array([2**64 - 1], pa.uint64())),
    "a dictionary": lambda: _one(pa.array(["a", "b", "a"]).dictionary_encode()),
    "a dictionary of numbers": lambda: _one(pa.array([1, 2, 1]).dictionary_encode()),
    "run ends": lambda: _one(pa.RunEndEncodedArray.from_arrays(pa.array([2], pa.int32()), pa.array([7]))),
    "views of texts": lambda: _one(pa.array(["a"], pa.string_view())),
    "large texts": lambda: _one(pa.array(["a"], pa.large_string())),
    "a text with a null": lambda: _one(pa.array(["a\0b"])),
    "no rows": lambda: _one(pa.array([], pa.int64())),
    "no columns": lambda: pa.table({}),
    "no columns, but rows": lambda: pa.table({"x": [1, 2]}).select([]),
    "ten thousand columns": lambda: pa.table({f"c{n}": [1] for n in range(10_000)}),
}
REFUSED = {
    "the same name twice",
    "no name",
    "a name of a line",
    "a name of escapes",
    "a name that is turned",
    "run ends",
    "a very long name",
    "lists",
    "a hundred levels",
    "a map",
    "a union",
    "an interval",
    "a duration",
    "a time of day",
    "bytes",
    "bytes of one length",
    "texts that are none",
    "an instant out of range",
    "an instant of the year 12000",
    "a day of the year 12000",
    "a time without a zone",
    "a large unsigned",
    "no columns",
    "no columns, but rows",
    "ten thousand columns",
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_any_type_is_kept_or_refused(ctx: Context, name: str) -> None:
    table = TABLES[name]()
    if name in REFUSED:
        with refused(ctx, Invalid, TooLarge):
            append(ctx, "d", table)
        return
    append(ctx, "d", table)
    found = read(ctx, "d")
    assert found.column_names == table.column_names
    assert repr(found.to_pylist()) == repr(read(ctx, "d@1").to_pylist())
    assert found.num_rows == table.num_rows
    append(ctx, "d", table)
    assert read(ctx, "d").num_rows == 2 * table.num_rows


# --------------------------------------------------------------------------------------------------- files


def _parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def _ipc(table: pa.Table) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_file(out, table.schema) as file:
        file.write_table(table)
    return out.getvalue()


PLAIN = pa.table({"k": list(range(400)), "t": [f"text {n % 50}" for n in range(400)]})


def _zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", data)
    return out.getvalue()


FILES: dict[str, Callable[[], bytes]] = {
    "magic.parquet": lambda: b"PAR2" + _parquet(PLAIN)[4:-4] + b"PAR2",
    "no-footer.parquet": lambda: _parquet(PLAIN)[:-8],
    "long-footer.parquet": lambda: _parquet(PLAIN)[:-8] + b"\xff\xff\xff\x7fPAR1",
    "half.parquet": lambda: _parquet(PLAIN)[: len(_parquet(PLAIN)) // 2],
    "footer-alone.parquet": lambda: b"PAR1" + _parquet(PLAIN)[-400:],
    "no-text.parquet": lambda: _parquet(_one(NO_TEXT)),
    "csv.parquet": lambda: b"a,b\n1,2\n",
    "text.arrow": lambda: b"a,b\n1,2\n",
    "latin.csv": lambda: "name\nZo\xeb\n".encode("latin-1"),
    "utf16.csv": lambda: "name\nZoe\n".encode("utf-16"),
    "utf32.csv": lambda: "name\nZoe\n".encode("utf-32"),
    "bytes.csv": lambda: bytes(range(256)) * 40,
    "ragged.csv": lambda: b"a,b\n1,2\n3\n",
    "open-quote.csv": lambda: b'a\n"' + b"x" * 3_000_000,
    "packed.zip": lambda: _zipped(b"a\n1\n"),
    "packed.csv": lambda: _zipped(b"a\n1\n"),
    "twice-packed.csv.gz": lambda: gzip.compress(gzip.compress(b"a\n1\n")),
    "packed.csv.zst": lambda: pa.Codec("zstd").compress(b"a\n1\n" * 99, asbytes=True),
    "latin.jsonl": lambda: '{"a": "Zo\xeb"}\n'.encode("latin-1"),
    "open.jsonl": lambda: b'{"a": 1}\n{"a": ',
    "list.jsonl": lambda: b"[1, 2]\n",
    "number.jsonl": lambda: b'{"a": 1e999999}\n{"a": 99999999999999999999999999}\n{"a": "x"}\n',
    "mixed-times.csv": lambda: b"at\n2024-01-01T00:00:00Z\n2024-01-01 00:00:00\n",
    "naive.csv": lambda: b"at\n2024-01-01 00:00:00\n",
    "nothing.parquet": lambda: b"",
    "zeros.parquet": lambda: b"\0" * 100_000,
}
SHOWN = {"naive.csv"}
"""a profile reads times without a zone as UTC unless it is told another one"""
KEPT_FILES = {"mixed-times.csv": "string"}
"""columns of several kinds of text are texts"""


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_broken_or_another_one_is_refused(ctx: Context, tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    place.write_bytes(FILES[name]())
    append(ctx, "d", pa.table({"x": [1]}), batch="good")
    if name in KEPT_FILES:
        found = offered(ctx, place)
        assert str(found.schema.field("at").type) == KEPT_FILES[name]
        return
    with refused(ctx, Invalid, TooLarge):
        offered(ctx, place)
    if name not in SHOWN:
        with refused(ctx, Invalid, TooLarge):
            profile_file(ctx, str(place))


FLIPPER = """
import io, os, random, sys
import pyarrow as pa
import pyarrow.parquet as pq
from loopwright.core.errors import Invalid, TooLarge
from loopwright.data.uploads import read_table
from tests.data.test_hostile import PLAIN, _ipc, _parquet
made = {"a.parquet": _parquet(PLAIN), "a.arrow": _ipc(PLAIN)}
chance, seen = random.Random(int(sys.argv[1])), {"read": 0, "refused": 0}
for at in range(int(sys.argv[2])):
    name = ("a.parquet", "a.arrow")[at % 2]
    data = bytearray(made[name])
    for _ in range(chance.randrange(1, 8)):
        data[chance.randrange(len(data))] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
    try:
        table = read_table(io.BytesIO(bytes(data)), "", {}, path=name)
        table.to_pylist()
        seen["read"] += 1
    except (Invalid, TooLarge):
        seen["refused"] += 1
print(seen, flush=True)
os._exit(0)  # threads of Arrow that stopped amid a file may abort an interpreter that ends
"""


def _flipped(seed: int, count: int) -> str:
    told = subprocess.run(
        [sys.executable, "-c", FLIPPER, str(seed), str(count)],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert told.returncode == 0, told.stderr[-2000:]
    return told.stdout


def test_files_with_single_bytes_changed_are_read_or_refused() -> None:
    assert "'refused': 0" not in _flipped(1, 80)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_many_files_with_single_bytes_changed_are_read_or_refused(seed: int) -> None:
    assert "'refused': 0" not in _flipped(seed, 4_000)


def _fifo(place: Path) -> None:
    os.mkfifo(place)


def _socket(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(place.parent)  # a path of a socket is short
        made.bind(place.name)
        os.chdir(here)


def _loop(place: Path) -> None:
    place.symlink_to(place)


def _device(place: Path) -> None:
    place.symlink_to("/dev/zero")


@pytest.mark.parametrize("trap", [_fifo, _socket, _loop, _device])
@pytest.mark.parametrize("way", ["table", "profile", "ingest", "check"])
def test_what_is_no_regular_file_is_refused_at_once(
    ctx: Context, tmp_path: Path, trap: Callable[[Path], None], way: str
) -> None:
    place = tmp_path / "a.csv"
    trap(place)
    ways: dict[str, Callable[[], object]] = {
        "table": lambda: table_of_file(str(place)),
        "profile": lambda: profile_file(ctx, str(place)),
        "ingest": lambda: ingest(ctx, str(place), into="d"),
        "check": lambda: check_file(ctx, str(place), contract=str(tmp_path / "c.json")),
    }
    (tmp_path / "c.json").write_text('{"name": "c", "columns": [{"name": "x", "type": "int"}]}')
    before = {stat.digest for stat in ctx.ports.objects.list()}
    with pytest.raises((Invalid, NotFound)) as told:
        ways[way]()
    assert told.value.hint
    assert len({stat.digest for stat in ctx.ports.objects.list()} - before) <= 1, "the source's declaration"


def test_a_link_to_a_file_that_was_named_is_followed(ctx: Context, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    (tmp_path / "link.csv").symlink_to(tmp_path / "a.csv")
    os.link(tmp_path / "a.csv", tmp_path / "hard.csv")
    for name in ("link.csv", "hard.csv"):
        assert offered(ctx, tmp_path / name).to_pylist()[-1] == {"x": 1}


# --------------------------------------------------------------------------------------------- names of files

NAMES = [
    "a\nb",
    "tab\there",
    "\u202egnp.exe",
    "n" * 255,
    "CON",
    "nul.txt",
    "trailing. ",
    " ",
    "-rf",
    "*",
    "a" * 200 + "\u00e9" * 27,
    "Case.txt",
    "case.TXT",
    "caf\u00e9",
    "cafe\u0301",
    "\u212b",
    "\x01\x7f",
    "%2e%2e",
    "emoji \U0001f600",
]


def test_names_of_every_kind_come_back_as_they_were(ctx: Context, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for at, name in enumerate(NAMES):
        (folder / str(at % 3)).mkdir(parents=True, exist_ok=True)
        (folder / str(at % 3) / name).write_bytes(name.encode())
    os.link(folder / "0" / NAMES[0], folder / "hard")
    add(ctx, str(folder), name="names")
    check_out(ctx, "names", str(tmp_path / "out"))
    found = {path.relative_to(tmp_path / "out"): path.read_bytes() for path in _files(tmp_path / "out")}
    assert found == {path.relative_to(folder): path.read_bytes() for path in _files(folder)}
    assert len(found) == len(NAMES) + 1


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _link_up(folder: Path) -> None:
    (folder / "up").symlink_to("..")


def _link_to_itself(folder: Path) -> None:
    (folder / "me").symlink_to("me")


def _link_inside(folder: Path) -> None:
    (folder / "again").symlink_to("a.txt")


def _unread(folder: Path) -> None:
    place = Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe"))
    place.write_bytes(b"x")


@pytest.mark.parametrize("trap", [_link_up, _link_to_itself, _link_inside, _unread, _fifo, _socket])
def test_a_folder_with_what_means_another_thing_elsewhere_is_refused(
    ctx: Context, tmp_path: Path, trap: Callable[[Path], None]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"x")
    trap(folder / "trap" if trap in {_fifo, _socket} else folder)
    with refused(ctx):
        add(ctx, str(folder), name="names")
