"""Pages of evaluation datasets: what is in them is text, whatever it says."""

from __future__ import annotations

from pathlib import Path

from loopwright.llm import datasets
from loopwright.surfaces.ui import build_site
from loopwright.workspace import Workspace
from tests.surfaces.asking import ask

SCRIPT = "<script>alert(1)</script>"


def test_a_dataset_is_listed_and_shown_with_its_records(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace:
        ctx = workspace.context()
        made = datasets.create(ctx, f"trivia {SCRIPT}", tags={"team": SCRIPT})
        records = [{"inputs": {"n": n, "q": SCRIPT}, "expectations": {"a": n}} for n in range(60)]
        datasets.merge(ctx, made.id, records)
        site = build_site(workspace)
        listed = ask(site, "GET", "/evaluation").body.decode()
        assert f'href="/evaluation/{made.id}"' in listed
        shown = ask(site, "GET", f"/evaluation/{made.id}")
        assert shown.status == 200
        assert b"Next page" in shown.body
        for text in (listed, shown.body.decode()):
            assert SCRIPT not in text
            assert "&lt;script&gt;" in text
        assert ask(site, "GET", "/evaluation/d-none").status == 404
