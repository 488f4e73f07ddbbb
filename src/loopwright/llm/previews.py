"""What a list shows of a request or a response: the message that counts, or how its JSON begins. Pure."""

from __future__ import annotations

import json
from typing import Any

from loopwright.llm.nouns import PREVIEW

__all__ = ["dumped", "preview"]

_DEEP = 8
"""requests within requests that are looked into"""


def dumped(value: Any) -> str:
    """A value as the JSON text that clients of MLflow write."""
    return json.dumps(value, ensure_ascii=False)


def preview(value: Any, role: str) -> str | None:
    """The last message of a role in a chat's request or response, else the value as JSON; None of nothing.

    At most `PREVIEW` characters, the last three of a longer one are dots.
    """
    if value is None:
        return None
    messages = _messages(value, _DEEP)
    text = (_text_of(messages, role) if messages else "") or dumped(value)
    return text if len(text) <= PREVIEW else f"{text[: PREVIEW - 3]}..."


def _messages(value: Any, depth: int) -> list[dict[str, Any]]:
    if not isinstance(value, dict) or depth == 0:
        return []
    if isinstance(value.get("messages"), list) and value["messages"]:
        return _only_messages(value["messages"])
    choices = value.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        found = _only_messages([choices[0].get("message")])
        if found:
            return found
    for key in ("input", "output"):
        if isinstance(value.get(key), list) and value[key]:
            return _only_messages(value[key])
    return _messages(value.get("request"), depth - 1)


def _only_messages(items: list[Any]) -> list[dict[str, Any]]:
    return [each for each in items if isinstance(each, dict) and "role" in each and "content" in each]


def _text_of(messages: list[dict[str, Any]], role: str) -> str:
    chosen = next((each for each in reversed(messages) if each.get("role") == role), messages[-1])
    content = chosen.get("content")
    if isinstance(content, str):
        return content
    for part in content if isinstance(content, list) else ():
        if isinstance(part, str):
            return part
        if isinstance(part, dict) and part.get("type") in {"text", "output_text"}:
            text = part.get("text")
            return text if isinstance(text, str) else ""
    return ""
