"""The page of a run in a real browser: curves, files, code."""

from __future__ import annotations

import re
from functools import partial

import httpx
import pytest
from playwright.sync_api import Page, expect

from loopwright.core.nouns import MetricPoint
from loopwright.surfaces.ui.shaping import FILTERS
from loopwright.tracking import verbs
from loopwright.tracking.artifacts import store
from loopwright.tracking.homes import in_run
from loopwright.tracking.paths import file_path
from tests.ui.browsing import ink_of
from tests.ui.showing import HOSTILE
from tests.ui.tracking import Tracked

pytestmark = pytest.mark.browser

_CLIPBOARD = """() => Object.defineProperty(navigator, "clipboard", {
  value: { writeText: (text) => { window.taken = text; return Promise.resolve(); } },
})"""
_CHANGES = """diff --git a/model.py b/model.py
index 354f9a1..ee37ee5 100644
--- a/model.py
+++ b/model.py
@@ -1,4 +1,5 @@
 import math

-RATE = 0.1
+RATE = 0.05
 # rates
+++ counted, no head
diff --git a/old.py b/new.py
similarity index 90%
rename from old.py
rename to new.py
--- a/old.py
+++ b/new.py
@@ -7 +6,0 @@
--- gone, and no head
"""


@pytest.fixture
def told(sweep: Tracked) -> Tracked:
    return sweep


def test_curves_are_drawn_and_drawn_together(page: Page, told: Tracked) -> None:
    page.goto(f"/runs/{told.going}")
    plots = page.locator("#curves .u-wrap")
    page.locator("#curves").scroll_into_view_if_needed()
    expect(plots).to_have_count(2)
    assert ink_of(page.locator("#curves .curve").first).coloured > 100
    for key in ("loss", HOSTILE):
        page.locator("#curves").get_by_role("button", name=key, exact=True).click()
    expect(page.locator("#together .u-wrap")).to_have_count(1)
    page.locator("#logY").check()
    page.locator("#smooth").fill("0.8")
    page.locator("#across").select_option("since")
    expect(page.locator("#together .u-wrap")).to_have_count(1)
    page.reload()
    expect(page.locator("#logY")).to_be_checked()
    expect(page.locator("#together .u-wrap")).to_have_count(1)


def test_a_run_is_seen_to_go_on_and_to_end(page: Page, told: Tracked) -> None:
    ctx = told.workspace.context()
    run = verbs.start(ctx, "run", "goes", experiment="goes")
    verbs.log_points(ctx, run.id, [MetricPoint(key="loss", value=2.0, step=at, at_us=at) for at in range(3)])
    page.goto(f"/runs/{run.id}")
    expect(page.locator("#curves .u-wrap")).to_have_count(1)
    verbs.log_points(ctx, run.id, [MetricPoint(key="loss", value=0.5, step=9, at_us=9)])
    expect(page.locator("[data-latest=loss]")).to_have_text("0.5")
    expect(page.locator("#curves h3 small")).to_have_text("0.5")
    verbs.end(ctx, run.id)
    expect(page.locator("#run-state")).to_have_text("finished")


@pytest.mark.slow
def test_a_stretch_that_is_looked_at_stays_and_is_read_finely(page: Page, told: Tracked) -> None:
    """Of 5,000 points a thousand are drawn; of 50 steps each one, also while the run goes on."""
    ctx = told.workspace.context()
    run = verbs.start(ctx, "run", "long", experiment="long")

    def log(first: int, last: int) -> None:
        points = [MetricPoint(key="loss", value=1 / (at + 1), step=at, at_us=at) for at in range(first, last)]
        verbs.log_points(ctx, run.id, points)

    log(0, 5_000)
    page.goto(f"/runs/{run.id}")
    over = page.locator("#curve-panels .u-over")
    over.scroll_into_view_if_needed()
    box = over.bounding_box()
    assert box is not None
    page.evaluate("document.querySelector('.curve').panel.plot.over.dataset.first = '1'")
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.51, box["y"] + 50, steps=4)
    page.mouse.up()
    until(page, "document.querySelector('.curve').panel.fine !== null")
    shown = """() => {
      const { plot } = document.querySelector('.curve').panel, { min, max } = plot.scales.x;
      return [Math.round(min), Math.round(max), plot.data[0].length];
    }"""
    low, high, count = page.evaluate(shown)
    assert 2_400 < low < high < 2_650
    assert high - low - 1 <= count <= high - low + 4
    log(5_000, 5_200)
    expect(page.locator(".curve h3 small")).to_have_text(number_of(1 / 5_200))
    assert page.evaluate(shown) == [low, high, count]
    assert page.locator(".u-over[data-first]").count() == 1
    page.locator(".curve").get_by_role("button", name="whole").click()
    until(page, "document.querySelector('.curve').panel.plot.scales.x.max > 5000")
    verbs.end(ctx, run.id)


def until(page: Page, told: str) -> None:
    """Wait for what a script tells; pages let no text be run by themselves."""
    for _ in range(200):
        if page.evaluate(told):
            return
        page.wait_for_timeout(50)
    raise AssertionError(told)


def number_of(value: float) -> str:
    """A number as the server writes it: what the scripts of the pages write has to be the same."""
    return FILTERS["figure"](value)


@pytest.mark.slow
def test_numbers_are_the_same_from_the_server_and_from_scripts(page: Page) -> None:
    page.goto("/experiments")
    values = [
        sign * digits * 10.0**power
        for sign in (1, -1)
        for digits in (1, 1.5, 2.34567)
        for power in range(-6, 12)
    ]
    found = page.evaluate(
        "async (all) => { const { number } = await import('/static/cells.js'); return all.map(number); }",
        [0.0, *values],
    )
    assert found == [number_of(value) for value in [0.0, *values]]
    ticks = """async () => {
      const { tick } = await import('/static/curves.js');
      return [tick("loss", 0.25, 0.25), tick("loss", 0.75, 0.25), tick("loss", 0.8000005, 5e-7),
              tick("system/memory_used_bytes", 2.5e9, 5e8), tick("system/cpu_percent", 60, 20),
              tick("loss", 8e-5, 2e-5)];
    }"""
    assert page.evaluate(ticks) == ["0.25", "0.75", "0.8000005", "2.5 GB", "60 %", "8e-5"]


@pytest.mark.slow
def test_what_was_not_committed_is_shown_file_by_file(page: Page, told: Tracked) -> None:
    ctx = told.workspace.context()
    facts = {"code": {"commit": "5a5b900d", "file": "loopwright/changes.diff", "diff": ""}, "folder": ""}
    run = verbs.start(ctx, "run", "changed", experiment="changed", facts=facts)
    place = file_path("loopwright/changes.diff")
    store(ctx, partial(in_run, space=ctx.space, run_id=run.id, path=place), _CHANGES.encode())
    page.goto(f"/runs/{run.id}")
    code = page.locator("#code")
    expect(code.locator(".diff-of h3")).to_have_text(
        ["model.py +2 \u22121", "old.py \u2192 new.py +0 \u22121"]
    )
    went, came = code.locator(".diff .went").first, code.locator(".diff .came")
    expect(went).to_have_attribute("data-at", "3")
    assert [each.get_attribute("data-at") for each in came.all()] == ["3", "5"]
    expect(came.last).to_contain_text("+++ counted, no head")
    expect(code).not_to_contain_text("index 354f9a1")
    expect(page.locator("dt", has_text="folder")).to_have_count(0)
    running = page.locator("#running-for")
    expect(running).to_have_text(re.compile(r"^\d+ s$"))
    before = running.inner_text()
    expect(running).not_to_have_text(before)
    page.evaluate(_CLIPBOARD)
    code.get_by_role("button", name="Copy the commit").click()
    assert page.evaluate("window.taken") == "5a5b900d"
    verbs.end(ctx, run.id)
    expect(page.locator("#run-state")).to_have_text("finished")


def test_files_are_shown_and_none_of_them_acts(page: Page, told: Tracked) -> None:
    page.goto(f"/runs/{told.going}")
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    preview = page.locator("#file-preview")
    for name, words in (("notes.txt", HOSTILE), ("config.json", '"a": ['), ("table.csv", "a, b")):
        page.get_by_role("treeitem", name=name).click()
        expect(preview).to_contain_text(words)
    assert preview.locator("tbody tr").count() == 2
    for name in ("report.html", "drawing.svg"):
        page.get_by_role("treeitem", name=name).click()
        expect(preview.locator("iframe")).to_have_attribute("sandbox", "")
    page.get_by_role("treeitem", name="report.html").click()
    expect(page.frame_locator("iframe").locator("h1")).to_have_text("Report")
    page.get_by_role("treeitem", name="deep").click()
    expect(page.get_by_role("treeitem", name="code.py")).to_be_visible()
    assert dialogs == []
    assert "owned" not in page.title()


@pytest.mark.parametrize("path", ["report.html", "drawing.svg"])
def test_a_logged_page_is_drawn_only_in_a_sandbox(page: Page, told: Tracked, path: str) -> None:
    """Alone in a window it could pass for a page of ours, so a browser gets it for a frame only."""
    alone = page.goto(f"/runs/{told.going}/frame?path={path}")
    assert alone is not None
    assert alone.status == 400
    page.goto("/")
    with page.expect_response(lambda reply: "/frame?" in reply.url) as within:
        page.evaluate(
            "at => document.body.append(Object.assign(document.createElement('iframe'), { src: at }))",
            f"/runs/{told.going}/frame?path={path}",
        )
    assert within.value.status == 200
    policy = within.value.header_value("content-security-policy") or ""
    assert policy.startswith("sandbox; default-src 'none'")
    page.wait_for_timeout(100)
    assert page.frames[-1].evaluate("window.origin") == "null"


@pytest.mark.parametrize("path", ["notes.txt", "../x.html", "/etc/passwd.html", "nothing.html", ""])
def test_no_other_file_is_framed(told: Tracked, path: str) -> None:
    answer = httpx.get(f"{told.server.url}/runs/{told.going}/frame", params={"path": path})
    assert answer.status_code in (400, 404)
