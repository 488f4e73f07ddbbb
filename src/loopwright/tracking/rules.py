"""How a run may go on: the legal moves that lead from one state to another. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from loopwright.core.errors import Conflict
from loopwright.core.nouns import Run, RunState, move_run

__all__ = ["ENDED", "is_resumed", "moved"]

ENDED = frozenset({RunState.FINISHED, RunState.FAILED, RunState.KILLED})
"""states in which a run has come to its end"""


def moved(run: Run, to: RunState) -> RunState:
    """The state a client asks for, by one legal move or by way of running; `Conflict` when there is none."""
    if run.state is to:
        return to
    try:
        return move_run(run, to)
    except Conflict:
        return move_run(replace(run, state=move_run(run, RunState.RUNNING)), to)


def is_resumed(run: Run, to: RunState) -> bool:
    """Whether the move takes up a run that had ended."""
    return run.state in ENDED and to is not run.state
