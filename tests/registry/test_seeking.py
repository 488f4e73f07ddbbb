"""Models are found by words and tags as a slow reading of all of them finds them, on two stores."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from loopwright.adapters.sql import open_ledger
from loopwright.core.errors import Invalid
from loopwright.engine.context import Context
from loopwright.ports.ledger import Ledger, PageRequest
from loopwright.registry import registered, seeking
from loopwright.registry.naming import IS_PROMPT
from loopwright.registry.nouns import RegisteredModel
from loopwright.testing.builders import SetClock, memory_context, memory_ports
from loopwright.testing.ledger import MemoryLedger
from tests.registry.worlds import NOON, made_version

NAMES = (
    "delay_eu",
    "delay-eu",
    "Delay EU",
    "Straße",
    "ÉTÉ 7%",
    "100% sure",
    "[a]*?",
    "fare",
    "DELAY_us",
    "x",
)
TAGS: tuple[dict[str, str], ...] = (
    {},
    {"team": "ops"},
    {"team": "ops", "tier": "1"},
    {"team": "data"},
    {"tier": ""},
    {"o x/y": 'a"b'},
)
WORDS = (
    "",
    "delay",
    "DELAY eu",
    "_eu",
    "%",
    "7%",
    "a]*",
    "?",
    "straße",
    "STRASSE",
    "été",
    "e",
    "none",
    "y_",
)
ASKED_TAGS = (
    "",
    "team",
    "team=ops",
    "team=",
    "tier=",
    "tier=1",
    'o x/y=a"b',
    "o x/y",
    "te",
    "team=op",
)


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def ctx(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    ledger: Ledger = MemoryLedger()
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'ledger.db'}"
        ledger = open_ledger(url)
    context = memory_context(memory_ports(clock=SetClock(NOON), ledger=ledger))
    drawn = random.Random(4)
    for number in range(60):
        name = f"{NAMES[number % len(NAMES)]} {number}"
        tags = dict(drawn.choice(TAGS))
        if drawn.random() < 0.3:
            tags[IS_PROMPT] = drawn.choice(["true", "True", "false"])
        registered.create(context, name, tags=tags)
        if IS_PROMPT not in tags and drawn.random() < 0.3:
            made_version(context, name)
        if drawn.random() < 0.1:
            registered.delete(context, name)
    yield context
    ledger.close()


def everything(ctx: Context, **asked: str | bool) -> list[RegisteredModel]:
    """Page by page."""
    found, token = list[RegisteredModel](), ""
    while True:
        page = seeking.search(ctx, **asked, limit=25, token=token)  # type: ignore[arg-type]  # as a caller names it
        found += page.items
        token = page.next_token
        if not token:
            return found
        assert len(page.items) == 25, "a page is short though more follow"


def meant(ctx: Context, text: str, tag: str, *, prompts: bool) -> list[str]:
    """By reading everything; the words without their case as one text, which is what letters of names are."""
    with ctx.read() as tx:
        page = tx.assets.page(ctx.space, "model", PageRequest(limit=1000))
        there = [each for each in page.items if each.deleted_at is None]
    key, says, value = tag.partition("=")
    names = [
        each.name
        for each in there
        if (each.tags.get(IS_PROMPT, "").lower() == "true") is prompts
        and all(word.lower() in each.name.lower() for word in text.split())
        and (not tag or (each.tags.get(key) == value if says else key in each.tags))
    ]
    return sorted(names)


@pytest.mark.parametrize("prompts", [False, True])
@pytest.mark.parametrize("tag", ASKED_TAGS)
def test_what_is_found_is_what_reading_all_of_them_finds(ctx: Context, tag: str, prompts: bool) -> None:
    for text in WORDS:
        found = everything(ctx, text=text, tag=tag, prompts=prompts)
        assert [each.asset.name for each in found] == meant(ctx, text, tag, prompts=prompts), (text, tag)


def test_a_model_is_found_with_its_newest_version(ctx: Context) -> None:
    registered.create(ctx, "numbered")
    for _ in range(3):
        made_version(ctx, "numbered")
    (found,) = seeking.search(ctx, text="numbered").items
    assert [version.number for version in found.latest] == [3]


def test_too_many_words_and_forged_tokens_are_refused(ctx: Context) -> None:
    with pytest.raises(Invalid, match="21 words"):
        seeking.search(ctx, text="a " * 21)
    for token in ("zzz", "W10", "e30", "AAAA"):
        with pytest.raises(Invalid):
            seeking.search(ctx, token=token)
