"""A policy allows only when every limit holds, and says what did not."""

import math

import pytest

from loopwright.core.nouns import Verdict
from loopwright.core.policies import Fact, Limit, Policy, decide

_POLICY = Policy(
    name="gate/m",
    guards="promote m",
    limits=(
        Limit(fact="auc", comparison="at_least", value=0.75),
        Limit(fact="difference", comparison="at_least", value=-0.005, bound="low"),
        Limit(fact="p99", comparison="at_most", value=20),
    ),
)


def _facts(auc: float = 0.8, low: float | None = -0.001, p99: float = 3.0) -> tuple[Fact, ...]:
    return (
        Fact(name="auc", value=auc, n=1000),
        Fact(name="difference", value=0.002, low=low, high=0.004),
        Fact(name="p99", value=p99),
    )


def test_all_limits_hold() -> None:
    found = decide(_POLICY, _facts())
    assert found.verdict is Verdict.ALLOW
    assert [line.held for line in found.evidence] == [True, True, True]


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        (_facts(auc=0.7499), "auc"),
        (_facts(auc=math.nan), "auc"),
        (_facts(low=-0.006), "difference"),
        (_facts(low=None), "difference"),
        (_facts(p99=20.1), "p99"),
        (_facts()[1:], "auc"),
    ],
)
def test_one_that_does_not_hold_denies_and_is_named(facts: tuple[Fact, ...], named: str) -> None:
    found = decide(_POLICY, facts)
    assert found.verdict is Verdict.DENY
    assert [line.check for line in found.evidence if not line.held] == [named]
    assert named in found.reason


def test_limits_are_inclusive() -> None:
    assert decide(_POLICY, _facts(auc=0.75, low=-0.005, p99=20)).verdict is Verdict.ALLOW
