"""One browser, one told story and one page for the tests of the pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.journeys.telling import copied, finished
from tests.ui.browsing import Served, browser, paged
from tests.ui.showing import Shown
from tests.ui.showing import told as story
from tests.ui.tracking import Tracked, tracked


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser a module: while it is open its thread has a running event loop, where others must not."""
    with browser() as opened:
        yield opened


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    folder = copied(finished(tmp_path_factory), tmp_path_factory.mktemp("pages")) / ".loopwright"
    with story(folder) as found:
        yield found


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracked]:
    """A workspace with many runs, which tests add to and take nothing from."""
    with tracked(tmp_path_factory.mktemp("tracked") / ".loopwright") as found:
        yield found


@pytest.fixture
def told(shown: Shown) -> Shown:
    """What the pages of a test are of; modules that look at something else say so."""
    return shown


@pytest.fixture
def page(chromium: Browser, told: Served) -> Iterator[Page]:
    with paged(chromium, told.server.url) as opened:
        yield opened
