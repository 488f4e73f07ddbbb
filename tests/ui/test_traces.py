"""The pages of traces in a real browser: found, opened, unfolded, and nothing of a stranger's runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from loopwright.app.assembling import assemble
from loopwright.app.server import Server
from loopwright.core.traces import Span
from loopwright.llm import assessments
from loopwright.llm.assessments import Said
from loopwright.llm.intake import Sent, log_spans
from loopwright.workspace import Workspace
from tests.ui.browsing import Watch, paged
from tests.ui.showing import HOSTILE

pytestmark = pytest.mark.browser

MS = 1_000_000
BEGUN = 1_700_000_000_000 * MS


def spans(number: int, *, failed: bool) -> tuple[Span, ...]:
    trace_id, root = f"tr-{number:032x}", f"{1:016x}"
    asked = {"mlflow.spanInputs": {"q": HOSTILE}, "mlflow.traceTag.mlflow.traceName": f"answer {number}"}
    return (
        Span(
            trace_id=trace_id,
            id=root,
            name="answer",
            status="ERROR" if failed else "OK",
            message=HOSTILE if failed else "",
            start_ns=BEGUN + number * MS,
            end_ns=BEGUN + (number + 800) * MS,
            attributes=asked,
        ),
        Span(
            trace_id=trace_id,
            id=f"{2:016x}",
            parent_id=root,
            name=HOSTILE,
            type="TOOL",
            start_ns=BEGUN + (number + 200) * MS,
            end_ns=BEGUN + (number + 400) * MS,
            attributes={"mlflow.chat.tokenUsage": {"total_tokens": 7}, "mlflow.spanOutputs": "21 degrees"},
        ),
    )


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ExitStack() as stack:
        folder: Path = tmp_path_factory.mktemp("traces") / ".loopwright"
        workspace = stack.enter_context(Workspace.open(folder))
        ctx = workspace.context()
        for number in range(130):
            log_spans(ctx, Sent(experiment_id="0", spans=spans(number + 1, failed=number == 3)))
        said = Said(name="tone", kind="feedback", value=HOSTILE, rationale=HOSTILE, source_type="HUMAN")
        assessments.create(ctx, f"tr-{4:032x}", said)
        app = assemble(workspace)
        server = stack.enter_context(Server(app, on_stopping=app.stop_feeds))
        yield server.url


@pytest.fixture
def page(chromium: Browser, url: str) -> Iterator[Page]:
    with paged(chromium, url, "dark") as opened:
        yield opened


def test_traces_are_found_opened_and_unfolded(page: Page, url: str) -> None:
    watch = Watch(page, urlsplit(url).netloc)
    page.goto("/experiments/Default")
    page.get_by_role("link", name="Traces").first.click()
    rows = page.locator("table.traces tbody tr")
    expect(rows).to_have_count(100)
    page.get_by_role("link", name="Next page").click()
    expect(rows).to_have_count(30)
    page.get_by_role("searchbox", name="Filter of traces").fill(
        "status = 'ERROR' AND feedback.tone IS NOT NULL"
    )
    page.get_by_role("button", name="Find").click()
    expect(rows).to_have_count(1)
    rows.get_by_role("link", name="answer 4").click()
    expect(page.get_by_role("heading", name="answer 4")).to_be_visible()
    steps = page.locator("ol.waterfall summary")
    expect(steps).to_have_count(2)
    steps.nth(1).click()
    expect(page.get_by_text("21 degrees")).to_be_visible()
    one, two = (steps.nth(at).locator("rect").bounding_box() for at in range(2))
    assert one is not None
    assert two is not None
    assert 0.2 * one["width"] < two["width"] < 0.3 * one["width"]
    assert two["x"] > one["x"] + 0.2 * one["width"]
    assert not watch.faults


def test_a_filter_that_cannot_be_read_says_why(page: Page) -> None:
    page.goto("/traces?experiment=Default&filter=colour%20%3D%201")
    expect(page.get_by_role("alert")).to_contain_text("Invalid attribute key")
