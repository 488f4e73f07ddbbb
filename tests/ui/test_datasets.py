"""The page of a dataset, its contract's editor, the catalogue and a label queue, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from loopwright.app.assembling import assemble
from loopwright.app.server import Server
from loopwright.data.allowing import PurposeRule, Purposes
from loopwright.data.appending import append
from loopwright.data.contracts import define_contract
from loopwright.data.nouns import Freshness
from loopwright.data.purposes import request_access, set_purposes
from loopwright.engine.context import Principal
from loopwright.workspace import ReplayClock, Workspace
from tests.data.weather import START, contract, weather
from tests.ui.browsing import SCHEMES, ink_of, watched
from tests.ui.showing import Shown

pytestmark = pytest.mark.browser

LONG = "x" * 80


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Shown]:
    clock = ReplayClock(START + timedelta(days=2))
    with Workspace.open(tmp_path / ".loopwright", clock=clock) as workspace:
        ctx = workspace.context()
        define_contract(ctx, "weather", contract(freshness=(Freshness(column="known_at", within="3h"),)))
        for day in range(2):
            rows = weather(24, start=24 * day, wind={1: 300.0} if day else {})
            keys = ("origin", "observed_at")
            append(ctx, "weather", rows, event_time="observed_at", known_at="known_at", keys=keys)
        append(ctx, LONG, weather(2))
        rule = PurposeRule(column="humid", restricted=("sale",), otherwise="allowed")
        set_purposes(ctx, "weather", Purposes(ask="met@example.org", rules=(rule,)))
        request_access(ctx.acting_as(Principal(name="ann")), "weather", ("humid",), "sale", "a study")
        app = assemble(workspace)
        with Server(app, on_stopping=app.stop_feeds) as server:
            yield Shown(workspace, server, {})


@pytest.fixture
def page(chromium: Browser, told: Shown) -> Iterator[Page]:
    with watched(chromium, told.server.url) as opened:
        yield opened


@pytest.mark.slow
def test_a_contract_is_tried_mended_and_published(page: Page, told: Shown) -> None:
    page.goto("/assets/dataset/weather")
    expect(page.get_by_role("region", name="Checks over time")).to_contain_text("1.4 %")
    page.get_by_role("link", name="Edit the contract").click()
    expect(page.get_by_role("region", name="The inferred contract")).to_contain_text("columns.humid.max")
    text = page.get_by_label("What every batch must be like")
    text.fill("{")
    page.get_by_role("button", name="Dry run on version 2").click()
    expect(page.get_by_role("alert")).to_contain_text("This is no JSON")
    page.reload()
    text.fill(text.input_value().replace('"max": 200', '"max": 20'))
    page.get_by_role("button", name="Dry run on version 2").click()
    expect(
        page.get_by_role("region", name="What the dry run found").get_by_role("row").nth(1)
    ).to_contain_text("wind_speed is in range")
    assert told.workspace.call("data.contract", name="weather").columns[3].max == 200
    page.get_by_role("button", name="Publish").click()
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_role("heading", name="Contract of weather")).to_be_visible()
    expect(page.get_by_text("version 2 of 2")).to_be_visible()
    assert told.workspace.call("data.contract", name="weather").columns[3].max == 20


@pytest.mark.slow
def test_rows_are_released_and_a_request_is_answered(page: Page, told: Shown) -> None:
    page.goto("/assets/dataset/weather")
    expect(page.get_by_role("region", name="Rows in quarantine")).to_contain_text("300")
    page.get_by_role("textbox", name="Why").first.fill("a storm, checked by hand")
    page.get_by_role("combobox", name="Rows").select_option("wind_speed is in range")
    page.get_by_role("button", name="Release into the dataset").click()
    expect(page.get_by_role("heading", name="No row is in quarantine")).to_be_visible()
    assert told.workspace.call("data.show", name="weather").rows == 144
    page.get_by_role("textbox", name="Answer to ann").fill("for the study")
    page.get_by_role("textbox", name="How long a grant").fill("30d")
    page.get_by_role("button", name="Grant").click()
    expect(page.get_by_role("region", name="Requests for access")).to_contain_text("until 2013-02-02")
    page.get_by_text("Owner, tags and description").click()
    page.get_by_role("textbox", name="Owner").fill("met@example.org")
    page.get_by_role("textbox", name="Tags").fill("hourly source=noaa")
    page.get_by_role("button", name="Keep it").click()
    expect(page.get_by_text("owned by met@example.org")).to_be_visible()
    page.goto("/assets?kind=dataset")
    page.get_by_role("searchbox", name="Search datasets").fill("NOAA")
    page.keyboard.press("Enter")
    row = page.get_by_role("region", name="Datasets").get_by_role("row")
    expect(row).to_have_count(2)
    expect(row.nth(1)).to_contain_text("fresh")


def test_a_refusal_in_a_form_leads_to_the_form_that_helps(page: Page, told: Shown) -> None:
    rule = PurposeRule(column="humid", allowed=("support",))
    purposes = Purposes(ask="met@example.org", rules=(rule,))
    set_purposes(told.workspace.context().acting_as(Principal(name="bob")), "weather", purposes)
    page.goto("/labels?dataset=weather")
    page.get_by_role("textbox", name="Question").fill("Is this a storm?")
    page.get_by_role("button", name="Open the queue").click()
    refused = page.get_by_role("alert")
    expect(refused).to_contain_text("ask met@example.org: loopwright data request-access weather")
    refused.get_by_role("link", name="Ask for access").click()
    expect(page).to_have_url(f"{told.server.url}/assets/dataset/weather#purposes")
    expect(page.locator("#purposes summary", has_text="Ask for access")).to_be_in_viewport()


def test_a_queue_is_worked_with_the_keyboard_alone(page: Page, told: Shown) -> None:
    page.goto("/labels?dataset=weather")
    page.get_by_role("textbox", name="Question").fill("Is this a storm?")
    page.get_by_role("combobox", name="Uncertain ones first").select_option("wind_speed")
    page.get_by_role("spinbutton", name="Rows at most").fill("3")
    page.get_by_role("button", name="Open the queue").click()
    expect(page.get_by_role("link", name="weather-review", exact=True)).to_be_visible()
    for who in ("ann", "bob"):
        page.goto(f"/labels/weather-review?as={who}")
        for left, key in ((3, "1"), (2, "2"), (1, "s")):
            expect(page.get_by_text(f"{left} left for {who}")).to_be_visible()
            page.keyboard.press(key)
        expect(page.get_by_role("heading", name=f"Nothing is left for {who}")).to_be_visible()
        page.keyboard.press("u")
        expect(page.get_by_text("you chose not to say")).to_be_visible()
        page.keyboard.press("1")
        expect(page.get_by_role("heading", name=f"Nothing is left for {who}")).to_be_visible()
    expect(page.get_by_role("region", name="Agreement")).to_contain_text("1.000")
    page.get_by_role("button", name="Publish 3 agreed labels").click()
    expect(page.get_by_role("heading", name="weather-review-labels")).to_be_visible()
    labels = told.workspace.call("data.rows", name="weather-review-labels").items
    assert [row["label"] for row in labels] == ["yes", "no", "yes"]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_pages_fit_a_telephone_in_both_schemes(chromium: Browser, told: Shown, scheme: str) -> None:
    asked = {"question": LONG, "choices": [LONG, "no"], "keys": ["origin", "observed_at"]}
    told.workspace.call("labels.open", queue=f"q-{LONG}", dataset=LONG, **asked)
    told.workspace.call("data.erase", entity=["origin=EWR"])
    context = chromium.new_context(
        base_url=told.server.url,
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": 360, "height": 700},
    )
    context.set_default_timeout(20_000)
    page = context.new_page()
    paths = (f"/assets/dataset/{LONG}", "/assets/dataset/weather", "/contracts/weather", "/erasures")
    for path in (*paths, "/assets?kind=dataset", "/labels?dataset=weather", f"/labels/q-{LONG}"):
        answer = page.goto(path)
        assert answer is not None
        assert answer.ok, path
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        assert (ink_of(page.locator("body")).ground_light < 0.5) is (scheme == "dark")
    context.close()
