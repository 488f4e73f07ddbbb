"""Experiments, runs, their comparison and the registry in a real browser."""

from __future__ import annotations

import re
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from loopwright.core.nouns import MetricPoint
from loopwright.tracking import verbs
from tests.ui.browsing import SCHEMES, Watch, ink_of
from tests.ui.showing import HOSTILE
from tests.ui.tracking import RUNS, SWEEP, Tracked

pytestmark = pytest.mark.browser

_ROWS = "tr[data-run]"
_TO_THE_END = "() => { const box = document.querySelector('.rows-box'); box.scrollTop = box.scrollHeight; }"
_TOP = "document.querySelector('.rows-box').scrollTop"
_FIRST_PAGE_BYTES = 60_000


@pytest.fixture
def told(sweep: Tracked) -> Tracked:
    return sweep


def names(page: Page) -> list[str]:
    return [name.strip() for name in page.locator(f"{_ROWS} td:nth-child(2)").all_inner_texts()]


def scrolled_to_the_end(page: Page) -> None:
    counted = page.locator("#counted")
    for _ in range(60):
        page.evaluate(_TO_THE_END)
        page.wait_for_timeout(50)
        if "all there are" in counted.inner_text():
            return
    raise AssertionError(counted.inner_text())


def compared(told: Tracked, *numbers: int) -> str:
    return "/compare?" + "&".join(f"run={told.runs[at]}" for at in numbers)


# -- the table ---------------------------------------------------------------------------


def test_rows_are_loaded_as_one_scrolls_and_few_are_kept_in_the_page(page: Page) -> None:
    page.goto(f"/experiments/{SWEEP}")
    expect(page.locator(_ROWS).first).to_contain_text(f"run-{RUNS - 1:03d}")
    expect(page.locator("#counted")).to_contain_text("100 runs loaded")
    assert page.locator(_ROWS).count() < 80
    scrolled_to_the_end(page)
    page.evaluate(_TO_THE_END)
    expect(page.locator(_ROWS).last).to_contain_text("run-000")
    assert page.locator(_ROWS).count() < 80
    assert int(page.locator(_ROWS).last.get_attribute("aria-rowindex") or 0) == RUNS + 1


def test_the_place_is_kept_when_a_column_comes(page: Page) -> None:
    page.goto(f"/experiments/{SWEEP}?column=metrics.auc")
    scrolled_to_the_end(page)
    page.evaluate("() => { document.querySelector('.rows-box').scrollTop = 6_000; }")
    page.wait_for_timeout(200)
    before, at = names(page), page.evaluate(_TOP)
    page.get_by_role("button", name=re.compile("^Columns")).click()
    page.get_by_label("seed").check()
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    expect(page.locator(f"{_ROWS} td:nth-child(8)").nth(8)).to_have_text("7")
    assert (names(page), page.evaluate(_TOP)) == (before, at)
    assert "column=metrics.auc&column=params.seed" in page.url
    page.goto(f"/experiments/{SWEEP}")
    expect(page.locator("thead")).to_contain_text("seed")


def test_the_server_orders_by_a_column_that_is_clicked(page: Page) -> None:
    page.goto(f"/experiments/{SWEEP}?column=metrics.auc")
    for sign, first in (("descending", RUNS - 1), ("ascending", 0)):
        page.locator("thead").get_by_role("button", name="auc").click()
        expect(page.locator("th[aria-sort]")).to_have_attribute("aria-sort", sign)
        expect(page.locator(_ROWS).first).to_contain_text(f"run-{first:03d}")
    page.reload()
    expect(page.locator(_ROWS).first).to_contain_text("run-000")


def test_an_error_in_a_filter_is_shown_at_its_place(page: Page) -> None:
    page.goto(f"/experiments/{SWEEP}")
    box = page.locator("#filter")
    box.fill("metrics.auc > AND params.model = 'tree'")
    box.press("Enter")
    expect(page.get_by_role("alert").locator("mark")).to_have_text("A")
    expect(page.get_by_role("alert")).to_contain_text("character 15")
    box.fill("(metrics.auc > 0.99 OR metrics.auc < 0.01) AND NOT params.model = 'net'")
    box.press("Enter")
    expect(page.get_by_role("alert")).to_have_count(0)
    wanted = [at for at in reversed(range(RUNS)) if (at / RUNS > 0.99 or at / RUNS < 0.01) and at % 3 != 2]
    expect(page.locator("#counted")).to_contain_text(f"{len(wanted)} runs loaded, all")
    assert names(page) == [f"run-{at:03d}" for at in wanted]
    page.reload()
    expect(page.locator("#counted")).to_contain_text(f"{len(wanted)} runs loaded, all")
    box.fill("run-00")
    box.press("Enter")
    expect(page.locator("#counted")).to_contain_text("10 runs loaded, all")


def test_an_error_in_a_link_is_shown_too(page: Page) -> None:
    page.goto(f"/experiments/{SWEEP}?filter={quote('nonsense.x = 1')}")
    expect(page.get_by_role("alert")).to_contain_text("Invalid entity type")


def test_runs_are_grouped_by_a_param(page: Page) -> None:
    page.goto(f"/experiments/{SWEEP}?column=metrics.auc")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/rows?*token=*", hold)
    page.locator("#group").select_option("params.model")
    heads = page.locator("tr.group")
    expect(heads.first).to_contain_text("line")
    expect(page.locator("#counted")).to_contain_text("100 runs loaded")
    expect(heads.first).to_contain_text(f"{len(range(1, RUNS, 3))} runs")
    page.unroute("**/rows?*token=*", hold)
    heads.first.locator("button").click()
    scrolled_to_the_end(page)
    page.evaluate("() => { document.querySelector('.rows-box').scrollTop = 0; }")
    expect(heads.first).to_contain_text(f"{len(range(1, RUNS, 3))} runs")
    expect(heads.nth(1)).to_contain_text("net")
    assert page.locator(_ROWS).count() > 0


def test_a_saved_view_comes_back(page: Page) -> None:
    page.goto(f"/experiments/{SWEEP}?filter={quote('metrics.auc > 0.9')}&column=params.lr")
    asked = page.url
    page.get_by_role("button", name="Views").click()
    page.get_by_label("Name of this view").fill("good ones")
    page.get_by_role("button", name="Save").click()
    page.goto(f"/experiments/{SWEEP}")
    page.get_by_role("button", name="Views").click()
    page.get_by_role("link", name="good ones").click()
    page.wait_for_url("**filter=**")
    expect(page.locator("#filter")).to_have_value("metrics.auc > 0.9")
    assert re.sub(r"%20", "+", asked).partition("?")[2] == page.url.partition("?")[2]


def test_what_runs_now_is_seen_to_begin_and_to_end(page: Page, told: Tracked) -> None:
    ctx = told.workspace.context()
    run = verbs.start(ctx, "run", "first", experiment="live")
    page.goto("/experiments/live?column=metrics.loss")
    expect(page.locator(_ROWS)).to_contain_text("running")
    expect(page.locator("#live-dot.on")).to_be_visible()
    second = verbs.start(ctx, "run", "second", experiment="live")
    expect(page.locator(_ROWS).first).to_contain_text("second")
    verbs.log_points(ctx, run.id, [MetricPoint(key="loss", value=0.25, at_us=1)])
    expect(page.locator(_ROWS).nth(1)).to_contain_text("0.25")
    verbs.end(ctx, second.id)
    expect(page.locator(_ROWS).first).to_contain_text("finished")
    expect(page.locator(_ROWS).nth(1)).to_contain_text("running")
    verbs.end(ctx, run.id)


def test_the_first_page_is_small(told: Tracked) -> None:
    """As it travels: the page and everything it asks for."""
    start = f"/experiments/{SWEEP}"
    with httpx.Client(base_url=told.server.url) as client:
        found = {start: client.get(start)}
        for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', found[start].text):
            found[path] = client.get(path)
        sent = {path: int(answer.headers["content-length"]) for path, answer in found.items()}
    assert {answer.headers.get("content-encoding") for path, answer in found.items() if sent[path] > 800} == {
        "gzip"
    }
    assert sum(sent.values()) < _FIRST_PAGE_BYTES


# -- side by side --------------------------------------------------------------------------


def test_chosen_rows_are_compared(page: Page, told: Tracked) -> None:
    page.goto(f"/experiments/{SWEEP}")
    boxes = page.locator(f"{_ROWS} input")
    boxes.nth(0).click()
    boxes.nth(3).click(modifiers=["Shift"])
    page.locator("#compare").click()
    page.wait_for_url("**/compare?run=*")
    expect(page.locator("h1")).to_have_text("4 runs side by side")
    assert set(re.findall(r"run=([0-9a-z]+)", page.url)) == set(told.runs[-4:])


def test_a_comparison_is_a_link(page: Page, told: Tracked) -> None:
    watch = Watch(page, told.host)
    page.goto(compared(told, 5, 6, 7))
    params = page.locator("#params")
    expect(params).to_contain_text("2 of 3 differ")
    expect(params.locator("tbody th")).to_have_text(["lr", "model"])
    params.locator("#params-differing").uncheck()
    expect(params.locator("tbody th")).to_have_text(["lr", "model", "seed"])
    best = page.locator("#metrics td.best")
    expect(best).to_have_text("0.021875")
    page.locator("#metrics").get_by_role("button", name=re.compile("auc")).click()
    expect(best).to_have_text("0.015625")
    for part in ("#scatter .chart", "#parallel .chart"):
        page.locator(part).scroll_into_view_if_needed()
        assert ink_of(page.locator(part)).drawn > 800
    page.locator("#scatter-x").select_option("params.model")
    page.reload()
    expect(page.locator("#scatter-x")).to_have_value("params.model")
    expect(params.locator("tbody th")).to_have_text(["lr", "model", "seed"])
    assert watch.faults == []


def test_too_many_or_unknown_runs_are_told(page: Page, told: Tracked) -> None:
    answer = page.goto(compared(told, *range(51)))
    assert answer is not None
    assert answer.status == 400
    page.goto(f"{compared(told, 1, 2)}&run=nothing")
    expect(page.get_by_role("status").filter(has_text="not there")).to_contain_text("nothing")
    expect(page.locator("h1")).to_have_text("2 runs side by side")


# -- the registry, and words that would act ---------------------------------------------------


def test_two_versions_are_compared(page: Page) -> None:
    page.goto("/assets/model/scorer")
    page.get_by_role("button", name="Compare the two chosen").click()
    expect(page.locator("h1")).to_have_text("Version 1 and version 2")
    expect(page.locator("main")).to_contain_text("said")


def test_the_text_of_a_prompt_and_what_changed(page: Page) -> None:
    page.goto("/prompts")
    page.get_by_role("link", name="summary").click()
    expect(page.locator(".diff .came")).to_have_text(re.compile(re.escape(HOSTILE)))
    expect(page.locator(".diff .went")).to_have_text(re.compile("Briefly"))
    page.goto("/models")
    expect(page.locator(".rows")).not_to_contain_text("summary")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_words_that_would_act_are_only_text(chromium: Browser, told: Tracked, scheme: str) -> None:
    context = chromium.new_context(
        base_url=told.server.url, color_scheme="dark" if scheme == "dark" else "light"
    )
    page = context.new_page()
    watch = Watch(page, told.host)
    hostile = quote(HOSTILE, safe="")
    group = quote(f"params.{HOSTILE}", safe="")
    for path in (
        "/experiments",
        f"/experiments/{hostile}",
        f"/experiments/{hostile}?group={group}&column={group}",
        f"/experiments/{hostile}?filter={quote(f'tags.why = {HOSTILE!r}', safe='')}",
        f"/runs/{told.going}",
        f"/compare?run={told.going}&run={told.runs[0]}",
        "/models",
        "/assets/model/scorer",
        "/models/compare?model=scorer&left=1&right=2",
        "/prompts/summary",
    ):
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 200, path
        expect(page.locator("#live-dot.on")).to_be_visible()
        expect(page.locator("main").get_by_text("alert(1)").first).to_be_attached()
    context.close()
    assert watch.faults == []


def test_they_fit_a_narrow_screen(chromium: Browser, told: Tracked) -> None:
    context = chromium.new_context(base_url=told.server.url, viewport={"width": 420, "height": 800})
    page = context.new_page()
    wide = []
    for path in (f"/experiments/{SWEEP}", f"/runs/{told.going}", compared(told, *range(50)), "/models"):
        page.goto(path)
        expect(page.locator("#live-dot.on")).to_be_visible()
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            wide.append(path)
    context.close()
    assert wide == []


def test_an_address_that_other_clients_print_leads_to_the_run(page: Page, told: Tracked) -> None:
    page.goto(f"/#/experiments/0/runs/{told.going}")
    page.wait_for_url(f"**/runs/{told.going}")


def test_parts_are_unfolded_below_their_run(page: Page) -> None:
    asked = quote("attributes.run_name LIKE 'run-00_'")
    page.goto(f"/experiments/{SWEEP}?filter={asked}&column=metrics.auc")
    page.locator("#group").select_option("parent")
    expect(page.locator(_ROWS)).to_have_count(7)
    page.locator(_ROWS).last.get_by_role("button", name="Show its parts").click()
    expect(page.locator(_ROWS)).to_have_count(10)
    assert names(page)[-4:] == ["run-000", "run-003", "run-002", "run-001"]
    expect(page.locator(_ROWS).last.locator("td.num")).to_have_text("0.003125")
