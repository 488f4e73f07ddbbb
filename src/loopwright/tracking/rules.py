"""How a run may go on: the legal moves that lead from one state to another. Pure."""

from __future__ import annotations

from loopwright.core.nouns import Run, RunState, move_run

__all__ = ["ENDED", "is_resumed", "moved"]

ENDED = frozenset({RunState.FINISHED, RunState.FAILED, RunState.KILLED})
"""states in which a run has come to its end"""


def moved(run: Run, to: RunState) -> RunState:
    """The state a client asks for; an ended run gets there by being resumed first."""
    if run.state is to:
        return to
    if run.state in ENDED and to is not RunState.RUNNING:
        return to  # by way of RUNNING, from where every other state can be reached
    return move_run(run, to)


def is_resumed(run: Run, to: RunState) -> bool:
    """Whether the move takes up a run that had ended."""
    return run.state in ENDED and to is not run.state
