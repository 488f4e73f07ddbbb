"""Webhooks in a real browser: made, tried, told, disabled and deleted, with a receiver that answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page, expect

from loopwright.app.assembling import assemble
from loopwright.app.server import Server
from loopwright.registry.registered import create
from loopwright.workspace import Settings, Workspace
from tests.ui.browsing import SCHEMES, ink_of, watched

pytestmark = pytest.mark.browser


class Told(NamedTuple):
    """A server whose webhooks may go to the receiver, and that one's address."""

    workspace: Workspace
    server: Server
    receiver: str


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@pytest.fixture(scope="module")
def receiver() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Receiver) as listening:
        thread = Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}/hook"
        listening.shutdown()
        thread.join()


@pytest.fixture
def told(tmp_path: Path, receiver: str) -> Iterator[Told]:
    settings = Settings(
        workspace=str(tmp_path / ".loopwright"), webhook_networks=("127.0.0.0/8",), webhook_http=True
    )
    with Workspace.open(settings=settings) as workspace:
        app = assemble(workspace)
        with Server(app, on_stopping=app.stop_feeds) as server:
            yield Told(workspace, server, receiver)


@pytest.fixture
def page(chromium: Browser, told: Told) -> Iterator[Page]:
    with watched(chromium, told.server.url) as opened:
        yield opened


def made(page: Page, address: str, name: str = "ci") -> None:
    page.goto("/models")
    page.get_by_role("link", name="webhooks").click()
    expect(page.get_by_role("heading", name="Nobody is told yet")).to_be_visible()
    page.get_by_role("textbox", name="Name").fill(name)
    page.get_by_role("textbox", name="Address").fill(address)
    page.get_by_role("group", name="Told when").get_by_label("created").first.check()
    page.get_by_role("textbox", name="Secret").fill("a long secret of the receiver")
    page.get_by_role("button", name="Make the webhook").click()


def test_a_webhook_is_made_tried_disabled_and_deleted(page: Page, told: Told) -> None:
    made(page, told.receiver)
    row = page.get_by_role("row").nth(1)
    expect(row).to_contain_text(re.compile("ci.*active.*registered_model.created.*never.*yes"))
    page.get_by_role("link", name="ci", exact=True).click()
    page.get_by_role("button", name="Send a test").click()
    expect(page.get_by_role("status").filter(has_text="answered 204")).to_be_visible()
    page.get_by_role("button", name="Disable").click()
    expect(page.get_by_role("button", name="Activate")).to_be_visible()
    expect(page.locator(".head")).to_contain_text("disabled")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Press again to delete it")).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Nobody is told yet")).to_be_visible()


def test_what_was_delivered_is_seen(page: Page, told: Told) -> None:
    made(page, told.receiver)
    expect(page.get_by_role("link", name="ci", exact=True)).to_be_visible()
    create(told.workspace.context(), "delays")
    told.workspace.settle()
    page.goto("/webhooks")
    expect(page.get_by_role("row").nth(1)).to_contain_text("204")
    page.get_by_role("link", name="ci", exact=True).click()
    expect(page.get_by_role("region", name="Deliveries")).to_contain_text("registered_model.created")


def test_an_address_inside_is_refused_where_it_was_typed(page: Page) -> None:
    made(page, "http://169.254.169.254/latest")
    expect(page.get_by_role("alert")).to_contain_text("a machine inside")
    expect(page.get_by_role("heading", name="Nobody is told yet")).to_be_visible()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_pages_fit_a_telephone_in_both_schemes(chromium: Browser, told: Told, scheme: str) -> None:
    ctx = chromium.new_context(
        base_url=told.server.url,
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": 360, "height": 700},
    )
    ctx.set_default_timeout(20_000)
    page = ctx.new_page()
    made(page, told.receiver, "a-long-name-" * 5 + "x")
    page.get_by_role("link", name="a-long-name").first.click()
    for path in ("/webhooks", page.url):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        light = ink_of(page.locator("body")).ground_light
        assert (light < 0.5) is (scheme == "dark")
    ctx.close()
