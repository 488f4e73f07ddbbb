"""Exploration documents: Markdown with datasets, queries and charts, and what came of each. Pure.

# Late flights
Words, as in any Markdown.
```data
flights = flights@12
purpose = reporting
```
```sql by_hour
SELECT hour, avg(dep_delay) AS delay FROM flights GROUP BY hour ORDER BY hour
```
```chart line by_hour
x = hour
y = delay
```
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec

from loopwright.core.digests import digest_value
from loopwright.core.errors import Invalid
from loopwright.core.nouns import Json

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "EXPLORATION",
    "Cell",
    "Chart",
    "ChartKind",
    "Document",
    "Explored",
    "ExploredCell",
    "Pin",
    "digest_of",
    "parse_document",
    "picture",
]

EXPLORATION = "exploration"
"""kind of the assets whose versions are documents with their results"""

ChartKind = Literal["line", "bar", "scatter", "histogram"]
_KINDS: tuple[str, ...] = get_args(ChartKind)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,60}\Z")
_FENCE = re.compile(r"```(data|sql|chart)(?:[ \t]+(.*))?\Z")
_PURPOSE = "purpose"
_CELLS = 60
_TEXT_LIMIT = 200_000
_BINS = 20
_MOST_BINS = 200
_LINES = 12


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """A picture of the rows of a query."""

    kind: ChartKind
    of: str
    x: str
    y: tuple[str, ...] = ()
    """a line, or a set of bars or points, for each; a histogram counts `x` and has none"""
    title: str = ""
    bins: int = _BINS


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a document, in its order."""

    kind: Literal["text", "sql", "chart"]
    source: str
    """Markdown, or SQL, or the declaration of a chart, as it was written"""
    name: str = ""
    """of a query: charts name it"""
    chart: Chart | None = None


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """What a text says."""

    title: str
    data: Mapping[str, str]
    """by the name that queries read it by, the address of a version of a dataset"""
    cells: tuple[Cell, ...]
    purpose: str = ""
    """what the columns are read for"""


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """The version that a name meant when the document was run."""

    address: str
    digest: str
    columns: tuple[str, ...] = ()
    """those that were read"""


class ExploredCell(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a document with what came of it."""

    kind: Literal["text", "sql", "chart"]
    source: str
    name: str = ""
    columns: dict[str, str] = {}
    """of a query: the names of its columns and their types"""
    rows: tuple[tuple[Any, ...], ...] = ()
    is_cut: bool = False
    """whether there are more rows than were kept"""
    digest: str = ""
    """of its rows: equal rows in the same order have the same"""
    chart: Json | None = None
    """of a chart: what is drawn"""


class Explored(msgspec.Struct, frozen=True, kw_only=True):
    """A document that was run."""

    title: str
    text: str
    cells: tuple[ExploredCell, ...]
    pins: dict[str, Pin] = {}
    purpose: str = ""
    digest: str = ""
    """of all results; empty where they are withheld or were erased"""
    version: int = 0
    """of a document that was saved"""
    withheld: str = ""
    """why its results are not shown"""


# ------------------------------------------------------------------------------------------- reading


def parse_document(text: str) -> Document:
    """Read a document; `Invalid` says in which line something is wrong."""
    if len(text) > _TEXT_LIMIT:
        raise Invalid(f"a document of {len(text):,} characters", hint=f"keep it under {_TEXT_LIMIT:,}")
    said, cells = list[tuple[int, str, str]](), list[Cell]()
    for kind, rest, body, line in _pieces(text):
        if kind == "data":
            said += [(line, name, value) for name, value in _settings(body, line).items()]
        elif kind != "text" or body.strip():
            cells.append(_cell(kind, rest, body, line, cells))
    named = [name for _, name, _ in said]
    for line, name, _ in said:
        if named.count(name) > 1:
            raise _wrong(line, f"{name!r} is named twice")
    data = {name: value for _, name, value in said if name != _PURPOSE}
    purpose = next((value for _, name, value in said if name == _PURPOSE), "")
    if len(cells) > _CELLS:
        raise Invalid(f"the document has {len(cells)} pieces", hint=f"keep it to {_CELLS}")
    if not any(cell.kind == "sql" for cell in cells):
        raise Invalid("the document has no query", hint="write one between ```sql NAME and ```")
    return Document(title=_title(cells), data=data, cells=tuple(cells), purpose=purpose)


def _pieces(text: str) -> Iterator[tuple[str, str, str, int]]:
    """Kind, what stands behind it, body and first line of each piece."""
    words, fence, began = list[str](), None, 1
    body: list[str] = []
    for at, line in enumerate(text.splitlines(), 1):
        if fence is not None:
            if line.strip() == "```":
                yield fence[0], fence[1], "\n".join(body), began
                fence, body = None, []
            else:
                body.append(line)
        elif found := _FENCE.match(line.strip()):
            yield "text", "", "\n".join(words), began
            words, fence, began = [], (found[1], (found[2] or "").strip()), at
        else:
            words.append(line)
    if fence is not None:
        raise _wrong(began, "the piece has no end")
    yield "text", "", "\n".join(words), began


def _cell(kind: str, rest: str, body: str, line: int, before: Sequence[Cell]) -> Cell:
    if kind == "text":
        return Cell(kind="text", source=body.strip("\n"))
    if kind == "chart":
        return Cell(kind="chart", source=f"{rest}\n{body}", chart=_chart(rest, body, line, before))
    name = rest or f"query_{1 + sum(cell.kind == 'sql' for cell in before)}"
    if not _NAME.match(name) or any(cell.name == name for cell in before):
        raise _wrong(line, f"{name[:60]!r} cannot name a query here: letters and digits, and each name once")
    return Cell(kind="sql", name=name, source=body.strip())


def _chart(rest: str, body: str, line: int, before: Sequence[Cell]) -> Chart:
    kind, _, of = rest.partition(" ")
    of = of.strip()
    if kind not in _KINDS:
        raise _wrong(line, f"{kind[:40]!r} is no kind of chart: {', '.join(_KINDS)}")
    if not any(cell.kind == "sql" and cell.name == of for cell in before):
        raise _wrong(line, f"no query before it is named {of[:60]!r}")
    said = _settings(body, line)
    if unknown := sorted(said.keys() - {"x", "y", "title", "bins"}):
        raise _wrong(line, f"a chart has no {unknown[0]!r}: it has x, y, title and bins")
    y = tuple(each.strip() for each in said.get("y", "").split(",") if each.strip())
    if not said.get("x") or bool(y) is (kind == "histogram") or len(y) > _LINES:
        raise _wrong(line, "a histogram has x, all others x and y (several apart by commas)")
    bins = said.get("bins", str(_BINS))
    if not (bins.isascii() and bins.isdigit() and 1 <= int(bins) <= _MOST_BINS):
        raise _wrong(line, f"{bins[:20]!r} is no number of bins up to {_MOST_BINS}")
    found: Any = kind
    return Chart(kind=found, of=of, x=said["x"], y=y, title=said.get("title", ""), bins=int(bins))


def _settings(body: str, line: int) -> dict[str, str]:
    found: dict[str, str] = {}
    for at, each in enumerate(body.splitlines(), line + 1):
        name, sign, value = (part.strip() for part in each.partition("="))
        if not each.strip():
            continue
        if not sign or not name or not value:
            raise _wrong(at, "write NAME = VALUE")
        found[name] = value
    return found


def _title(cells: Sequence[Cell]) -> str:
    for cell in cells:
        for line in cell.source.splitlines() if cell.kind == "text" else ():
            if line.startswith("# "):
                return line[2:].strip()[:200]
    return "Untitled"


def _wrong(line: int, what: str) -> Invalid:
    return Invalid(f"line {line}: {what}", hint="docs/guides/explorations.md shows a document")


# ------------------------------------------------------------------------------------------- results


def digest_of(cells: Sequence[ExploredCell]) -> str:
    """One digest of all results."""
    return digest_value([[cell.name, cell.digest] for cell in cells if cell.kind == "sql"])


def picture(chart: Chart, table: pa.Table) -> Json:
    """What is drawn: `{"kind", "title", "x": {"name", "type", "values"}, "series": [{"name", "values"}]}`.

    A histogram has `edges` and `counts` in their place. Instants are milliseconds since 1970; `Invalid` for a
    column that the query does not give, or that is no number where one is drawn.
    """
    told: Json = {"kind": chart.kind, "title": chart.title, "of": chart.of}
    if chart.kind == "histogram":
        return {**told, "x": {"name": chart.x}, **_counted(_numbers(chart, table, chart.x), chart.bins)}
    kind, values = _axis(chart, table)
    series = [{"name": name, "values": _numbers(chart, table, name)} for name in chart.y]
    return {**told, "x": {"name": chart.x, "type": kind, "values": values}, "series": series}


def _column(chart: Chart, table: pa.Table, name: str) -> pa.ChunkedArray:
    if name not in table.column_names:
        raise Invalid(
            f"the query {chart.of!r} gives no column {name!r}",
            hint=f"its columns are {', '.join(table.column_names)}"[:300],
        )
    return table.column(name)


def _axis(chart: Chart, table: pa.Table) -> tuple[str, list[Any]]:
    import pyarrow as pa

    values = _column(chart, table, chart.x)
    if pa.types.is_timestamp(values.type):
        return "instant", [None if at is None else at / 1000 for at in values.cast(pa.int64()).to_pylist()]
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        return "number", _numbers(chart, table, chart.x)
    return "text", values.cast(pa.string()).to_pylist()


def _numbers(chart: Chart, table: pa.Table, name: str) -> list[float | int | None]:
    import pyarrow as pa

    values = _column(chart, table, name)
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise Invalid(f"the column {name!r} of {chart.of!r} is no number", hint="draw one that is")
    return [None if each is None or each - each != 0 else each for each in values.to_pylist()]


def _counted(values: Sequence[float | int | None], bins: int) -> Json:
    import numpy as np

    numbers = np.array([each for each in values if each is not None], dtype=np.float64)
    if not numbers.size:
        return {"edges": [], "counts": []}
    counts, edges = np.histogram(numbers, bins)
    return {"edges": edges.tolist(), "counts": counts.tolist()}
