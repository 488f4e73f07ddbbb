"""Compares a reply with the recorded one field by field; all differences that are meant are named here."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from tests.protocols.mlflow.names import TIMES, Bindings
from tests.protocols.mlflow.wire import Exchange, Reply, expanded

__all__ = ["ALLOWED", "SHOWN", "Allowance", "differences"]


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """A difference from MLflow that is meant, and why."""

    name: str
    why: str


ALLOWED = (
    Allowance(name="tokens", why="page tokens are opaque, so only their presence is compared"),
    Allowance(name="error_class", why="older clients' tests compare the body exactly, so both are left out"),
    Allowance(name="sqlstate", why="as error_class"),
    Allowance(
        name="wording", why="what an error says is ours, but where clients or tests read it (`wording`)"
    ),
    Allowance(name="5xx", why="MLflow answers 5xx for a mistake of the caller; ours is a 4xx, or is right"),
    Allowance(name="description", why="none and an empty one are the same to every client"),
    Allowance(name="free", why="exchanges that say so themselves, each with its reason"),
    Allowance(name="database", why="BAD_REQUEST is the database's own refusal; ours names what was wrong"),
    Allowance(
        name="html",
        why="MLflow has pages and plain texts for some refusals; ours are JSON, so the status alone counts",
    ),
    Allowance(name="charset", why="parameters of a content type do not matter, and texts are plain"),
    Allowance(name="blanks", why="tags that hold JSON are compared as JSON"),
    Allowance(name="order", why="tags, params, latest metrics and aliases are sets; lists of files too"),
)

SETS = {
    "tags": "key",
    "request_metadata": "key",
    "params": "key",
    "aliases": "alias",
    "files": "path",
    "metrics": "key",
}
SHOWN = 40
FALL_BACK = 501  # clients send whole files when uploads in parts are not there


def differences(recorded: Exchange, actual: Reply, bound: Bindings) -> list[str]:
    """What differs, one line each; nothing where the reply is as recorded."""
    expected = replace(recorded.reply, json=expanded(recorded.reply.json))
    if expected.status >= 500 or recorded.free:
        fits = actual.status < 500 or actual.status == expected.status == FALL_BACK
        return [] if fits else [f"status {actual.status}: never 5xx for a caller's mistake"]
    if expected.status in {404, 405} and expected.json is None:
        return _unknown_route(expected.status, actual)
    if actual.status != expected.status:
        return [f"status {actual.status} {_brief(actual.json or actual.text)}, expected {expected.status}"]
    if expected.status < 400:
        return _headers(expected, actual) + _answer(expected, actual, bound)
    if expected.json is None:
        return []
    return _error(expected.json, actual.json, bound, wording=recorded.wording)


def _answer(expected: Reply, actual: Reply, bound: Bindings) -> list[str]:
    if expected.json is None:
        fits = _same_text(expected.text, actual.text, bound)
        return [] if fits else [f"text {_brief(actual.text)}, expected {_brief(expected.text)}"]
    if actual.json is None:
        return [f"no JSON but {_brief(actual.text)}"]
    return _value("", expected.json, actual.json, bound)


def _unknown_route(status: int, actual: Reply) -> list[str]:
    code = actual.json.get("error_code") if isinstance(actual.json, dict) else None
    if code and (actual.status == status == 405 or (actual.status, code) == (404, "ENDPOINT_NOT_FOUND")):
        return []
    return [f"{actual.status} {code}, expected {status} in JSON (404: ENDPOINT_NOT_FOUND)"]


def _headers(expected: Reply, actual: Reply) -> list[str]:
    found = []
    for name, value in expected.headers.items():
        if name == "content-length" and expected.json is not None:
            continue
        seen = actual.headers.get(name, "")
        if seen.split(";")[0] != value.split(";")[0] and not (name == "content-type" and "text/" in value):
            found.append(f"header {name}: {seen!r}, expected {value!r}")
    return found


def _error(expected: Any, actual: Any, bound: Bindings, *, wording: bool) -> list[str]:
    """Code and message; fields that only some of MLflow's errors have are left out."""
    actual = actual if isinstance(actual, dict) else {}
    code, message = (actual.get(name) for name in ("error_code", "message"))
    if not isinstance(code, str) or not isinstance(message, str) or not message.strip():
        return [f"an error without code or message: {_brief(actual)}"]
    found = [f"{name}: not in an error" for name in actual if name not in {"error_code", "message"}]
    known = expected.get("error_code")
    if known and known not in {code, "BAD_REQUEST"}:
        found.append(f"error_code {code}, expected {known}")
    if wording and not _begins(message, _leading(expected["message"]), bound):
        found.append(f"message {_brief(message)}, expected {_brief(bound.filled(expected['message']))}")
    return found


def _leading(message: str) -> str:
    """The part that clients and their tests read: what was wrong with which parameter."""
    for end in (" supplied", ". See the API docs"):
        head, found, _ = message.partition(end)
        if found:
            return head + found.split(".", maxsplit=1)[0]
    return message


def _begins(message: str, lead: str, bound: Bindings) -> bool:
    return message.startswith(str(bound.filled(lead)))


def _value(path: str, expected: Any, actual: Any, bound: Bindings) -> list[str]:
    if expected == "{time}":
        fits = isinstance(actual, int) and not isinstance(actual, bool) and actual in TIMES
        return [] if fits else [f"{path}: {_brief(actual)}, expected an instant in milliseconds"]
    if isinstance(expected, dict) and isinstance(actual, dict):
        return _fields(path, expected, actual, bound)
    if isinstance(expected, list) and isinstance(actual, list):
        return _items(path, expected, actual, bound)
    if isinstance(expected, str) and isinstance(actual, str):
        fits = _same_text(expected, actual, bound)
    else:
        fits = type(expected) is type(actual) and expected == actual
    return [] if fits else [f"{path}: {_brief(actual)}, expected {_brief(bound.filled(expected))}"]


def _fields(path: str, expected: dict[str, Any], actual: dict[str, Any], bound: Bindings) -> list[str]:
    expected, actual = _described(expected), _described(actual)
    found = [
        f"{path}.{name}: missing, expected {_brief(expected[name])}" for name in expected.keys() - actual
    ]
    found += [f"{path}.{name}: not in MLflow's ({_brief(actual[name])})" for name in actual.keys() - expected]
    both = [(name, each, actual[name]) for name, each in expected.items() if name in actual]
    return found + [line for name, one, other in both for line in _value(f"{path}.{name}", one, other, bound)]


def _described(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields without a description that says nothing."""
    return {name: value for name, value in fields.items() if (name, value) != ("description", "")}


def _items(path: str, expected: list[Any], actual: list[Any], bound: Bindings) -> list[str]:
    if len(expected) != len(actual):
        return [f"{path}: {len(actual)} items {_brief(actual)}, expected {len(expected)} {_brief(expected)}"]
    by = SETS.get(path.rsplit(".", 1)[-1])
    # The points of a history come in order; a run's latest metrics are a set with one of each key.
    if by and all(isinstance(each, dict) and by in each for each in (*expected, *actual)):
        expected, actual = _sorted(expected, by), _sorted(actual, by)
    pairs = enumerate(zip(expected, actual, strict=True))
    return [line for at, (one, other) in pairs for line in _value(f"{path}[{at}]", one, other, bound)]


def _sorted(items: list[Any], by: str) -> list[Any]:
    """In order of a field; items of one key stay as they came, since sorting is stable."""
    return sorted(items, key=lambda each: str(each[by]))


def _same_text(expected: str | None, actual: str | None, bound: Bindings) -> bool:
    if expected is None or actual is None:
        return expected is actual
    return bound.match(str(expanded(expected)), actual) or _same_json(expected, actual)


def _same_json(expected: str, actual: str) -> bool:
    """Whether two texts are one document in JSON, written with other blanks."""
    try:
        return expected[:1] in {"[", "{"} and bool(json.loads(expected) == json.loads(actual))
    except ValueError:
        return False


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN * 5 else text[: SHOWN * 5] + "…"
