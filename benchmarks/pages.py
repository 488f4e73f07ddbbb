"""What the table of an experiment's runs costs in a browser: bytes, the time to its first rows, scrolling.

    python benchmarks/pages.py --runs 100000
    python benchmarks/pages.py --uri http://127.0.0.1:7070/experiments/delays   # a page that is there

Chromium has to be on the PATH. *Cold* is a browser that has nothing kept, *warm* one that has the scripts;
both ask for the page anew. The time is from the start of the navigation to the frame after the first row came
into the page, by the browser's own clock; bytes are those that travel for everything the page loads, headers
included. Processor times are those of the page's own thread, and hold on a busy machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import sys
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, sync_playwright
from protocol.reading import seeded
from protocol.servers import ours

ROUNDS = 9
LIMITS = {"bytes": 60_000, "usable_s": 0.5}
NAMES = ("chromium", "chromium-browser", "google-chrome")
FIRST_ROW = """() => {
  new MutationObserver((_, watch) => {
    if (!document.querySelector('tr[data-run]')) return;
    watch.disconnect();
    requestAnimationFrame(() => setTimeout(() => { window.usableAt = performance.now(); }));
  }).observe(document, { childList: true, subtree: true });
}"""
FRAMES = 40
SCROLLED = """async (frames) => {
  const box = document.querySelector('.rows-box'), blank = [];
  for (let frame = 0; frame < frames; frame += 1) {
    box.scrollTop += 400;
    await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);
    const at = box.getBoundingClientRect();
    blank.push(!document.elementFromPoint(at.left + 60, at.top + at.height / 2)?.closest('tr[data-run]'));
  }
  return {
    frames_without_rows: blank.filter(Boolean).length,
    rows_in_page: document.querySelectorAll('tr[data-run]').length,
  };
}"""


@contextlib.contextmanager
def page_of(given: argparse.Namespace) -> Iterator[str]:
    """The address of a page with so many runs."""
    if given.uri:
        yield given.uri
        return
    with ours() as server:
        line = server.line()
        home = seeded(server, line, given.runs)
        name = line.get("experiments/get", experiment_id=home)["experiment"]["name"]
        line.close()
        yield f"{server.urls[0]}/experiments/{name}"


def travelled(context: BrowserContext, page: Page) -> dict[str, float]:
    """Bytes of every answer while the page is loaded, by the path; filled as it loads."""
    paths: dict[str, str] = {}
    sent: dict[str, float] = {}
    link = context.new_cdp_session(page)
    link.send("Network.enable")
    link.on(
        "Network.requestWillBeSent", lambda told: paths.update({told["requestId"]: told["request"]["url"]})
    )
    link.on(
        "Network.loadingFinished",
        lambda told: sent.update({paths.get(told["requestId"], "?"): told["encodedDataLength"]}),
    )
    return sent


def opened(context: BrowserContext, uri: str) -> tuple[float, dict[str, float], Page]:
    """One look at the page: seconds to its first rows, what travelled, and the page."""
    page = context.new_page()
    page.add_init_script(f"({FIRST_ROW})()")
    sent = travelled(context, page)
    page.goto(uri)
    page.locator("tr[data-run]").first.wait_for()
    page.locator("#counted").filter(has_text="loaded").wait_for()
    page.wait_for_timeout(300)
    return float(page.evaluate("window.usableAt")) / 1000, sent, page


def cold(browser: Browser, uri: str) -> tuple[float, dict[str, float]]:
    """A look by a browser that has nothing kept."""
    context = browser.new_context()
    took, sent, _ = opened(context, uri)
    context.close()
    return took, sent


def warm(browser: Browser, uri: str) -> list[float]:
    """Looks by a browser that has the scripts."""
    context = browser.new_context()
    found = []
    for _ in range(ROUNDS + 1):
        took, _, page = opened(context, uri)
        found.append(took)
        page.close()
    context.close()
    return found[1:]


def scrolled(browser: Browser, uri: str) -> dict[str, Any]:
    """The page's thread while it opens and while one scrolls: processor time, and what is in sight."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    link = context.new_cdp_session(page)
    link.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(uri)
    page.locator("tr[data-run]").first.wait_for()
    page.wait_for_timeout(500)
    opening = busy(link)
    told: dict[str, Any] = page.evaluate(SCROLLED, FRAMES)
    frame = {key: round(1000 * (value - opening[key]) / FRAMES, 1) for key, value in busy(link).items()}
    context.close()
    return {
        "open_processor_s": round(opening["TaskDuration"], 3),
        "frame_processor_ms": frame["TaskDuration"],
        "frame_script_ms": frame["ScriptDuration"],
        "frame_layout_ms": round(frame["LayoutDuration"] + frame["RecalcStyleDuration"], 1),
        **told,
    }


def busy(link: CDPSession) -> dict[str, float]:
    """Processor seconds of the page's thread so far, by what they went to."""
    kinds = ("TaskDuration", "ScriptDuration", "LayoutDuration", "RecalcStyleDuration")
    told = {each["name"]: each["value"] for each in link.send("Performance.getMetrics")["metrics"]}
    return {kind: told[kind] for kind in kinds}


def measured(browser: Browser, uri: str) -> dict[str, Any]:
    """All figures of a page."""
    first = [cold(browser, uri) for _ in range(ROUNDS)]
    sent = {path: size for path, size in first[-1][1].items() if size}
    return {
        "bytes": int(sum(sent.values())),
        "requests": len(sent),
        "cold_s": round(statistics.median(took for took, _ in first), 3),
        "cold_worst_s": round(max(took for took, _ in first), 3),
        "warm_s": round(statistics.median(warm(browser, uri)), 3),
        **scrolled(browser, uri),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000, help="how many runs are seeded")
    parser.add_argument("--uri", default="", help="a page that is there already")
    given = parser.parse_args()
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        print("there is no Chromium on the PATH: nothing was measured", file=sys.stderr)
        return
    with page_of(given) as uri, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        found = measured(browser, uri)
        browser.close()
    found["held"] = found["bytes"] <= LIMITS["bytes"] and found["cold_s"] <= LIMITS["usable_s"]
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
