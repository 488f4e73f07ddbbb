"""Plugins of the whole test suite, how hard hypothesis searches, and which tests begin.

`pytest --hypothesis-profile=deep` looks ten times longer. No profile has a deadline: slowness is no failure.
"""

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["loopwright.testing.postgres", "loopwright.testing.redis", "tests.skips"]

settings.register_profile(
    "quick", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "deep", deadline=None, max_examples=500, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("quick")

FIRST = ("tests/faults/test_demo_kill.py", "tests/journeys/", "tests/app/test_up.py")
"""the longest: at the end one worker would be waiting for them alone"""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest; the order is otherwise as it was drawn."""
    items.sort(key=lambda item: not item.nodeid.startswith(FIRST))
