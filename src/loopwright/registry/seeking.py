"""Finds registered models, and prompts, by words of their names and by tags."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.folding import folded
from loopwright.core.nouns import Asset
from loopwright.core.queries import All, Comparison, Condition, Field, Not
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.ports.ledger import Page
from loopwright.registry import registered
from loopwright.registry.naming import IS_PROMPT
from loopwright.registry.nouns import RegisteredModel

__all__ = ["search"]

_WORDS = 20

Limit = Annotated[int, msgspec.Meta(ge=1, le=1000, description="how many on a page")]
Text = Annotated[str, msgspec.Meta(max_length=250)]
Tag = Annotated[str, msgspec.Meta(max_length=5_250)]


@operation("registry.search", scope="model:read", route="GET /registered-models", command="models search")
def search(
    ctx: Context,
    *,
    text: Text = "",
    tag: Tag = "",
    prompts: bool = False,
    limit: Limit = 100,
    token: str = "",
) -> Page[RegisteredModel]:
    """Find models by name: those that have every word of a text in their name, and a tag.

    `tag` is a key or `key=value`. Upper and lower case are the same in words. With `prompts`, prompts are
    found and no models. The ledger makes the tests while it walks the names, as far as a page goes.
    """
    words = [folded(word) for word in text.split()]
    if len(words) > _WORDS:
        raise Invalid(f"{len(words)} words are too many", hint=f"ask for at most {_WORDS}", where="text")
    asked = All((*_named(words), *_tagged(tag), _of_prompts(wanted=prompts)))
    found = registered.sought(ctx, asked, partial(_has_all, words), limit=limit, token=token)
    return Page(items=found.items, next_token=found.next_token)


def _named(words: Sequence[str]) -> list[Condition]:
    """A pattern for each word, in which its own `%` and `_` stand for anything."""
    return [Comparison(Field("attribute", "name"), "ILIKE", f"%{word}%") for word in words]


def _has_all(words: Sequence[str], asset: Asset) -> bool:
    """Whether each word is in the name, letter by letter."""
    name = folded(asset.name)
    return all(word in name for word in words)


def _tagged(tag: str) -> list[Condition]:
    key, has_value, value = tag.partition("=")
    if not key:
        return []
    field = Field("tag", key)
    return [Comparison(field, "=", value) if has_value else Comparison(field, "LIKE", "%")]


def _of_prompts(*, wanted: bool) -> Condition:
    are = Comparison(Field("tag", IS_PROMPT), "ILIKE", "true")
    return are if wanted else Not(are)
