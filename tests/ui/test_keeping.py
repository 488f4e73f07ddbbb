"""Trash, retention, requests, views on the server and long tables in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Literal
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from loopwright.core.errors import NotFound
from loopwright.engine.context import Principal
from loopwright.registry import versions
from loopwright.registry.nouns import NewVersion
from loopwright.registry.requests import request
from loopwright.tracking import lifecycle
from loopwright.tracking.artifacts import store
from loopwright.tracking.homes import in_run
from loopwright.tracking.paths import file_path
from loopwright.tracking.verbs import annotate, start
from tests.ui.browsing import SCHEMES, ink_of, watched
from tests.ui.showing import HOSTILE
from tests.ui.tracking import RUNS, SWEEP, Tracked, tracked

pytestmark = pytest.mark.browser

DIFF = f"--- a/train.py\n+++ b/train.py\n@@ -1 +1 @@\n-lr = 0.1\n+lr = '{HOSTILE}'\n"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracked]:
    with tracked(tmp_path_factory.mktemp("keeping") / ".loopwright") as found:
        settle = found.workspace.settle
        yield found
        settle()


@pytest.fixture
def page(chromium: Browser, told: Tracked) -> Iterator[Page]:
    with watched(chromium, told.server.url) as opened:
        yield opened


def put(told: Tracked, run_id: str, path: str, data: bytes) -> None:
    ctx = told.workspace.context()
    store(ctx, partial(in_run, space=ctx.space, run_id=run_id, path=file_path(path)), data)


# -- trash -----------------------------------------------------------------------------------


def test_a_run_goes_to_the_trash_and_comes_back(page: Page, told: Tracked) -> None:
    run_id = told.runs[20]
    page.goto(f"/runs/{run_id}")
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(".told")).to_contain_text("can be restored")
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(".head")).to_contain_text("in the trash")
    page.goto("/trash?kind=run")
    row = page.locator("tbody tr", has_text="run-020")
    expect(row).to_contain_text(SWEEP)
    expect(row).to_contain_text(re.compile(r"in 29 d"))
    page.get_by_role("button", name="Restore run-020").click()
    expect(page.locator("tbody tr", has_text="run-020")).to_have_count(0)
    page.goto(f"/runs/{run_id}")
    expect(page.locator(".head")).not_to_contain_text("in the trash")


def test_the_trash_is_emptied_but_for_what_is_held(page: Page, told: Tracked) -> None:
    ctx = told.workspace.context()
    gone, held = told.runs[21], told.runs[22]
    put(told, held, "model/MLmodel", b"flavors: {}")
    versions.create(ctx, "scorer", NewVersion(source=f"runs:/{held}/model", run_id=held))
    for run_id in (gone, held):
        lifecycle.delete_run(ctx, run_id)
    page.goto("/trash")
    expect(page.locator("tbody tr", has_text="run-022")).to_contain_text("held by model:scorer@")
    page.get_by_role("button", name="Empty the trash").click()
    expect(page.locator(".told")).to_contain_text("for good")
    page.get_by_role("button", name="Empty the trash").click()
    page.wait_for_timeout(300)
    told.workspace.settle()
    expect(page.locator("tbody tr", has_text="run-021")).to_have_count(0)
    expect(page.locator("tbody tr", has_text="run-022")).to_have_count(1)
    with ctx.read() as tx, pytest.raises(NotFound):
        tx.runs.get(gone)


def test_a_run_is_pinned(page: Page, told: Tracked) -> None:
    page.goto(f"/runs/{told.runs[23]}")
    page.get_by_role("button", name="Pin").click()
    expect(page.get_by_role("button", name="Pinned")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Pinned").click()
    expect(page.get_by_role("button", name="Pin", exact=True)).to_be_visible()


def test_how_long_an_experiment_keeps_its_runs_is_said_on_its_page(page: Page) -> None:
    page.goto(f"/experiments/{SWEEP}")
    keeping = page.locator("#keeping")
    expect(keeping.locator("summary")).to_have_text("Kept: every run, 30 days in the trash")
    keeping.locator("summary").click()
    page.get_by_label("Days that runs are kept").fill("90")
    page.get_by_label("Days in the trash").fill("7")
    page.get_by_role("button", name="Keep so").click()
    expect(keeping.locator("summary")).to_have_text("Kept: runs for 90 days, 7 days in the trash")
    keeping.locator("summary").click()
    page.get_by_label("Days that runs are kept").fill("")
    page.get_by_label("Days in the trash").fill("")
    page.get_by_role("button", name="Keep so").click()
    expect(keeping.locator("summary")).to_have_text("Kept: every run, 30 days in the trash")


def test_an_experiment_goes_to_the_trash_with_its_runs_and_comes_back(page: Page, told: Tracked) -> None:
    run = start(told.workspace.context(), "run", "inside", experiment="short")
    page.goto("/experiments/short")
    page.locator("#keeping summary").click()
    page.get_by_role("button", name="Delete the experiment").click()
    expect(page.locator(".told")).to_contain_text("can be restored")
    page.get_by_role("button", name="Delete the experiment").click()
    expect(page.locator(".head")).to_contain_text("in the trash")
    page.get_by_role("button", name="Restore").click()
    expect(page.locator("tr[data-run]").first).to_contain_text("inside")
    with told.workspace.context().read() as tx:
        assert tx.runs.get(run.id).deleted_at is None


# -- requests ----------------------------------------------------------------------------------


def test_a_request_is_answered_on_the_page_of_its_model(page: Page, told: Tracked) -> None:
    ann = told.workspace.context().acting_as(Principal(name="ann"))
    request(ann, "scorer", 1, alias="prod", note=HOSTILE)
    page.goto("/assets/model/scorer")
    asked = page.locator(".asked > li").first
    expect(asked).to_contain_text("version 1 as alias 'prod'")
    expect(asked).to_contain_text(HOSTILE)
    page.get_by_label("Reason of the answer").fill("I looked at it")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator(".asked > li").first).to_contain_text("approved by")
    expect(page.locator(".head")).to_contain_text("prod → version 1")
    request(ann, "scorer", 2, alias="prod")
    page.reload()
    page.get_by_label("Reason of the answer").fill("not now")
    page.get_by_role("button", name="Reject").click()
    expect(page.locator(".asked > li").first).to_contain_text("not now")
    page.locator(".asked > li").first.get_by_role("link", name="decision").click()
    expect(page.locator("main")).to_contain_text("a second person")


def test_a_move_is_asked_for_and_taken_back_on_the_page(page: Page) -> None:
    page.goto("/assets/model/scorer")
    page.locator("#requests summary").click()
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("alert")).to_contain_text("say what is to move")
    page.get_by_label("Alias asked for").fill("shadow")
    page.get_by_label("Note of the request").fill("to be watched")
    page.get_by_role("button", name="Ask").click()
    mine = page.locator(".asked > li", has_text="to be watched")
    expect(mine).to_contain_text("Somebody else has to answer")
    mine.get_by_role("button", name="Withdraw").click()
    expect(page.locator(".asked > li", has_text="withdrawn")).to_be_visible()


def test_an_alias_is_rolled_back_on_the_page(page: Page, told: Tracked) -> None:
    ctx = told.workspace.context()
    for number in (1, 2):
        versions.set_alias(ctx, "scorer", "back", number)
    page.goto("/assets/model/scorer")
    page.locator("#requests summary").click()
    page.get_by_label("Alias to roll back").select_option("back")
    page.get_by_label("Reason of the rollback").fill("worse")
    page.get_by_role("button", name="Roll back").click()
    expect(page.locator(".head")).to_contain_text("back → version 1")


# -- long tables and views ---------------------------------------------------------------------


def test_the_end_of_a_long_table_is_one_press_away(page: Page) -> None:
    page.goto(f"/experiments/{SWEEP}")
    expect(page.locator("#counted")).to_contain_text(re.compile(r"100 runs loaded of 3\d\d, more"))
    page.get_by_role("button", name="End").click()
    expect(page.locator("tr[data-run]").last).to_contain_text("run-000")
    expect(page.locator("#counted")).to_contain_text("all there are")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator("tr[data-run]").first).to_contain_text(f"run-{RUNS - 1}")


def test_a_filter_tells_how_many_runs_it_is_about(page: Page) -> None:
    page.goto(f"/experiments/{SWEEP}?filter={quote('metrics.auc >= 0.5')}")
    expect(page.locator("#counted")).to_contain_text("100 runs loaded of 160, more")


def test_a_view_is_kept_on_the_server_and_followed_by_its_link(
    page: Page, chromium: Browser, told: Tracked
) -> None:
    page.goto(f"/experiments/{SWEEP}?filter={quote('metrics.auc > 0.9')}&column=params.lr")
    page.get_by_role("button", name="Views").click()
    page.get_by_label("Name of this view").fill("the best")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("link", name="the best")).to_be_visible()
    (view,) = [
        each for each in told.workspace.call("views.list", experiment=SWEEP) if each.name == "the best"
    ]
    other = chromium.new_context(base_url=told.server.url)
    try:
        elsewhere = other.new_page()
        elsewhere.goto(f"/experiments/{SWEEP}?view={view.id}")
        expect(elsewhere.locator("#filter")).to_have_value("metrics.auc > 0.9")
        elsewhere.goto(f"/experiments/{SWEEP}?view=none")
        expect(elsewhere.locator("#counted")).to_contain_text("100 runs loaded")
    finally:
        other.close()
    page.get_by_role("button", name="Forget the best").click()
    expect(page.get_by_role("link", name="the best")).to_have_count(0)


# -- code --------------------------------------------------------------------------------------


def test_what_the_code_differed_by_is_shown_beside_it(page: Page, told: Tracked) -> None:
    ctx = told.workspace.context()
    run = start(ctx, "run", "changed", experiment="code")
    annotate(ctx, run.id, facts={"code": {"commit": "abc", "diff": "d"}})
    put(told, run.id, "loopwright/changes.diff", DIFF.encode())
    put(told, run.id, "loopwright/environment.lock.txt", b"numpy==2.1\n")
    page.goto(f"/runs/{run.id}")
    diff = page.locator("#code-files pre.diff")
    expect(diff).to_contain_text(HOSTILE)
    expect(diff.locator(".came")).to_have_count(1)
    expect(page.locator("#code-files")).to_contain_text("environment.lock.txt")
    assert ink_of(diff, "--good").coloured > 20


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", [420, 1280])
@pytest.mark.parametrize("path", ["/trash", "/assets/model/scorer"])
def test_the_pages_fit_their_width(
    page: Page, path: str, width: int, scheme: Literal["light", "dark"]
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    page.goto(path)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ink = ink_of(page.locator("main"))
    assert (ink.ground_light > 0.5) is (scheme == "light")
    assert ink.drawn > 2_000
