"""What lines of the journal say of models and prompts, in the words of webhooks.

A line holds no values, so what is told is how the thing stands when the line is looked at, a moment later.
"""

from __future__ import annotations

from collections.abc import Mapping

from loopwright.core.addresses import Address, ByNumber, parse_address
from loopwright.core.nouns import Asset, Event, Json, Version
from loopwright.engine.context import Context
from loopwright.ports.ledger import Transaction
from loopwright.registry.naming import IS_PROMPT, PROMPT_TEXT, is_prompt
from loopwright.registry.nouns import KIND as MODEL
from loopwright.registry.versions import source_of

__all__ = ["KINDS", "told"]

KINDS = (
    "asset.created",
    "asset.changed",
    "version.published",
    "version.changed",
    "alias.moved",
    "alias.removed",
)
"""kinds of lines that may be told of"""
_PREFIX = f"{MODEL}:"
_INTERNAL = (IS_PROMPT, PROMPT_TEXT, "_mlflow_")
"""how tags begin that say what a prompt is, or where clients keep books of their own"""


def told(ctx: Context, tx: Transaction, event: Event) -> tuple[str, Json] | None:
    """The event's name and what is told of it; None for what webhooks are not told of."""
    if not event.subject.startswith(_PREFIX):
        return None
    address = parse_address(event.subject)
    asset = tx.assets.find(ctx.space, MODEL, address.name)
    if asset is None or asset.deleted_at is not None:
        return None
    match event.kind:
        case "asset.created":
            return _created(asset)
        case "asset.changed":
            return _tagged(event, "prompt_tag", {"name": asset.name}, asset.tags) if _is(asset) else None
        case "alias.moved" | "alias.removed":
            return _aliased(asset, event)
    version = _version(tx, asset, address)
    if version is None:
        return None
    if event.kind == "version.published":
        return _published(asset, version)
    named = {"name": asset.name, "version": str(version.number)}
    return _tagged(event, f"{_which(asset, 'model_version')}_tag", named, version.tags)


def _is(asset: Asset) -> bool:
    return is_prompt(asset.tags)


def _which(asset: Asset, model: str) -> str:
    """The word for a version: of a prompt, or of a model."""
    return "prompt_version" if _is(asset) else model


def _version(tx: Transaction, asset: Asset, address: Address) -> Version | None:
    number = address.selector.number if isinstance(address.selector, ByNumber) else None
    return None if number is None else tx.versions.get(asset.id, number)


def _created(asset: Asset) -> tuple[str, Json]:
    tags = _without_internal(asset.tags) if _is(asset) else dict(asset.tags)
    told = {"name": asset.name, "tags": tags, "description": asset.description}
    return "prompt.created" if _is(asset) else "registered_model.created", told


def _published(asset: Asset, version: Version) -> tuple[str, Json]:
    named: Json = {"name": asset.name, "version": str(version.number)}
    if _is(asset):
        said: Json = {"template": version.tags.get(PROMPT_TEXT), "tags": _without_internal(version.tags)}
    else:
        said = {"source": source_of(version), "run_id": version.run_id or None, "tags": dict(version.tags)}
    name = f"{_which(asset, 'model_version')}.created"
    return name, {**named, **said, "description": version.description or None}


def _tagged(event: Event, what: str, named: Json, tags: Mapping[str, str]) -> tuple[str, Json] | None:
    key = event.payload.get("tag")
    if not isinstance(key, str):
        return None
    if event.payload.get("removed"):
        return f"{what}.deleted", {**named, "key": key}
    return f"{what}.set", {**named, "key": key, "value": tags.get(key, "")}


def _aliased(asset: Asset, event: Event) -> tuple[str, Json]:
    what = "prompt_alias" if _is(asset) else "model_version_alias"
    told: Json = {"name": asset.name, "alias": event.payload["alias"]}
    if event.kind == "alias.removed":
        return f"{what}.deleted", told
    return f"{what}.created", {**told, "version": str(event.payload["to"])}


def _without_internal(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if not key.startswith(_INTERNAL)}
