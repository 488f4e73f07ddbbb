"""What a webhook is, what happens that it can be told of, and what became of each telling."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from loopwright.core.nouns import Json

__all__ = ["EVENTS", "KIND", "Delivery", "Happening", "Webhook", "WebhookStatus"]

KIND = "webhook"


class WebhookStatus(StrEnum):
    """Whether a webhook is told anything."""

    ACTIVE = "active"
    DISABLED = "disabled"


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """Where to tell of what; its secret is never among this."""

    id: str
    """a UUID in its usual form"""
    name: str
    url: str
    events: tuple[str, ...]
    """`registered_model.created`, `prompt_tag.set`…: see `EVENTS`"""
    status: WebhookStatus
    reason: str = ""
    """why it was disabled, when nobody did it"""
    failures: int = 0
    """deliveries in a row that failed for good"""
    description: str = ""
    has_secret: bool = False
    created_at: datetime
    updated_at: datetime


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened, as it is told outside."""

    event: str
    data: Json
    at: datetime
    source: str
    """id of the journal's line"""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One try to tell a webhook of one thing; all tries of one thing have the same id."""

    id: str
    webhook_id: str
    event: str
    at: datetime
    attempt: int
    ok: bool
    status: int | None = None
    """of the receiver's answer; None when there was none"""
    error: str = ""
    is_last: bool = True
    """no further try follows"""


_NAMED = {"name": "example"}
_NUMBERED = {**_NAMED, "version": "1"}
_TAGS: dict[str, Any] = {"tags": {"key": "value"}, "description": "An example"}
_TAG = {"key": "key", "value": "value"}
_SOURCE = {"source": "models:/m-1", "run_id": "0123456789abcdef0123456789abcdef"}

EVENTS: dict[str, Json] = {
    "registered_model.created": {**_NAMED, **_TAGS},
    "model_version.created": {**_NUMBERED, **_SOURCE, **_TAGS},
    "model_version_tag.set": {**_NUMBERED, **_TAG},
    "model_version_tag.deleted": {**_NUMBERED, "key": "key"},
    "model_version_alias.created": {**_NAMED, "alias": "champion", "version": "1"},
    "model_version_alias.deleted": {**_NAMED, "alias": "champion"},
    "prompt.created": {**_NAMED, **_TAGS},
    "prompt_version.created": {**_NUMBERED, "template": "Hello {{name}}", **_TAGS},
    "prompt_tag.set": {**_NAMED, **_TAG},
    "prompt_tag.deleted": {**_NAMED, "key": "key"},
    "prompt_version_tag.set": {**_NUMBERED, **_TAG},
    "prompt_version_tag.deleted": {**_NUMBERED, "key": "key"},
    "prompt_alias.created": {**_NAMED, "alias": "champion", "version": "1"},
    "prompt_alias.deleted": {**_NAMED, "alias": "champion"},
    "budget_policy.exceeded": {
        "budget_policy_id": "bp-1",
        "budget_unit": "USD",
        "budget_amount": 10.0,
        "current_spend": 11.5,
        "duration_unit": "DAYS",
        "duration_value": 1,
        "target_scope": "GLOBAL",
        "workspace": "default",
        "target_value": None,
        "window_start": 1_700_000_000_000,
    },
}
"""every event that can be asked for, with what a test of it tells; there are no budgets here, so the last is
never told but in a test"""
