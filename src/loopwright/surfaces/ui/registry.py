"""The pages of the registry: models, their versions, two of them side by side, prompts."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from loopwright.core.addresses import Address
from loopwright.core.errors import Invalid
from loopwright.core.nouns import Alias, Asset, Decision, Version
from loopwright.surfaces.ui.desk import Desk, Query, Values

__all__ = [
    "Line",
    "Row",
    "changes",
    "model",
    "models",
    "prompt",
    "prompt_text",
    "prompts",
    "versions_compared",
]

_IS_PROMPT = "mlflow.prompt.is_prompt"
_TEXT = "mlflow.prompt.text"
_LIST = 100
_VERDICTS = 20
_TEXTS = 200
_VERSIONS = 50
_MOST_TOLD = 4000
_ASKED = 30
_STAGES = ("Staging", "Production", "Archived")


class Line(NamedTuple):
    """A line of a difference: `+` it came, `-` it went, a space where it stayed."""

    sign: str
    text: str


class Row(NamedTuple):
    """A model, or a prompt, in a list."""

    asset: Asset
    newest: Version | None
    aliases: tuple[Alias, ...]


def _is_prompt(asset: Asset) -> bool:
    return asset.tags.get(_IS_PROMPT, "").lower() == "true"


def _registered(desk: Desk, query: Query, *, prompts: bool) -> Values:
    """One page of models, or of prompts, with what is asked for: each with its newest and its aliases."""
    asked = {key: query.get(key) or "" for key in ("text", "tag")}
    page = desk.call("registry.search", **asked, prompts=prompts, limit=_LIST, token=query.get("token"))
    kept = "&".join(f"{key}={quote(value, safe='')}" for key, value in asked.items() if value)
    rows = [
        Row(found.asset, found.latest[-1] if found.latest else None, found.aliases) for found in page.items
    ]
    return {
        "page": page,
        "views": rows,
        "asked": asked,
        "is_asked": any(asked.values()),
        "query": f"{kept}&" if kept else "",
    }


def models(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """The models, those of other people's clients too."""
    return {"title": "Models", **_registered(desk, query, prompts=False)}


def prompts(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """The prompts."""
    return {"title": "Prompts", **_registered(desk, query, prompts=True)}


def model(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """A model: its versions with what points to them, the verdicts about it, how its aliases moved."""
    name = path["name"]
    view = desk.call("assets.show", kind="model", name=name)
    page = desk.call("assets.versions", kind="model", name=name, limit=_VERSIONS, token=query.get("token"))
    standing = [version for version in page.items if version.deleted_at is None]
    runs = {v.run_id: desk.maybe("runs.show", run_id=v.run_id) for v in standing if v.run_id}
    address = str(Address(kind="model", name=name))
    return {
        "title": name,
        "section": "/models",
        "view": view,
        "is_prompt": _is_prompt(view.asset),
        "page": page,
        "versions": standing,
        "runs": {run_id: each.run for run_id, each in runs.items() if each is not None},
        "gate": desk.maybe("gates.show", name=name),
        "requests": desk.call("registry.requests", name=name)[:_ASKED],
        "stages": _STAGES,
        "who": desk.principal,
        "now": desk.now,
        "decisions": _verdicts(desk, standing),
        "moves": desk.call("journal.list", subject=address, kind="alias.", limit=20).items,
    }


def _verdicts(desk: Desk, versions: Sequence[Version]) -> list[Decision]:
    """The newest decisions about any of these versions, each asked for by its own address."""
    about = [desk.call("decisions.list", subject=str(v.ref), limit=_VERDICTS).items for v in versions]
    return sorted(chain.from_iterable(about), key=lambda each: (each.at, each.id), reverse=True)[:_VERDICTS]


def _numbers(query: Query) -> tuple[int, int]:
    found = [query.get(side, "") for side in ("left", "right")]
    if not all(text.isascii() and text.isdigit() and len(text) < 10 for text in found):
        raise Invalid("two numbers of versions are needed", hint="choose two versions on the model's page")
    return int(found[0]), int(found[1])


def versions_compared(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """Two versions of a model side by side."""
    left, right = _numbers(query)
    name = query.get("model", "")
    found = desk.call("registry.compare", name=name, left=left, right=right)
    newest = desk.call("assets.versions", kind="model", name=name, limit=_VERSIONS).items
    made = {v.run_id: desk.maybe("runs.show", run_id=v.run_id) for v in (found.left, found.right) if v.run_id}
    parts = (
        ("Parameters", found.params, found.same.get("params", 0)),
        ("Metrics", found.metrics, found.same.get("metrics", 0)),
        ("Signature", found.signature, found.same.get("signature", 0)),
        ("Data it read", found.data, found.same.get("data", 0)),
        ("Inputs", found.features, found.same.get("features", 0)),
        ("Code", found.code, found.same.get("code", 0)),
        ("Environment", found.environment, found.same.get("environment", 0)),
        ("Importance of inputs", found.importance, found.same.get("importance", 0)),
        ("Files", found.files, found.same.get("files", 0)),
        ("Tags", found.tags, found.same.get("tags", 0)),
    )
    return {
        "title": f"{name}: version {left} and version {right}",
        "section": "/models",
        "name": name,
        "found": found,
        "parts_of": [part for part in parts if part[1]],
        "alike": [(heading, same) for heading, differences, same in parts if same and not differences],
        "runs": {run_id: view.run for run_id, view in made.items() if view is not None},
        "numbers": [version.number for version in newest if version.deleted_at is None],
    }


def prompt(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """A prompt: the text of a version, and what changed since another one."""
    name = path["name"]
    view = desk.call("assets.show", kind="model", name=name)
    page = desk.call("assets.versions", kind="model", name=name, limit=_TEXTS)
    versions = {version.number: version for version in page.items if version.deleted_at is None}
    numbers = sorted(versions, reverse=True)
    wanted = _chosen(query.get("version"), numbers, numbers[0] if numbers else None)
    before = _chosen(query.get("since"), numbers, next((n for n in numbers if n < (wanted or 0)), None))
    texts = {number: prompt_text(versions[number]) for number in (wanted, before) if number is not None}
    return {
        "title": name,
        "view": view,
        "versions": [versions[number] for number in numbers],
        "chosen": versions.get(wanted) if wanted is not None else None,
        "since": before,
        "text": texts.get(wanted, "") if wanted is not None else "",
        "messages": _messages(texts.get(wanted, "") if wanted is not None else ""),
        "changes": changes(texts[before], texts[wanted]) if before in texts and wanted in texts else (),
    }


def _chosen(text: str | None, numbers: Sequence[int], usual: int | None) -> int | None:
    if text and text.isascii() and text.isdigit() and len(text) < 10 and int(text) in numbers:
        return int(text)
    return usual


def prompt_text(version: Version) -> str:
    """What a version of a prompt says."""
    return version.tags.get(_TEXT, "")


def _messages(text: str) -> list[tuple[str, str]]:
    """The messages of a prompt for a talk, by role; none of a plain text."""
    try:
        found: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return []
    if not isinstance(found, list) or not all(isinstance(each, dict) and "role" in each for each in found):
        return []
    return [(str(each["role"]), str(each.get("content", ""))) for each in found]


def changes(before: str, after: str) -> tuple[Line, ...]:
    """What a text lost and gained, line by line, each line kept."""
    found = difflib.ndiff(before.splitlines()[:_MOST_TOLD], after.splitlines()[:_MOST_TOLD])
    return tuple(Line(each[0], each[2:]) for each in found if each[0] in "+- ")
