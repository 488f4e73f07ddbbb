"""Pure decisions of the loops: whether to train again, and the next step of a rollout."""

from __future__ import annotations

from datetime import datetime, timedelta

from loopwright.core.instants import duration
from loopwright.core.nouns import Verdict
from loopwright.core.policies import Fact, Finding, Limit, Policy, decide
from loopwright.loops.nouns import RetrainRule, RolloutSpec, RolloutState

__all__ = ["asks_for_training", "is_refused", "may_train", "next_share", "rollout_guard", "step_is_over"]


def asks_for_training(
    rule: RetrainRule, gap: Fact | None, auc: Fact | None, promised_auc: float | None
) -> str:
    """Why the realised signals ask for a new model, empty when they do not."""
    if gap is not None and gap.low is not None and gap.high is not None:
        one_sided = gap.low > 0 or gap.high < 0
        if one_sided and abs(gap.value) >= rule.gap:
            said = f"calibration gap {gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}] over n={gap.n:,}"
            return f"{said}, limit {rule.gap:g}"
    if auc is not None and auc.high is not None and promised_auc is not None:
        floor = promised_auc - rule.auc_margin
        if auc.high < floor:
            return f"ROC-AUC {auc.value:.4f} [.., {auc.high:.4f}] over n={auc.n:,} is below {floor:.4f}"
    return ""


def may_train(
    model: str, *, open_incidents: int, rollouts: int, since_last: timedelta | None, rule: RetrainRule
) -> Finding:
    """Whether a training that is asked for may start: sound data, no rollout under way, cool-down passed."""
    rest = duration(rule.cooldown).total_seconds() / 86400
    days = rest if since_last is None else since_last.total_seconds() / 86400
    policy = Policy(
        name=f"retrain/{model}",
        guards=f"retrain {model}",
        limits=(
            Limit(fact="open incidents on its inputs", comparison="at_most", value=0),
            Limit(fact="rollouts under way", comparison="at_most", value=0),
            Limit(fact="days since the last training", comparison="at_least", value=rest),
        ),
    )
    facts = (
        Fact(name="open incidents on its inputs", value=open_incidents),
        Fact(name="rollouts under way", value=rollouts),
        Fact(name="days since the last training", value=days),
    )
    return decide(policy, facts)


def rollout_guard(model: str, spec: RolloutSpec, difference: Fact | None, incidents: int) -> Finding:
    """Whether a challenger may go one step on: nothing shows it worse on live rows, no incident is open.

    The gate asked for non-inferiority on thousands of rows; a step's few hundred can only show harm:
    the difference is within the margin and its interval is not wholly below zero.
    """
    live = "ROC-AUC against the champion, live"
    limits = (
        Limit(fact=live, comparison="at_least", value=-spec.margin),
        Limit(fact=live, comparison="at_least", value=0.0, bound="high", label="not shown worse, live"),
        Limit(fact="open incidents on its inputs", comparison="at_most", value=0),
    )
    policy = Policy(name=f"rollout/{model}", guards=f"roll out {model}", limits=limits)
    facts = (Fact(name="open incidents on its inputs", value=incidents),)
    return decide(policy, facts if difference is None else (difference, *facts))


def is_refused(finding: Finding) -> bool:
    """Whether the verdict is a no."""
    return finding.verdict is Verdict.DENY


def step_is_over(state: RolloutState, spec: RolloutSpec, now: datetime) -> bool:
    """Whether the present step has lasted long enough."""
    lasts = duration(spec.shadow if state.step < 0 else spec.each)
    return now - state.since >= lasts


def next_share(state: RolloutState, spec: RolloutSpec) -> float:
    """The percentage of the next step; the last one is 100."""
    return spec.steps[state.step + 1]
