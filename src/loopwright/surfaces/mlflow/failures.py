"""Errors as MLflow's clients know them: a code, a message, and a status that tells whether to try again.

Clients repeat a call for minutes at 408, 429 and 5xx, so a mistake of the caller is always another 4xx.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from loopwright.core.errors import (
    CheckFailed,
    Conflict,
    Denied,
    Invalid,
    LoopwrightError,
    NotFound,
    PolicyBlocked,
    Taken,
    TooLarge,
    Unauthenticated,
    Unavailable,
)

__all__ = ["NoRoute", "WrongMethod", "misread", "missing", "refusal"]

_SHOWN = 200
_API_DOCS = "See the API docs for more information about request parameters."
_PLACE = re.compile(r"(.*?)(?: - at `(?:key in )?\$\.?(.*?)`)?", re.DOTALL)
_NAMED = re.compile(r"Object missing required field `(.*)`")
_NO_VALUE = ("got `null`", "Expected `str` of length >= 1")


class NoRoute(LoopwrightError):
    """There is no such path here; older servers say so too, and clients then ask in an older way."""

    code = "no_route"
    status = 404


class WrongMethod(LoopwrightError):
    """The path is there, but not for this method; `hint` lists the methods."""

    code = "wrong_method"
    status = 405


# The first that fits; what fits none is a fault of ours.
_CODES: tuple[tuple[type[LoopwrightError], str, int], ...] = (
    (NoRoute, "ENDPOINT_NOT_FOUND", 404),
    (WrongMethod, "BAD_REQUEST", 405),
    (TooLarge, "INVALID_PARAMETER_VALUE", 400),
    (Invalid, "INVALID_PARAMETER_VALUE", 400),
    (CheckFailed, "INVALID_PARAMETER_VALUE", 400),
    (NotFound, "RESOURCE_DOES_NOT_EXIST", 404),
    (Taken, "RESOURCE_ALREADY_EXISTS", 400),
    (Conflict, "RESOURCE_CONFLICT", 409),
    (PolicyBlocked, "PERMISSION_DENIED", 403),
    (Unauthenticated, "UNAUTHENTICATED", 401),
    (Denied, "PERMISSION_DENIED", 403),
    (Unavailable, "TEMPORARILY_UNAVAILABLE", 503),
)


class _Refusal(msgspec.Struct, frozen=True):
    error_code: str
    message: str


def refusal(error: LoopwrightError) -> tuple[int, bytes]:
    """The status and the JSON body for an error; places in the file system are not told."""
    code, status = next(
        ((code, status) for kind, code, status in _CODES if isinstance(error, kind)), ("INTERNAL_ERROR", 500)
    )
    place = f" ({error.where})" if error.where and not set("/\\") & set(error.where) else ""
    advice = f". {error.hint}" if error.hint else ""
    return status, msgspec.json.encode(_Refusal(code, f"{error.message}{place}{advice}"))


def misread(error: msgspec.ValidationError, given: Any) -> Invalid:
    """What is told of arguments that could not be read, in the words that clients and their tests know."""
    found = _PLACE.fullmatch(str(error))
    said, path = (found[1], found[2] or "") if found else (str(error), "")
    named = _NAMED.fullmatch(said)
    if named is not None:
        return missing(f"{path}.{named[1]}" if path else named[1])
    if path and any(sign in said for sign in _NO_VALUE):
        return missing(path)
    value = _value_at(given, path)
    told = msgspec.json.encode(value).decode()
    shown = told if len(told) <= _SHOWN else f"{told[:_SHOWN]}..."
    return Invalid(
        f"Invalid value {shown} for parameter '{path or 'body'}' supplied: "
        f"Hint: Value was of type '{type(value).__name__}'. {_API_DOCS}"
    )


def missing(name: str) -> Invalid:
    """The error for an argument that has to be there."""
    return Invalid(f"Missing value for required parameter '{name}'. {_API_DOCS}")


def _value_at(given: Any, path: str) -> Any:
    """The value at a place such as `metrics[0].key`; of a place that cannot be told, the whole around it."""
    for step in re.findall(r"[^.\[\]]+", path):
        if isinstance(given, list) and step.isdigit() and int(step) < len(given):
            given = given[int(step)]
        elif isinstance(given, dict) and step in given:
            given = given[step]
        else:
            return given
    return given
