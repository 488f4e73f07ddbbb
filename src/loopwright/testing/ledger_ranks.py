"""The conformance suite of what assets are found and ranked by: every store answers as the plain one does."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from datetime import timedelta

import pytest
from msgspec.structs import replace

from loopwright.core.instants import to_micros
from loopwright.core.nouns import Asset
from loopwright.core.queries import Comparison, Field, Operator
from loopwright.ports.ledger import Ledger
from loopwright.ports.measures import Measure, Measured, RankedAsked, RankKey, Worded
from loopwright.testing import ledger_values as make
from loopwright.testing.ledger import MemoryLedger

__all__ = ["RankSuite"]

_WORDS = ("a", "B", "é", "a%", "_b", "Ab*", "☂", "")
_VALUES = (-1.0, 0.0, 0.5, 0.5, math.nan, math.inf, 1e-300)
_TESTS: tuple[Operator, ...] = ("!=", "LIKE", "ILIKE", "<", ">=")
_KINDS: tuple[RankKey, ...] = (
    RankKey(kind="measure", key="m/x"),
    RankKey(kind="measure", key="m/y"),
    RankKey(kind="word", key="w/"),
    RankKey(kind="fact", key="state"),
    RankKey(kind="made"),
    RankKey(kind="changed"),
)


def _some(rng: random.Random, number: int) -> tuple[Asset, list[Measure]]:
    """An asset of one of two homes with its lines."""
    made = make.at(0) + timedelta(milliseconds=rng.randrange(4), microseconds=rng.randrange(1000))
    home = rng.choice(["h1", "h1", "h2"])
    asset = make.asset(
        f"a{number}",
        name=f"n{rng.randrange(10**6)}-{number}",
        created_at=made,
        updated_at=rng.choice([None, make.at(1), make.at(2)]),
        deleted_at=make.at(9) if rng.random() < 0.1 else None,
        tags={"t": rng.choice("12")},
        facts={"state": rng.choice(["on", "off"]), "deep": {"state": "on"}},
    )
    line = Measure(
        asset_id=asset.id,
        name="is",
        space=asset.space,
        home=home,
        asset=asset.name,
        made_ms=to_micros(made) // 1000,
    )
    lines = [line, replace(line, name=f"w/{rng.choice(_WORDS)}")]
    lines += [replace(line, name="few")] if rng.random() < 0.2 else []
    for key in ("m/x", "m/y"):
        if rng.random() < 0.8:
            value, other = rng.choice(_VALUES), rng.choice(_VALUES)
            numbers = sorted(each for each in (value, other) if not math.isnan(each))
            ends = (numbers[0], numbers[-1]) if numbers else (None, None)
            lines.append(replace(line, name=key, value=value, least=ends[0], most=ends[1], place="p"))
    return asset, lines


def _asked(rng: random.Random) -> RankedAsked:
    keys = rng.sample(_KINDS, rng.randrange(1, 4))
    order = (*(replace(key, descending=rng.random() < 0.5) for key in keys), RankKey(kind="name"))
    measured = [
        Measured(names=("m/x",), low=rng.choice([None, 0.0, 0.5])),
        Measured(names=("m/x", "m/y"), high=rng.choice([None, 0.5])),
        Measured(names=("few",)),
        Measured(names=("m/y",), low=0.0, high=0.0),
    ]
    test = Comparison(Field("attribute", "name"), rng.choice(_TESTS), rng.choice([*_WORDS, "%", "a%", "_"]))
    return RankedAsked(
        limit=3,
        homes=rng.choice([("h1",), ("h1", "h2"), ("none",)]),
        every="is",
        order=order,
        measured=tuple(rng.sample(measured, rng.choice([0, 0, 1, 2]))),
        worded=(Worded(prefix="w/", test=test),) if rng.random() < 0.4 else (),
        tags={"t": "1"} if rng.random() < 0.3 else {},
        made_ms=rng.choice([(None, None), (to_micros(make.at(0)) // 1000 + 1, None)]),
    )


def _place(asset: Asset, lines: Sequence[Measure], order: Sequence[RankKey]) -> list[str | float | None]:
    from_lines = {line.name: line.value for line in lines}
    word = next(line.name[2:] for line in lines if line.name.startswith("w/"))
    found: dict[str, str | float | None] = {
        "word": word,
        "fact": str(asset.facts.get("state")),
        "made": to_micros(asset.created_at) // 1000,
        "changed": to_micros(asset.updated_at or asset.created_at) // 1000,
        "name": asset.name,
    }
    return [from_lines.get(key.key) if key.kind == "measure" else found[key.kind] for key in order]


class RankSuite:
    """What `tx.measures` must do. Subclass it with a fixture `ledger`."""

    def test_lines_are_kept_replaced_removed_and_go_with_their_asset(self, ledger: Ledger) -> None:
        asset, lines = _some(random.Random(1), 1)
        asset = replace(asset, deleted_at=None)
        told = {"value": math.nan, "least": -math.inf, "most": 2.5, "step": 7, "at_us": -3, "place": "p"}
        odd = replace(lines[0], name="m/z", **told)
        ledger.write(lambda tx: tx.assets.add(asset))
        ledger.write(lambda tx: tx.measures.put([*lines, odd]))
        changed = replace(lines[0], value=4.0, place="later")
        ledger.write(lambda tx: tx.measures.put([changed]))
        ledger.write(lambda tx: tx.measures.remove(asset.id, [lines[1].name, "never"]))
        with ledger.read() as tx:
            found = dict(tx.measures.of(asset.id, ["is", "m/z", lines[1].name, "never"]))
        assert found.keys() == {"is", "m/z"}
        assert found["is"] == changed
        assert math.isnan(found["m/z"].value)
        assert replace(found["m/z"], value=0.0) == replace(odd, value=0.0)
        ledger.write(lambda tx: tx.assets.update(replace(asset, deleted_at=make.at(9))))
        ledger.write(lambda tx: tx.trash.remove_asset(asset.id))
        with ledger.read() as tx:
            assert not tx.measures.of(asset.id, ["is", "m/z"])

    @pytest.mark.parametrize("seed", range(4))
    def test_ranks_are_those_of_the_plain_one(self, ledger: Ledger, seed: int) -> None:
        """Of all that is asked, in every order, page by page."""
        rng, plain = random.Random(seed), MemoryLedger()
        some = [_some(rng, number) for number in range(40)]
        for store in (ledger, plain):
            for asset, lines in some:
                store.write(lambda tx, it=asset: tx.assets.add(it))  # type: ignore[misc]  # bound at once
                store.write(lambda tx, those=lines: tx.measures.put(those))  # type: ignore[misc]  # the same
                store.write(lambda tx, it=asset: tx.assets.update(it))  # type: ignore[misc]  # the same
        lines_of = {asset.id: lines for asset, lines in some}
        for _ in range(40):
            asked, seen = _asked(rng), list[str]()
            with plain.read() as tx:
                expected = [each.id for each in tx.measures.ranked("default", replace(asked, limit=100))]
            with ledger.read() as tx:
                while piece := tx.measures.ranked("default", asked):
                    seen += [each.id for each in piece]
                    after = tuple(_place(piece[-1], lines_of[piece[-1].id], asked.order))
                    asked = replace(asked, after=after)
            assert seen == expected, asked
