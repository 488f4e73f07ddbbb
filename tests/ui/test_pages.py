"""Every page in a real browser, light and dark, over a workspace the story was told in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from loopwright.engine.live import Note
from loopwright.surfaces.ui.pages import PAGES
from tests.ui.browsing import SCHEMES, Watch, ink_of
from tests.ui.showing import HOSTILE, MODEL, Shown, empty

pytestmark = pytest.mark.browser

Scheme = Literal["light", "dark"]
CHARTED = {
    "/": 1,
    "/endpoints/{name:path}": 3,
    "/monitoring/{name:path}": 5,
    "/incidents/{incident_id}": 1,
}
DRAWN = ("/versions/{address:path}", "/runs/{run_id}")


def test_every_page_has_an_address(shown: Shown) -> None:
    assert not [path for path in shown.paths.values() if "{" in path]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("path", [page.path for page in PAGES])
def test_a_page_is_whole(chromium: Browser, shown: Shown, path: str, scheme: Scheme) -> None:
    context = chromium.new_context(base_url=shown.server.url, color_scheme=scheme)
    page = context.new_page()
    watch = Watch(page, shown.host)
    answer = page.goto(shown.paths[path])
    assert answer is not None
    assert answer.status == 200
    expect(page.locator("#live-dot.on")).to_be_visible()
    expect(page.locator("h1")).to_have_count(1)
    assert page.locator("h1").inner_text().strip()
    assert re.fullmatch(r".+ · Loopwright", page.title())
    assert page.locator("nav [aria-current=page]").count() == 1
    assert "StrictUndefined" not in page.locator("main").inner_text()
    look(page, path, scheme)
    context.close()
    assert watch.faults == []


def look(page: Page, path: str, scheme: Scheme) -> None:
    """What is drawn on the page, by its pixels."""
    whole = ink_of(page.locator("body"))
    assert whole.ground_light > 0.9 if scheme == "light" else whole.ground_light < 0.2
    charts = page.locator("[data-chart]:visible, [data-live]:visible")
    assert charts.count() == CHARTED.get(path, 0)
    for chart in charts.all():
        assert chart.locator("canvas").count() >= 1
        assert ink_of(chart).drawn > 300
    if path in DRAWN:
        assert ink_of(page.locator("#graph")).drawn > 2_000


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_empty_workspace_is_shown_as_one(chromium: Browser, tmp_path: Path, scheme: Scheme) -> None:
    with empty(tmp_path / ".loopwright") as nothing:
        context = chromium.new_context(base_url=nothing.server.url, color_scheme=scheme)
        page = context.new_page()
        watch = Watch(page, nothing.host)
        for path in nothing.paths.values():
            page.goto(path)
            expect(page.locator(".empty").first).to_be_visible()
            expect(page.locator("#live-dot.on")).to_be_visible()
            page.set_viewport_size({"width": 390, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
            page.set_viewport_size({"width": 1280, "height": 720})
        context.close()
    assert watch.faults == []


_CONTRAST = """() => {
  const style = getComputedStyle(document.documentElement);
  const light = (name) => {
    const hex = style.getPropertyValue(name).trim();
    const parts = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255);
    const [r, g, b] = parts.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const pairs = [["--good", "--good-soft"], ["--bad", "--bad-soft"], ["--warn", "--warn-soft"]];
  for (const text of ["--ink", "--soft", "--faint", "--accent"])
    pairs.push([text, "--panel"], [text, "--bg"]);
  for (const kind of ["dataset", "feature", "run", "model", "endpoint"])
    pairs.push(["--ink", `--k-${kind}-soft`]);
  return pairs.map(([a, b]) => [`${a} on ${b}`, ratio(light(a), light(b))]);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(chromium: Browser, shown: Shown, scheme: Scheme) -> None:
    """Contrast of WCAG 2.2, 1.4.3: at least 4.5 for text of any size."""
    context = chromium.new_context(base_url=shown.server.url, color_scheme=scheme)
    page = context.new_page()
    page.goto("/")
    found = page.evaluate(_CONTRAST)
    context.close()
    assert [(name, round(ratio, 2)) for name, ratio in found if ratio < 4.5] == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_measured_days_are_lines_of_the_charts(chromium: Browser, shown: Shown, scheme: Scheme) -> None:
    """The line itself, in its colour, not only the axes around it."""
    context = chromium.new_context(base_url=shown.server.url, color_scheme=scheme)
    page = context.new_page()
    page.goto(shown.paths["/monitoring/{name:path}"])
    for names in ("roc_auc", "labelled_share", "brier"):
        chart = page.locator(f"[data-chart=line][data-names={names}]")
        chart.scroll_into_view_if_needed()
        assert ink_of(chart).coloured > 100
    page.goto(shown.paths["/endpoints/{name:path}"])
    assert ink_of(page.locator("[data-chart=bars]")).coloured > 300
    context.close()


def test_pages_fit_a_narrow_screen(chromium: Browser, shown: Shown) -> None:
    context = chromium.new_context(base_url=shown.server.url, viewport={"width": 390, "height": 800})
    page = context.new_page()
    wide = []
    for path in shown.paths.values():
        page.goto(path)
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            wide.append(path)
        expect(page.locator("nav [aria-current=page]")).to_be_in_viewport(ratio=0.95)
    context.close()
    assert wide == []


def test_every_link_leads_somewhere(shown: Shown) -> None:
    seen, border, broken = set(shown.paths.values()), list(shown.paths.values()), []
    with httpx.Client(base_url=shown.server.url, timeout=30) as client:
        while border:
            path = border.pop()
            answer = client.get(path)
            if answer.status_code != 200:
                broken.append((path, answer.status_code))
            if path not in shown.paths.values() or "text/html" not in answer.headers["content-type"]:
                continue
            links = {
                link.replace("&amp;", "&") for link in re.findall(r'<a [^>]*?href="(/[^"]*)"', answer.text)
            }
            border += sorted(links - seen)
            seen |= links
    assert broken == []
    assert len(seen) > 60


def test_the_finder_opens_by_key_and_goes_to_an_address(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("/")
    expect(page.locator("#find")).to_be_visible()
    expect(page.locator("#find-text")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#find")).to_be_hidden()
    page.keyboard.press("Control+k")
    page.keyboard.type(MODEL)
    page.keyboard.press("Enter")
    page.wait_for_url("**/versions/**")
    expect(page.locator("h1")).to_have_text(MODEL)


def test_the_finder_finds_pages_and_other_addresses(page: Page, shown: Shown) -> None:
    page.goto("/")
    for text, path in [
        ("journ", "/journal"),
        ("endpoint:delays", "/endpoints/delays"),
        ("policy:gate/arrival-delay", "/assets/policy/gate%2Farrival-delay"),
        (shown.paths["/runs/{run_id}"].replace("/runs/", "run:"), shown.paths["/runs/{run_id}"]),
    ]:
        page.keyboard.press("/")
        page.keyboard.type(text)
        page.keyboard.press("Enter")
        page.wait_for_url(f"**{path}")
        expect(page.locator("h1")).to_have_count(1)


def test_the_first_key_skips_to_the_content(page: Page) -> None:
    page.goto("/runs")
    page.keyboard.press("Tab")
    skip = page.locator(".skip")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")
    page.keyboard.press("Tab")
    assert page.evaluate("document.getElementById('main').contains(document.activeElement)")


def test_a_chosen_theme_stays(page: Page) -> None:
    page.goto("/")
    assert ink_of(page.locator("body")).ground_light > 0.9
    page.locator("#theme").click()
    assert ink_of(page.locator("body")).ground_light < 0.2
    page.goto("/journal")
    assert ink_of(page.locator("body")).ground_light < 0.2
    page.locator("#theme").click()
    assert ink_of(page.locator("body")).ground_light > 0.9


@pytest.mark.parametrize("path", ["/nowhere", "/runs/nothing", "/versions/model%3Anothing%401"])
def test_an_unknown_page_is_told(page: Page, path: str) -> None:
    answer = page.goto(path)
    assert answer is not None
    assert answer.status == 404
    expect(page.locator("h1")).to_have_count(1)
    page.locator("main").get_by_role("link", name="Home").click()
    expect(page.locator("h1")).to_have_text("The loop")


def test_a_hostile_name_is_only_text(page: Page, shown: Shown) -> None:
    watch = Watch(page, shown.host)
    for path in ("/", "/assets", "/journal", f"/assets/dataset/{quote(HOSTILE, safe='')}"):
        page.goto(path)
        expect(page.locator("#live-dot.on")).to_be_visible()
    expect(page.locator("h1")).to_have_text(HOSTILE)
    assert watch.faults == []


def test_what_happens_is_shown_as_it_happens(page: Page, shown: Shown) -> None:
    page.goto("/")
    expect(page.locator("#live-text")).to_have_text("live")
    note = Note(
        topic="replay", body={"instant": "2013-08-09T10:11:00Z", "rate": 1234.4, "said": "on its way"}
    )
    shown.workspace.live.publish([note])
    expect(page.locator("#rate")).to_have_text("1,234/s")
    expect(page.locator("#clock")).to_have_text("2013-08-09 10:11")
    expect(page.locator("#progress")).to_have_text("on its way")
    page.goto("/endpoints/delays")
    expect(page.locator("#live-dot.on")).to_be_visible()
    before = ink_of(page.locator("[data-live]")).coloured
    for rate in (100.0, 1900.0, 700.0):
        shown.workspace.live.publish([Note(topic="replay", body={"rate": rate})])
        page.wait_for_timeout(200)
    assert ink_of(page.locator("[data-live]")).coloured > before + 50


def test_a_feed_that_is_lost_is_told(page: Page) -> None:
    page.context.route("**/api/v1/events", lambda route: route.abort())
    page.goto("/")
    expect(page.locator("#live-text")).to_have_text("reconnecting")
    expect(page.locator("#live-dot.on")).to_have_count(0)


def test_a_node_of_the_graph_leads_to_its_page(page: Page, shown: Shown) -> None:
    start = shown.server.url + shown.paths["/versions/{address:path}"]
    page.goto(start)
    expect(page.locator("#graph canvas").first).to_be_visible()
    box = page.locator("#graph").bounding_box()
    assert box is not None
    places = [(across / 40, down / 20) for across in range(1, 40) for down in range(1, 20)]
    for across, down in places:
        page.mouse.click(box["x"] + box["width"] * across, box["y"] + box["height"] * down)
        if page.url != start:
            break
    page.wait_for_url(re.compile("/(runs|versions)/(?!model%3Aarrival-delay%401$)"))
    expect(page.locator("h1")).to_have_count(1)
