"""Profiles of any file: right numbers, one page without a request, whatever the names are."""

from __future__ import annotations

from datetime import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Invalid, NotFound, Unavailable
from loopwright.core.expressions import col
from loopwright.data import portions
from loopwright.data.appending import append
from loopwright.data.pairing import correlations, joined_pairs
from loopwright.data.profile_page import PAGE_LIMIT, profile_page
from loopwright.data.profiling import profile_file
from loopwright.data.rewriting import delete
from loopwright.data.verbs import profile
from loopwright.engine.context import Context
from loopwright.testing.builders import memory_context
from tests.ui.browsing import browser


@pytest.fixture
def ctx() -> Context:
    return memory_context()


class Page(HTMLParser):
    """What a page consists of: its tags, attributes and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def _table(rows: int = 400) -> pa.Table:
    rng = np.random.default_rng(7)
    first = rng.normal(1e6, 2.0, rows)
    return pa.table(
        {
            "a": first,
            "b": first * 3 + rng.normal(0, 1, rows),
            "holes": pa.array(
                [None if n % 3 else float(value) for n, value in enumerate(rng.normal(0, 1, rows))]
            ),
            "n": rng.integers(0, 9, rows),
            "kind": [("x", "y", "<b>z</b>")[n % 3] for n in range(rows)],
            "still": [5] * rows,
            "at": pa.array(range(rows), pa.timestamp("us", "UTC")),
        }
    )


def _numpy_r(table: pa.Table, first: str, second: str) -> float:
    a, b = (table.column(name).to_numpy().astype(float) for name in (first, second))
    both = np.isfinite(a) & np.isfinite(b)
    return float(np.corrcoef(a[both], b[both])[0, 1])


def test_correlations_are_those_of_numpy_over_appends_and_deletes(ctx: Context) -> None:
    table = _table()
    for start in range(0, 400, 100):
        append(ctx, "d", table.slice(start, 100))
    _check_r(profile(ctx, "d"), table)
    delete(ctx, "d", where=col("n") > 5)
    left = table.filter(pa.array(table.column("n").to_numpy() <= 5))
    _check_r(profile(ctx, "d"), left)


def _check_r(found: dict[str, object], table: pa.Table) -> None:
    told = found["correlations"]
    assert isinstance(told, dict)
    names = told["columns"]
    assert names == ["a", "b", "holes", "n", "still"]
    for i, first in enumerate(names):
        for j, second in enumerate(names):
            value = told["values"][i][j]
            if "still" in {first, second}:
                assert value is None
            else:
                assert value == pytest.approx(_numpy_r(table, first, second), abs=1e-6)


@given(
    st.lists(st.tuples(*[st.one_of(st.none(), st.floats(-1e6, 1e6, width=32))] * 3), min_size=4, max_size=40),
    st.integers(1, 3),
)
def test_pairs_of_parts_are_those_of_the_whole(rows: list[tuple[float | None, ...]], cut: int) -> None:
    tables = memory_context().ports.tables
    whole = pa.table(
        {
            name: pa.array(values, pa.float64())
            for name, values in zip("abc", zip(*rows, strict=True), strict=True)
        }
    )
    parts = [tables.profile(whole.slice(0, cut)), tables.profile(whole.slice(cut))]
    direct = tables.profile(whole)["pairs"]
    joined = joined_pairs(parts[0].get("pairs"), parts[1].get("pairs"))
    assert joined is not None
    assert np.asarray(joined["count"]).tolist() == np.asarray(direct["count"]).tolist()
    told, expected = correlations(joined), correlations(direct)
    assert told is not None
    assert expected is not None
    scale = float(np.max(direct["square"])) or 1.0
    back = joined_pairs(joined, parts[1]["pairs"], -1)
    assert back is not None
    for key in ("sum", "square", "product"):
        tolerance = 1e-6 * scale + 1e-6
        assert np.allclose(np.asarray(back["count"]), np.asarray(parts[0]["pairs"]["count"]))
        assert np.allclose(
            np.asarray(back[key]), np.asarray(parts[0]["pairs"][key]), atol=tolerance, rtol=1e-4
        )


def test_a_profile_is_one_page_that_asks_for_nothing(ctx: Context, tmp_path: Path) -> None:
    pq.write_table(_table(), tmp_path / "d<i>.parquet")
    done = profile_file(ctx, str(tmp_path / "d<i>.parquet"), html=str(tmp_path / "out.html"))
    assert done == {"rows": 400, "columns": 7, "page": str(tmp_path / "out.html")}
    text = (tmp_path / "out.html").read_text("utf-8")
    _check_alone(text)
    page = Page(text)
    said = " ".join(page.texts)
    for expected in (
        "d<i>.parquet",
        "holes",
        "400",
        "<b>z</b>",
        "lacks 66.5 %",
        "one value only",
        "go together",
    ):
        assert expected in said
    assert page.tags.count("section") == 7
    assert "@media(prefers-color-scheme:dark)" in text


def _check_alone(text: str) -> None:
    page = Page(text)
    assert len(text.encode()) <= PAGE_LIMIT
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form", "a"} & set(page.tags)
    assert not {name for name, _ in page.attributes} & {
        "src",
        "href",
        "srcset",
        "action",
        "background",
        "poster",
    }
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "url(" not in text
    assert "@import" not in text


HOSTILE = st.text(min_size=1, max_size=60) | st.sampled_from(
    [
        "</style><script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "\u202etxt",
        "a\x00b",
        "&lt;",
        "' onload='x",
    ]
)


@given(st.lists(HOSTILE, min_size=1, max_size=5, unique=True), HOSTILE)
def test_names_and_values_of_strangers_stay_texts(names: list[str], value: str) -> None:
    columns = {
        name: {"type": "string", "count": 1, "nulls": 0, "distinct": 1, "top": [{"value": value, "count": 1}]}
        for name in names
    }
    text = profile_page({"rows": 1, "columns": columns}, title=value)
    _check_alone(text)
    tags = Page(text).tags
    assert tags.count("section") == len(names)
    assert set(tags) <= {
        "html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "h3", "div", "b", "span", "ul",
        "li", "section", "i", "em", "dl", "dt", "dd", "p", "small",
    }  # fmt: skip


def test_very_many_columns_still_make_a_small_page(ctx: Context, tmp_path: Path) -> None:
    pq.write_table(
        pa.table({f"column {n}": [1.0, 2.0, 3.5] for n in range(1_500)}), tmp_path / "wide.parquet"
    )
    profile_file(ctx, str(tmp_path / "wide.parquet"), html=str(tmp_path / "wide.html"))
    text = (tmp_path / "wide.html").read_text("utf-8")
    _check_alone(text)
    assert "more columns are not shown" in text


def test_an_empty_file_and_repeated_rows_are_told(ctx: Context, tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"x": pa.array([], pa.int64()), "t": pa.array([], pa.string())}), tmp_path / "e.parquet"
    )
    assert profile_file(ctx, str(tmp_path / "e.parquet"), html=str(tmp_path / "e.html"))["rows"] == 0
    _check_alone((tmp_path / "e.html").read_text())
    (tmp_path / "r.csv").write_text("a,b\n1,x\n1,x\n2,\n2,\n1,y\n")
    assert profile_file(ctx, str(tmp_path / "r.csv"))["duplicates"] == 2


NESTED: list[dict[str, Any]] = [
    {
        "tags": None if n % 10 == 0 else ["a"] * (n % 5),
        "home": None if n % 7 == 0 else {"city": f"c{n % 3}", "at": {"lat": n / 4}},
        "counts": [("k", n)] * (n % 2),
        "raw": b"x" * (n % 4),
    }
    for n in range(300)
]
KINDS = pa.schema(
    [
        ("tags", pa.list_(pa.string())),
        ("home", pa.struct([("city", pa.string()), ("at", pa.struct([("lat", pa.float64())]))])),
        ("counts", pa.map_(pa.string(), pa.int64())),
        ("raw", pa.binary()),
    ]
)


@pytest.mark.parametrize("rows_at_once", [300, 70])
def test_nested_columns_are_profiled_by_lengths_and_fields(
    ctx: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    monkeypatch.setattr(portions, "PORTION_ROWS", rows_at_once)
    table = pa.Table.from_pylist([*NESTED, NESTED[1]], schema=KINDS)
    pq.write_table(table, tmp_path / "n.parquet", use_dictionary=["home.city"])
    found = profile_file(ctx, str(tmp_path / "n.parquet"))
    columns = found["columns"]
    assert {name: column["type"] for name, column in columns.items()} == {
        "tags": "list<string>",
        "home": "object<city, at>",
        "home.city": "string",
        "home.at": "object<lat>",
        "home.at.lat": "float",
        "counts": "map<string, int64>",
        "raw": "bytes",
    }
    rows = [*NESTED, NESTED[1]]
    for name, lengths in {
        "tags": [len(row["tags"]) for row in rows if row["tags"] is not None],
        "counts": [len(row["counts"]) for row in rows],
        "raw": [len(row["raw"]) for row in rows],
    }.items():
        told = columns[name]["lengths"]
        assert (columns[name]["count"], columns[name]["nulls"]) == (len(lengths), 301 - len(lengths))
        assert (told["min"], told["max"]) == (min(lengths), max(lengths))
        assert told["mean"] == pytest.approx(np.mean(lengths))
        assert sum(told["histogram"]["counts"]) == len(lengths)
    assert columns["home"]["nulls"] == columns["home.city"]["nulls"] == sum(n % 7 == 0 for n in range(300))
    assert columns["home.at.lat"]["max"] == 299 / 4
    assert found["duplicates"] == len(rows) - len({repr(row) for row in rows}) >= 1
    profile_file(ctx, str(tmp_path / "n.parquet"), html=str(tmp_path / "n.html"))
    page = (tmp_path / "n.html").read_text()
    _check_alone(page)
    assert "list&lt;string&gt;" in page
    assert "longest" in page


def test_lines_of_nested_json_and_types_that_nobody_can_compare(ctx: Context, tmp_path: Path) -> None:
    lines = ('{"a":1,"o":{"k":[1,2]}}', '{"a":2,"o":null}', '{"a":1,"o":{"k":[1,2]}}')
    (tmp_path / "n.ndjson").write_text("\n".join(lines))
    found = profile_file(ctx, str(tmp_path / "n.ndjson"))
    assert (found["duplicates"], found["columns"]["o.k"]["lengths"]["max"]) == (1, 2)
    at = pa.array([time(1, 2), None], pa.time64("us"))
    pq.write_table(pa.table({"at": at}), tmp_path / "t.parquet")
    found = profile_file(ctx, str(tmp_path / "t.parquet"))
    assert found == {"rows": 2, "columns": {"at": {"type": "time64[us]", "count": 1, "nulls": 1}}}


def test_what_cannot_be_profiled_is_told_and_no_page_is_left(ctx: Context, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a\n1\n")
    with pytest.raises(Unavailable):
        profile_file(ctx, str(tmp_path / "x.csv"), html=str(tmp_path / "none" / "x.html"))
    with pytest.raises(Invalid):
        profile_file(ctx, "postgresql://h/d")
    with pytest.raises(NotFound):
        profile_file(ctx, f"file://{tmp_path}/nothing.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.csv"]


@pytest.mark.browser
def test_a_browser_shows_it_without_a_network(ctx: Context, tmp_path: Path) -> None:
    pq.write_table(_table(), tmp_path / "d.parquet")
    profile_file(ctx, str(tmp_path / "d.parquet"), html=str(tmp_path / "d.html"))
    asked: list[str] = []
    errors: list[str] = []
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    with browser() as opened:
        for scheme in schemes:
            context = opened.new_context(color_scheme=scheme, offline=True)
            page = context.new_page()
            page.on("request", lambda request: asked.append(request.url))
            page.on("console", lambda message: errors.append(message.text))
            page.goto(f"file://{tmp_path}/d.html")
            assert page.locator("section.card").count() == 7
            assert page.evaluate("document.querySelector('svg').getBoundingClientRect().height") > 40
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert ground == {"light": "rgb(251, 251, 249)", "dark": "rgb(21, 24, 27)"}[scheme]
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert errors == []
            context.close()
    assert {url for url in asked if not url.startswith("file:")} == set()
