"""The package of a model's version on its page: how it is loaded, its signature, its files."""

from __future__ import annotations

import re
from pathlib import Path

import loopwright as lw
from loopwright.registry import registered, versions
from loopwright.registry.nouns import NewVersion
from loopwright.surfaces.ui import build_site
from loopwright.surfaces.ui.package import signature_told
from tests.surfaces.asking import Answer, ask

INPUTS = '[{"type": "double", "name": "wind"}, {"type": "string", "name": "<carrier>", "required": false}]'
OUTPUTS = '[{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1, 2]}}]'
MLMODEL = f"""
flavors:
  python_function: {{loader_module: mlflow.sklearn}}
signature:
  inputs: '{INPUTS}'
  outputs: '{OUTPUTS}'
"""


def said(answer: Answer) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.body.decode()))


def test_a_signature_is_told_line_by_line() -> None:
    assert [tuple(line) for line in signature_told(MLMODEL.encode())] == [
        ("in", "wind", "double", False),
        ("in", "<carrier>", "string", True),
        ("out", "0", "int64 (any \u00d7 2)", False),
    ]
    assert signature_told(b"flavors: {python_function: {}}") == ()


def test_the_page_of_a_version_has_its_files_and_the_lines_that_load_it(tmp_path: Path) -> None:
    with lw.Workspace.open(tmp_path / ".loopwright") as workspace:
        folder = tmp_path / "saved"
        folder.mkdir()
        (folder / "MLmodel").write_text(MLMODEL)
        (folder / "model.bin").write_bytes(b"weights")
        lw.register("doubled", folder, to=workspace)
        registered.create(workspace.context(), "elsewhere")
        versions.create(workspace.context(), "elsewhere", NewVersion(source="s3://x/y"))
        site = build_site(workspace)
        page = ask(site, "GET", "/versions/model%3Adoubled%401")
        files = re.findall(r'href="(/api/v1/model-files/content[^"]*)"', page.body.decode())
        other = ask(site, "GET", "/versions/model%3Aelsewhere%401")
    text = said(page)
    assert page.status == other.status == 200
    for words in (
        "MLmodel",
        "Load it",
        "in wind double",
        "&lt;carrier&gt; string may be missing",
        "models:/doubled/1",
    ):
        assert words in text, words
    assert "/api/v1/model-files/content?source=model%3Adoubled%401&amp;path=MLmodel" in files
    assert "Load it" not in said(other)
