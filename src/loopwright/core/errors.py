"""One tree of errors, each with a stable code, what is wrong and where, and what to do next."""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "CheckFailed",
    "Conflict",
    "Corrupt",
    "Denied",
    "Fault",
    "Invalid",
    "LoopwrightError",
    "NotFound",
    "PolicyBlocked",
    "Taken",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "Untrusted",
]


class LoopwrightError(Exception):
    """Something a user can read: `message` says what and where, `hint` says what to do next."""

    code: ClassVar[str] = "fault"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, *, hint: str = "", where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        end = "" if self.message.endswith(".") and not place else "."
        advice = f"{end} {self.hint}" if self.hint else ""
        return f"{self.message}{place}{advice}"


class CheckFailed(LoopwrightError):
    """A check was carried out and did not hold."""

    code = "check_failed"
    status = 422
    exit_code = 1


class Invalid(LoopwrightError):
    """The request or the data is wrong."""

    code = "invalid"
    status = 400
    exit_code = 2


class TooLarge(Invalid):
    """A body, a name or a batch is over its limit."""

    code = "too_large"
    status = 413


class NotFound(LoopwrightError):
    """What was named does not exist."""

    code = "not_found"
    status = 404
    exit_code = 3


class Conflict(LoopwrightError):
    """The thing changed meanwhile, or already exists."""

    code = "conflict"
    status = 409
    exit_code = 2


class Taken(Conflict):
    """Something of that name is there already."""

    code = "taken"


class PolicyBlocked(LoopwrightError):
    """A policy said no; `decision_id` names the recorded verdict with its evidence."""

    code = "blocked"
    status = 409
    exit_code = 4

    def __init__(self, message: str, *, decision_id: str = "", hint: str = "", where: str = "") -> None:
        super().__init__(message, hint=hint, where=where)
        self.decision_id = decision_id


class Unauthenticated(LoopwrightError):
    """No principal could be established."""

    code = "unauthenticated"
    status = 401
    exit_code = 5


class Denied(LoopwrightError):
    """The principal lacks the scope."""

    code = "denied"
    status = 403
    exit_code = 5


class Untrusted(Denied):
    """Loading would run code from files whose maker the loading side does not trust, or that were changed."""

    code = "untrusted"


class Unavailable(LoopwrightError):
    """A store, a port or a peer cannot be reached or is full; trying again may help."""

    code = "unavailable"
    status = 503
    exit_code = 6


class Corrupt(LoopwrightError):
    """Stored bytes are not what was stored."""

    code = "corrupt"
    status = 500
    exit_code = 70


class Fault(LoopwrightError):
    """A mistake of ours."""
