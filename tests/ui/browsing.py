"""A real browser over a server, and what a picture it took holds."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple, Protocol
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Locator, Page, Request, sync_playwright

from loopwright.app.server import Server

__all__ = ["SCHEMES", "Ink", "Served", "Watch", "browser", "ink_of", "paged", "watched"]

SCHEMES = ["light", pytest.param("dark", marks=pytest.mark.slow)]
"""of `prefers-color-scheme`: quick tests hold contrast in both, slow ones each page in the dark"""

_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_COUNT = """async ([png, wanted]) => {
  const bytes = Uint8Array.from(atob(png), (c) => c.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const canvas = new OffscreenCanvas(image.width, image.height), pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  const data = pen.getImageData(0, 0, image.width, image.height).data, seen = new Map();
  let coloured = 0;
  for (let i = 0; i < data.length; i += 4) {
    const key = (data[i] << 16) | (data[i + 1] << 8) | data[i + 2];
    seen.set(key, (seen.get(key) ?? 0) + 1);
    if (wanted.every((value, k) => Math.abs(value - data[i + k]) < 12)) coloured += 1;
  }
  const [ground, most] = [...seen].reduce((a, b) => (b[1] > a[1] ? b : a));
  return [data.length / 4, data.length / 4 - most, coloured, ground];
}"""


class Served(Protocol):
    """Something to look at that a server of its own shows."""

    @property
    def server(self) -> Server:
        """Where it is."""


class Ink(NamedTuple):
    """Pixels of a picture: all, those not of the commonest colour, those of a wanted colour."""

    pixels: int
    drawn: int
    coloured: int
    ground: int
    """the commonest colour, as 0xRRGGBB"""

    @property
    def ground_light(self) -> float:
        """How light the commonest colour is, 0 to 1."""
        return sum((self.ground >> shift) & 255 for shift in (0, 8, 16)) / (3 * 255)


class Watch:
    """What goes wrong on a page while it is looked at."""

    def __init__(self, page: Page, host: str) -> None:
        self.faults: list[str] = []
        self._host = host
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("dialog", self._opened)
        page.on("request", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type}: {message.text}")

    def _opened(self, dialog: Dialog) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _asked(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob", "about") and parts.netloc != self._host:
            self.faults.append(f"request to {parts.netloc}")


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium; the test is left out where there is none."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip("there is no Chromium on the PATH")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=_ARGS)
        yield opened
        opened.close()


@contextmanager
def paged(chromium: Browser, url: str, scheme: Literal["light", "dark"] = "light") -> Iterator[Page]:
    """A page whose addresses begin at the server's."""
    context = chromium.new_context(base_url=url, color_scheme=scheme)
    context.set_default_timeout(20_000)
    yield context.new_page()
    context.close()


@contextmanager
def watched(chromium: Browser, url: str) -> Iterator[Page]:
    """As `paged`, and nothing goes wrong on it but what the server refuses."""
    with paged(chromium, url) as page:
        watch = Watch(page, urlsplit(url).netloc)
        yield page
    assert [fault for fault in watch.faults if "status of 4" not in fault] == []


def ink_of(place: Locator, colour: str = "--accent") -> Ink:
    """The pixels of a picture of a part of a page, decoded by the browser itself."""
    page = place.page
    text = page.evaluate(
        "name => getComputedStyle(document.documentElement).getPropertyValue(name).trim()", colour
    )
    wanted = [int(text[i : i + 2], 16) for i in (1, 3, 5)]
    picture = base64.b64encode(place.screenshot()).decode()
    beside = page.context.new_page()
    found: list[int] = beside.evaluate(_COUNT, [picture, wanted])
    beside.close()
    return Ink(*found)
