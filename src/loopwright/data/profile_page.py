"""A profile as one page of HTML that asks nothing of anybody: no script, font or picture from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from loopwright.core.instants import format_instant, from_micros
from loopwright.core.nouns import Json

__all__ = ["PAGE_LIMIT", "profile_page"]

PAGE_LIMIT = 1_000_000
"""greatest page in bytes"""
_CARDS_LIMIT = 700_000
_PAIRS = 40
_SHOWN_TOP = 8
_CSS = """
:root{color-scheme:light dark;--ground:#fbfbf9;--card:#fff;--ink:#1d2023;--soft:#676e76;--line:#e3e4e0;
--bar:#3a6ea5;--dim:#b9cbe0;--warn:#9a4b00;--warnbg:#fdf1e3;--pos:58,110,165;--neg:190,90,40}
@media(prefers-color-scheme:dark){:root{--ground:#15181b;--card:#1d2125;--ink:#e6e8ea;--soft:#9aa3ac;
--line:#31373d;--bar:#7fb0e3;--dim:#35506d;--warn:#f0b070;--warnbg:#33261a;--pos:110,165,225;
--neg:225,130,80}}
*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);
font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1120px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:26px;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:18px;margin:36px 0 12px}h3{font-size:15px;margin:0;overflow-wrap:anywhere}
.soft,small{color:var(--soft)}.tiles{display:flex;flex-wrap:wrap;gap:12px;margin:20px 0}
.tile{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 16px;
min-width:120px}
.tile b{display:block;font-size:20px;font-variant-numeric:tabular-nums}
ul.notes{margin:0;padding:12px 16px 12px 34px;background:var(--warnbg);color:var(--warn);border-radius:8px}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(330px,1fr));gap:14px}
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:14px 16px;min-width:0}
.head{display:flex;justify-content:space-between;gap:10px;margin-bottom:8px}
.kind{color:var(--soft);font-size:13px}
dl{display:grid;grid-template-columns:auto 1fr auto 1fr;gap:2px 10px;margin:8px 0 0;font-size:13px}
dt{color:var(--soft)}dd{margin:0;text-align:right;font-variant-numeric:tabular-nums;overflow:hidden;
text-overflow:ellipsis;white-space:nowrap}svg{display:block;width:100%;height:64px}
rect{fill:var(--bar)}rect.out{fill:var(--dim)}
.ends{display:flex;justify-content:space-between;font-size:12px}
.top{font-size:13px;margin-top:6px}
.top div{display:grid;grid-template-columns:minmax(0,1fr) 90px 62px;gap:8px;align-items:center}
.top span{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.top i{height:8px;border-radius:2px;background:var(--bar)}
.top em{font-style:normal;text-align:right;color:var(--soft);font-variant-numeric:tabular-nums}
.fill{height:4px;border-radius:2px;background:var(--dim);margin-bottom:10px}
.fill i{display:block;height:4px;border-radius:2px;background:var(--bar)}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:12px;font-variant-numeric:tabular-nums}
td,th{padding:4px 6px;text-align:right;font-weight:400;white-space:nowrap}
th{color:var(--soft);max-width:150px;overflow:hidden;text-overflow:ellipsis}
td.p{background:rgba(var(--pos),var(--a))}td.n{background:rgba(var(--neg),var(--a))}
"""


def profile_page(profile: Json, *, title: str) -> str:
    """The whole page, at most `PAGE_LIMIT` bytes: columns past that are counted in the open, not shown."""
    columns: Mapping[str, Json] = profile["columns"]
    cards, left_out = _cards(profile["rows"], columns)
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8>",
        '<meta name=viewport content="width=device-width,initial-scale=1">',
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none';style-src 'unsafe-inline'\">",
        f"<title>{_text(title, 200)}</title><style>{_CSS}</style></head><body><main>",
        f"<h1>{_text(title, 300)}</h1><div class=soft>What the columns hold</div>",
        _tiles(profile),
        _notes(profile),
        f"<h2>Columns</h2><div class=cards>{cards}</div>",
        f"<p class=soft>{left_out:,} more columns are not shown.</p>" if left_out else "",
        _pairs(profile.get("correlations")),
        "</main></body></html>",
    ]
    return "".join(parts)


def _tiles(profile: Json) -> str:
    columns: Mapping[str, Json] = profile["columns"]
    cells = profile["rows"] * len(columns)
    nulls = sum(column["nulls"] for column in columns.values())
    told = {"rows": f"{profile['rows']:,}", "columns": f"{len(columns):,}"}
    told["missing"] = _share(nulls, cells)
    if "duplicates" in profile:
        told["repeated rows"] = f"{profile['duplicates']:,}"
    tiles = (
        f"<div class=tile><b>{value}</b><span class=soft>{name}</span></div>" for name, value in told.items()
    )
    return f"<div class=tiles>{''.join(tiles)}</div>"


def _notes(profile: Json) -> str:
    found = list(_worth_a_look(profile))
    if not found:
        return ""
    shown = "".join(f"<li>{each}</li>" for each in found[:40])
    more = f"<li>and {len(found) - 40:,} more</li>" if len(found) > 40 else ""
    return f"<h2>Worth a look</h2><ul class=notes>{shown}{more}</ul>"


def _worth_a_look(profile: Json) -> Iterator[str]:
    rows = profile["rows"]
    if profile.get("duplicates"):
        yield f"{profile['duplicates']:,} rows repeat another one ({_share(profile['duplicates'], rows)})"
    for name, column in profile["columns"].items():
        shown, count = f"<b>{_text(name, 80)}</b>", column["count"]
        if rows and not count:
            yield f"{shown} is empty"
        elif rows and column["nulls"] / rows > 0.2:
            yield f"{shown} lacks {_share(column['nulls'], rows)} of its values"
        if count > 1 and column.get("distinct") == 1:
            yield f"{shown} holds one value only"
        if column.get("nan"):
            yield f"{shown} holds {column['nan']:,} that are not a number"
        if column["type"] == "string" and rows > 100 and column["distinct"] == rows:
            yield f"{shown} is different in every row: a name, not a category"
    for first, second, value in _strong(profile.get("correlations")):
        yield f"<b>{_text(first, 80)}</b> and <b>{_text(second, 80)}</b> go together (r = {value:.2f})"


def _strong(pairs: Json | None) -> Iterator[tuple[str, str, float]]:
    names = pairs["columns"] if pairs else []
    for i, first in enumerate(names):
        for j in range(i):
            value = pairs["values"][i][j] if pairs else None
            if value is not None and abs(value) >= 0.95:
                yield names[j], first, value


def _cards(rows: int, columns: Mapping[str, Json]) -> tuple[str, int]:
    found, size = list[str](), 0
    for name, column in columns.items():
        card = _card(rows, name, column)
        size += len(card.encode())
        if size > _CARDS_LIMIT:
            break
        found.append(card)
    return "".join(found), len(columns) - len(found)


def _card(rows: int, name: str, column: Json) -> str:
    share = column["count"] / rows if rows else 0.0
    parts = [
        f"<section class=card><div class=head><h3>{_text(name, 120)}</h3>",
        f"<span class=kind>{_text(column['type'], 60)}</span></div>",
        f'<div class=fill><i style="width:{100 * share:.1f}%"></i></div>',
    ]
    parts.append(_shape(column))
    parts.append(_facts(rows, column))
    return "".join((*parts, "</section>"))


def _shape(column: Json) -> str:
    """How the values are spread; of lists, how long they are."""
    if "lengths" in column:
        drawn = _shape({"type": "int", "count": column["count"], **column["lengths"]})
        return f"<small>how many parts each has</small>{drawn}" if drawn else ""
    shape = column.get("histogram")
    if shape and column["distinct"] > 1 and len(shape["counts"]) > 1:
        return _bars(shape, is_instant=column["type"] == "instant")
    return _top(column["top"], column["count"]) if column.get("top") else ""


def _bars(shape: Json, *, is_instant: bool) -> str:
    counts = [shape["below"], *shape["counts"], shape["above"]]
    tallest = max(counts) or 1
    width = 100 / len(counts)
    bars = (
        f'<rect{" class=out" if at in {0, len(counts) - 1} else ""} x="{at * width + 0.3:.2f}" '
        f'y="{60 - 58 * count / tallest:.2f}" width="{width - 0.6:.2f}" '
        f'height="{58 * count / tallest + 2:.2f}"/>'
        for at, count in enumerate(counts)
        if count
    )
    ends = (_edge(shape["edges"][at], is_instant=is_instant) for at in (0, -1))
    low, high = ends
    return (
        '<svg viewBox="0 0 100 62" preserveAspectRatio="none" role="img" aria-label="histogram">'
        f"{''.join(bars)}</svg>"
        f"<div class='ends soft'><span>{low}</span><span>{high}</span></div>"
    )


def _edge(value: float, *, is_instant: bool) -> str:
    return format_instant(from_micros(round(value)))[:16].replace("T", " ") if is_instant else _number(value)


def _top(top: Sequence[Json], count: int) -> str:
    greatest = max(each["count"] for each in top) or 1
    lines = (
        f"<div><span>{_text(str(each['value']), 60) or '<small>(empty)</small>'}</span>"
        f'<i style="width:{100 * each["count"] / greatest:.1f}%"></i>'
        f"<em>{_share(each['count'], count)}</em></div>"
        for each in top[:_SHOWN_TOP]
    )
    return f"<div class=top>{''.join(lines)}</div>"


def _facts(rows: int, column: Json) -> str:
    about = "at least " if column.get("bounds") else ""
    told = {"missing": f"{column['nulls']:,} ({_share(column['nulls'], rows)})"}
    if "lengths" in column:
        column, names = column["lengths"], ("shortest", "longest", "mean length", "")
    else:
        names = ("least", "greatest", "mean", "deviation")
        if "distinct" in column:
            told["different"] = f"{about}{column['distinct']:,}"
    for name, key in zip(names, ("min", "max", "mean", "std"), strict=True):
        if name and column.get(key) is not None:
            told[name] = _value(column[key])
    quantiles = column.get("quantiles") or {}
    for name, key in (("5 %", "0.05"), ("median", "0.5"), ("95 %", "0.95")):
        if quantiles.get(key) is not None:
            told[name] = _value(quantiles[key])
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in told.items())}</dl>"


def _pairs(pairs: Json | None) -> str:
    if not pairs or len(pairs["columns"]) < 2:
        return ""
    names = pairs["columns"][:_PAIRS]
    head = "".join(f'<th title="{_text(name, 80)}">{_text(name, 12)}</th>' for name in names)
    lines = (
        f"<tr><th>{_text(name, 30)}</th>{''.join(map(_cell, pairs['values'][i][: len(names)]))}</tr>"
        for i, name in enumerate(names)
    )
    return (
        "<h2>Which numbers go together</h2><p class=soft>Pearson's r of the rows that have both values.</p>"
        f"<div class=scroll><table><tr><th></th>{head}</tr>{''.join(lines)}</table></div>"
    )


def _cell(value: float | None) -> str:
    if value is None:
        return "<td></td>"
    kind = "p" if value >= 0 else "n"
    return f'<td class={kind} style="--a:{abs(value) * 0.8:.2f}">{value:.2f}</td>'


def _share(part: int, whole: int) -> str:
    if not whole:
        return "0 %"
    share = 100 * part / whole
    return "< 0.1 %" if 0 < share < 0.1 else f"{share:.1f} %"


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _text(value[:19].replace("T", " ") if value.endswith("Z") else value, 40)
    return _number(value)


def _number(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if value and math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4g}"


def _text(text: str, most: int) -> str:
    """Text of strangers: cut, without what a page would obey, its marks of writing made plain."""
    plain = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text[: most + 1])
    return escape(plain if len(plain) <= most else f"{plain[: most - 1]}…")
