"""One rule for tests that are left out: in CI (`CI=true`) each one is a failure, unless it is listed here.

So a browser, a mount or a package that goes missing there is seen, and does not quietly take tests away.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from types import MappingProxyType

import pytest

__all__ = ["MAY_BE_LEFT_OUT"]

MAY_BE_LEFT_OUT: Mapping[str, str] = MappingProxyType(
    {"tests/adapters/test_packagers.py::TestTorch": "PyTorch is too big for a quick setup"}
)
"""what may be left out in CI too, by the beginning of its name, and why"""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that was skipped, at set-up or in the middle."""
    report = yield
    _judge(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A module that was skipped as a whole (`importorskip`)."""
    report = yield
    _judge(report)
    return report


def _judge(report: pytest.TestReport | pytest.CollectReport) -> None:
    expected = hasattr(report, "wasxfail") or report.nodeid.startswith(tuple(MAY_BE_LEFT_OUT))
    if report.outcome != "skipped" or expected or os.environ.get("CI") != "true":
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = (
        f"{report.nodeid} was left out in CI: {reason}\nset up what it needs, or list it in {__name__}"
    )
