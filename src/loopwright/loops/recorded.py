"""An import as a run of its own kind: where from, what came in, and how it ended."""

from __future__ import annotations

from typing import Any

import msgspec

from loopwright.core.errors import LoopwrightError
from loopwright.core.nouns import RunState
from loopwright.loops.bringing import Asked, Caller, Report, Tell, bring
from loopwright.loops.comparing import Compared
from loopwright.ports.histories import History

__all__ = ["KIND", "bring_recorded", "record_comparison"]

KIND = "import"
_NAME = "import mlflow"
_LEFT = 100


def bring_recorded(history: History, target: Caller, asked: Asked, tell: Tell) -> tuple[Report, str]:
    """Bring a history under a run of kind `import`, which keeps the report; gives its id.

    Runs of the same source that were killed are ended first. A dry run leaves none.
    """
    if asked.dry_run:
        return bring(history, target, asked, tell), ""
    _end_killed(target, history.address)
    params = {"source": history.address[:1000], "version": history.version[:100]}
    run_id = _begun(target, params)
    try:
        report = bring(history, target, asked, tell)
    except BaseException as error:
        why = str(error) if isinstance(error, LoopwrightError) else type(error).__name__
        _end(target, run_id, RunState.FAILED, {"error": why[:500]})
        raise
    kept = msgspec.structs.replace(report, problems=report.problems[:_LEFT])
    state = RunState.FINISHED if report.ok else RunState.FAILED
    _end(target, run_id, state, {"report": msgspec.to_builtins(kept)})
    return report, run_id


def record_comparison(target: Caller, address: str, compared: Compared) -> str:
    """Keep what a comparison after the fact found, as a run of kind `import` too; gives its id."""
    run_id = _begun(target, {"source": address[:1000], "verified": "true"})
    kept = msgspec.structs.replace(
        compared, differences=compared.differences[:_LEFT], left_out=compared.left_out[:_LEFT]
    )
    state = RunState.FINISHED if compared.ok else RunState.FAILED
    _end(target, run_id, state, {"compared": msgspec.to_builtins(kept)})
    return run_id


def _begun(target: Caller, params: dict[str, str]) -> str:
    made: Any = msgspec.to_builtins(target.call("runs.start", name=_NAME, kind=KIND, params=params))
    return str(made["id"])


def _end(target: Caller, run_id: str, state: RunState, facts: dict[str, Any]) -> None:
    target.call("runs.end", run_id=run_id, state=state.value, facts=facts)


def _end_killed(target: Caller, address: str) -> None:
    page: Any = msgspec.to_builtins(target.call("runs.list", kind=KIND, state=RunState.RUNNING.value))
    for run in page["items"]:
        if run["params"].get("source") == address[:1000]:
            _end(target, run["id"], RunState.KILLED, {"error": "stopped before its end"})
