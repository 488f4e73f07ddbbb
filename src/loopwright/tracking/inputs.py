"""What a run read and made: datasets as clients describe them, and logged models, kept among its facts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from loopwright.core.errors import Invalid
from loopwright.core.nesting import check_json
from loopwright.core.nouns import Json
from loopwright.engine.context import Context
from loopwright.ports.ledger import Transaction
from loopwright.tracking.lifecycle import open_run
from loopwright.tracking.limits import check_length

__all__ = ["DatasetRead", "ModelUse", "log_inputs", "log_model", "log_outputs"]

_NAME = 500
_DIGEST = 36
_TAG_KEY = 255
_SOURCE = 65_535
_SCHEMA = 1_048_575
_PROFILE = 16_777_215
_HISTORY_TAG = "mlflow.log-model.history"
_TOLD = ("artifact_path", "flavors", "utc_time_created", "run_id")


class DatasetRead(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A dataset that a run read, as a client describes it."""

    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str | None = None
    profile: str | None = None
    context: str | None = None
    """what for: training, test"""
    tags: dict[str, str] = {}


class ModelUse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A logged model that a run read or made, and at which step it was made."""

    model_id: str
    step: int = 0


def log_inputs(
    ctx: Context, run_id: str, datasets: Sequence[DatasetRead], models: Sequence[ModelUse] = ()
) -> None:
    """Keep the datasets and logged models that a run read; one that is known stays as it was told first."""
    for each in datasets:
        _check_dataset(each)
    read: list[Json] = [msgspec.to_builtins(each) for each in datasets]
    used: list[Json] = [msgspec.to_builtins(each) for each in models]
    _add_facts(ctx, run_id, {"datasets": (read, ("name", "digest")), "model_inputs": (used, ("model_id",))})


def log_outputs(ctx: Context, run_id: str, models: Sequence[ModelUse]) -> None:
    """Keep the logged models that a run made."""
    made: list[Json] = [msgspec.to_builtins(each) for each in models]
    _add_facts(ctx, run_id, {"model_outputs": (made, ("model_id",))})


def _check_dataset(read: DatasetRead) -> None:
    check_length("name", read.name, _NAME)
    check_length("digest", read.digest, _DIGEST)
    check_length("source", read.source, _SOURCE)
    check_length("schema", read.schema or "", _SCHEMA)
    check_length("profile", read.profile or "", _PROFILE)
    for key, value in read.tags.items():
        check_length("key", key, _TAG_KEY)
        check_length("value", value, _NAME)


def _add_facts(ctx: Context, run_id: str, more: Mapping[str, tuple[list[Json], tuple[str, ...]]]) -> None:
    """Add to lists among a run's facts what is not there yet, as told by the fields of its identity."""

    def work(tx: Transaction) -> None:
        run = open_run(ctx, tx, run_id)
        facts = dict(run.facts)
        for name, (items, identity) in more.items():
            known: dict[Any, Json] = {}
            for item in (*facts.get(name, ()), *items):
                known.setdefault(tuple(item.get(field) for field in identity), item)
            if known:
                facts[name] = list(known.values())
        if facts != run.facts:
            tx.runs.update(replace(run, facts=facts))

    ctx.write(work)


def log_model(ctx: Context, run_id: str, text: str) -> None:
    """Add a model, told of as JSON, to the history that clients of former years keep in a tag."""
    try:
        check_json(text.encode())
        told = msgspec.json.decode(text, type=Json)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise Invalid(f"Malformed model info. {text[:100]!r} is not a JSON object") from error
    lacking = [name for name in _TOLD if name not in told]
    if lacking:
        raise Invalid(f"Model json is missing mandatory fields: {lacking}")
    entry = {name: told.get(name) for name in ("run_id", "artifact_path", "utc_time_created", "model_uuid")}

    def work(tx: Transaction) -> None:
        run = open_run(ctx, tx, run_id)
        known = _history(run.tags.get(_HISTORY_TAG, "[]"))
        history = json.dumps([*known, {**entry, "flavors": told["flavors"]}])
        tx.runs.update(replace(run, tags={**run.tags, _HISTORY_TAG: history}))

    ctx.write(work)


def _history(text: str) -> list[Json]:
    """The models told of so far; none in a tag that somebody wrote something else into."""
    try:
        return msgspec.json.decode(text, type=list[Json])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return []
