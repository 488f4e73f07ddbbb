"""How models, their aliases and their tags may be named: the rules that MLflow's clients know. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from loopwright.core.addresses import check_name
from loopwright.core.errors import Invalid
from loopwright.tracking.limits import KEY, check_keys, check_length

__all__ = [
    "IS_PROMPT",
    "PROMPT_TEXT",
    "VALUE_LIMIT",
    "check_alias_name",
    "check_logged_name",
    "check_model_name",
    "check_tag",
    "check_tags",
    "is_prompt",
]

IS_PROMPT = "mlflow.prompt.is_prompt"
"""the tag of a registered model, and of its versions, that makes it a prompt"""
PROMPT_TEXT = "mlflow.prompt.text"
VALUE_LIMIT = 100_000
_ALIAS_LIMIT = 255
_NAME_LIMIT = 256
_ALIAS = re.compile(r"[\w-]+\Z")
_NUMBERED = re.compile(r"[vV]\d+\Z")
_BAD_IN_LOGGED = frozenset("/:.%\"'")


def is_prompt(tags: Mapping[str, str]) -> bool:
    """Whether the tags say that a registered model, or a version of it, is a prompt."""
    return tags.get(IS_PROMPT, "").lower() == "true"


def check_model_name(name: str) -> str:
    """The name itself when a registered model may have it; `Invalid` else."""
    if not name.strip():
        raise Invalid("Missing value for required parameter 'name'.", hint="name the model", where="name")
    if "/" in name or ":" in name:
        raise Invalid(f"Invalid model name '{name[:80]}'. Names cannot contain '/' or ':'.", where="name")
    check_length("name", name, _NAME_LIMIT)
    try:
        return check_name(name)
    except Invalid as error:
        raise Invalid(
            f"Invalid value {name[:80]!r} for parameter 'name' supplied: {error.message}",
            hint=error.hint,
            where="name",
        ) from error


def check_logged_name(name: str) -> str:
    """The name itself when a logged model may have it; `Invalid` else."""
    if not name.strip() or len(name) > KEY or not name.isprintable() or _BAD_IN_LOGGED & set(name):
        raise Invalid(
            f"Invalid model name ({name[:80]!r}) provided. It has to be a printable text of 1 to {KEY} "
            "characters without any of / : . % \" '",
            where="name",
        )
    return name


def check_alias_name(alias: str) -> str:
    """The alias itself when a client may give it; what reads as a version or as the newest is reserved."""
    if not _ALIAS.match(alias):
        raise Invalid(f"Invalid alias name: '{alias[:80]}'.", hint="use letters, digits, _ and -")
    if len(alias) > _ALIAS_LIMIT:
        raise Invalid(
            f"'Registered model alias name' exceeds the maximum length of {_ALIAS_LIMIT} characters",
            hint="choose a shorter one",
        )
    if alias.lower() == "latest":
        raise Invalid("'latest' alias name (case insensitive) is reserved.", hint="choose another one")
    if _NUMBERED.match(alias):
        raise Invalid(f"Version alias name '{alias}' is reserved.", hint="choose another one")
    return alias


def check_tag(key: str, value: str) -> None:
    """`Invalid` unless a registered model, a version or a logged model may have the tag."""
    check_keys([key], "key", "key")
    check_length("key", key, KEY)
    check_length("value", value, VALUE_LIMIT)


def check_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags themselves when all of them may be; `Invalid` else."""
    for key, value in tags.items():
        check_tag(key, value)
    return dict(tags)
