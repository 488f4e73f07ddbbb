"""The scripted sessions: each module with the clients that run it."""

from __future__ import annotations

__all__ = ["SESSIONS"]

_BOTH, _NEW, _OLD = ("3", "2"), ("3",), ("2",)
_CLIENTS: dict[str, tuple[str, ...]] = {
    "tracking": _BOTH,
    "searching": _BOTH,
    "files": _BOTH,
    "learning": _BOTH,
    "boosting": _BOTH,
    "growing": _BOTH,
    "registering": _BOTH,
    "trashing": _BOTH,
    "prompting": _NEW,
    "prompting_before": _OLD,
    "evaluating": _BOTH,
    "measuring": _BOTH,
    "tracing": _NEW,
    "tracing_before": _OLD,
    "collecting": _NEW,
    "telling": _NEW,
    "parting": _NEW,
    "judging": _NEW,
}

SESSIONS = tuple((session, major) for session, majors in _CLIENTS.items() for major in majors)
