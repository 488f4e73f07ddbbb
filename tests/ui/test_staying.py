"""What stays when a page is loaded again, and what moves on it while nobody does."""

from __future__ import annotations

import re
import time

import httpx
import pytest
from playwright.sync_api import Page, expect

from loopwright.engine.live import Note
from loopwright.engine.publishing import ensure_asset
from tests.ui.showing import MODEL_PATH, Shown

pytestmark = pytest.mark.browser

FLIGHT = {
    "origin": ("BYTES", "JFK"),
    "dest": ("BYTES", "LAX"),
    "carrier": ("BYTES", "AA"),
    "tailnum": ("BYTES", "N338AA"),
    "minute_of_day": ("INT64", 600),
    "arrival_minute": ("INT64", 780),
    "weekday": ("INT64", 3),
    "distance": ("INT64", 2475),
}


@pytest.mark.parametrize(
    ("path", "choice"),
    [
        ("/runs?kind=training", "training"),
        ("/assets?kind=feature_view", "feature view"),
        ("/decisions?action=promote", "promote"),
        ("/journal?kind=alias.", "alias"),
        ("/monitoring/delays?days=30", "30 days"),
    ],
)
def test_a_choice_is_part_of_the_address(page: Page, path: str, choice: str) -> None:
    page.goto(path.partition("?")[0])
    page.locator("main .filters").get_by_text(choice, exact=True).click()
    page.wait_for_url(f"**{path}")
    page.reload()
    expect(page.locator("main .filters [aria-current=true]")).to_have_text(choice)
    if "kind=training" in path:
        assert set(page.locator(".rows tbody td:nth-child(2)").all_inner_texts()) == {"training"}


def test_a_shorter_stretch_shows_fewer_days(page: Page) -> None:
    count = "JSON.parse(document.getElementById('series-data').textContent).series.roc_auc.length"
    page.goto("/monitoring/delays")
    whole = page.evaluate(count)
    page.goto("/monitoring/delays?days=30")
    assert 1 <= page.evaluate(count) <= min(30, whole)
    page.goto("/monitoring/delays?days=nonsense")
    assert page.evaluate(count) == whole


def test_alike_nodes_are_folded_until_all_are_asked_for(page: Page) -> None:
    page.goto(MODEL_PATH)
    nodes = "document.getElementById('graph').graph.nodes().length"
    expect(page.locator("#graph canvas").first).to_be_visible()
    folded = page.evaluate(nodes)
    assert page.evaluate("document.getElementById('graph').graph.zoom()") >= 0.78
    page.get_by_role("link", name="Show every node").click()
    page.wait_for_url("**?all=1")
    page.reload()
    expect(page.locator("#graph canvas").first).to_be_visible()
    assert page.evaluate(nodes) > folded
    page.locator(".as-list summary").click()
    assert page.locator(".as-list a").count() == page.evaluate(nodes)
    page.get_by_role("link", name="Fold alike nodes").click()
    page.wait_for_url(re.compile(r"[^1]$"))


def test_home_grows_without_being_loaded_again(page: Page, shown: Shown) -> None:
    page.goto("/")
    expect(page.locator("#live-dot.on")).to_be_visible()
    expect(page.locator(".chart canvas").first).to_be_visible()
    page.evaluate("window.stays = true; document.querySelector('.chart canvas').stays = true")
    kept = page.locator("#timeline a").first
    kept.focus()
    aim = kept.get_attribute("href")
    ctx = shown.workspace.context()
    ctx.write(lambda tx: ensure_asset(ctx, tx, "dataset", "newcomer"))
    expect(page.locator("#timeline")).to_contain_text("dataset:newcomer")
    assert page.evaluate("window.stays && document.querySelector('.chart canvas').stays")
    assert page.evaluate("document.activeElement.getAttribute('href')") == aim


def test_a_rate_nobody_confirms_goes_away(page: Page, shown: Shown) -> None:
    page.clock.install()
    page.goto("/")
    expect(page.locator("#live-text")).to_have_text("live")
    shown.workspace.live.publish([Note(topic="replay", body={"rate": 77.0})])
    expect(page.locator("#rate")).to_have_text("77/s")
    page.clock.fast_forward(11_000)
    expect(page.locator("#rate")).to_have_text("delays")


def test_the_endpoint_counts_requests_as_they_are_answered(page: Page, shown: Shown) -> None:
    page.goto("/endpoints/delays")
    asked = {
        "inputs": [
            {"name": name, "datatype": kind, "shape": [1], "data": [value]}
            for name, (kind, value) in FLIGHT.items()
        ]
    }
    until = time.monotonic() + 20
    with httpx.Client(base_url=shown.server.url, timeout=30) as client:
        while not re.fullmatch(r"[1-9][\d,]*/s", page.locator("#rate").inner_text()):
            assert time.monotonic() < until
            for _ in range(20):
                assert client.post("/v2/models/delays/infer", json=asked).status_code == 200
            page.wait_for_timeout(100)
    assert page.evaluate("document.querySelector('[data-live]').points.length") >= 1
