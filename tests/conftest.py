"""Plugins of the whole test suite, and how hard hypothesis searches.

`pytest --hypothesis-profile=deep` looks ten times longer. No profile has a deadline: slowness is no failure.
"""

from hypothesis import HealthCheck, settings

pytest_plugins = ["loopwright.testing.postgres", "loopwright.testing.redis", "tests.skips"]

settings.register_profile(
    "quick", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "deep", deadline=None, max_examples=500, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("quick")
