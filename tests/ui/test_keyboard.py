"""The pages by keyboard alone, with real key presses."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.ui.showing import MODEL_PATH, Shown

pytestmark = pytest.mark.browser

_RINGED = """() => {
  const at = document.activeElement, style = getComputedStyle(at), seen = at.getBoundingClientRect();
  return [at.tagName, style.outlineStyle, parseFloat(style.outlineWidth), seen.width > 0 && seen.height > 0];
}"""


def focused(page: Page) -> str:
    found: str = page.evaluate("document.activeElement.getAttribute('href') ?? document.activeElement.id")
    return found


def test_every_stop_of_the_tab_key_is_seen(page: Page) -> None:
    page.goto("/runs")
    expect(page.locator("#live-dot.on")).to_be_visible()
    stops = []
    for _ in range(30):
        page.keyboard.press("Tab")
        tag, style, width, has_size = page.evaluate(_RINGED)
        assert (style, has_size) == ("solid", True), tag
        assert width >= 2
        stops.append(focused(page))
    assert {"#main", "/journal", "find-open", "help-open", "theme", "/runs?kind=training"} <= set(stops)
    assert any(re.match(r"/(runs|incidents)/.+", stop) for stop in stops)


def test_the_shortcuts_are_told_by_one(page: Page) -> None:
    page.goto("/decisions")
    page.keyboard.press("?")
    told = page.locator("#help")
    expect(told).to_be_visible()
    for words in ("go to a page or an address", "monitoring", "next and previous row", "light or dark"):
        expect(told).to_contain_text(words)
    page.keyboard.press("j")
    assert not page.evaluate("document.querySelector('main').contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(told).to_be_hidden()


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("h", "/"),
        ("a", "/assets"),
        ("r", "/runs"),
        ("x", "/experiments"),
        ("o", "/models"),
        ("e", "/endpoints"),
        ("m", "/monitoring"),
        ("i", "/incidents"),
        ("d", "/decisions"),
        ("j", "/journal"),
    ],
)
def test_g_and_a_letter_go_to_a_page(page: Page, key: str, path: str) -> None:
    page.goto("/decisions" if path == "/" else "/")
    page.keyboard.press("g")
    page.keyboard.press(key)
    page.wait_for_url(f"**{path}")
    expect(page.locator("nav [aria-current=page]")).to_have_attribute("href", path)


def test_j_and_k_walk_the_rows_and_enter_opens_one(page: Page) -> None:
    page.goto("/decisions")
    rows = page.locator(".rows tbody tr")
    for keys, row in (("j", 0), ("j", 1), ("j", 2), ("k", 1)):
        page.keyboard.press(keys)
        expect(rows.nth(row).locator("a").first).to_be_focused()
    aim = focused(page)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{aim}")


def test_a_letter_typed_into_the_finder_is_only_text(page: Page) -> None:
    page.goto("/runs")
    page.keyboard.press("/")
    page.keyboard.type("gjt?/")
    expect(page.locator("#find-text")).to_have_value("gjt?/")
    expect(page.locator("#help")).to_be_hidden()
    page.locator("#find-text").fill("")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#find-list a").nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/assets")


def test_t_turns_the_light(page: Page) -> None:
    page.goto("/runs")
    page.keyboard.press("t")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.keyboard.press("t")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"


def test_the_lineage_is_walked_by_arrows(page: Page, shown: Shown) -> None:
    page.goto(MODEL_PATH)
    graph = page.locator("#graph")
    expect(graph.locator("canvas").first).to_be_visible()
    graph.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#graph-said")).to_have_text(re.compile("^training train"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs/*")
    expect(page.locator("h1")).to_have_text(re.compile("^train"))


def test_the_lineage_is_made_larger_and_smaller(page: Page) -> None:
    page.goto(MODEL_PATH)
    expect(page.locator("#graph canvas").first).to_be_visible()
    zoom = "document.getElementById('graph').graph.zoom()"
    start = page.evaluate(zoom)
    page.locator("#graph").focus()
    page.keyboard.press("+")
    assert page.evaluate(zoom) > start
    page.keyboard.press("-")
    page.keyboard.press("-")
    assert page.evaluate(zoom) < start
    page.locator("[data-zoom=in]").click()
    page.mouse.wheel(0, 300)
    assert page.evaluate(zoom) == pytest.approx(start, rel=0.01)
