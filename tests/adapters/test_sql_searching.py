"""Walks of searches: the ways that only very many runs take, taken with few."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from loopwright.adapters.sql import open_ledger
from loopwright.adapters.sql.repositories import measures, narrowing, searching
from loopwright.adapters.sql.statements import Session
from loopwright.core.nouns import MetricPoint
from loopwright.core.queries import All, Comparison, Field, Operator, RunQuery, SortKey
from loopwright.ports.ledger import Ledger, PageRequest, Transaction
from loopwright.testing import ledger_values as make
from loopwright.testing.ledger_ranks import RankSuite
from loopwright.testing.ledger_searches import SearchSuite
from loopwright.testing.ledger_values import walk


class _Walked(RankSuite, SearchSuite):
    """Nothing is begun with what few pass, and two runs of one value are many."""

    @pytest.fixture(autouse=True)
    def _walks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(measures, "_FEW", -1)
        monkeypatch.setattr(narrowing, "_SOME", 1)
        monkeypatch.setattr(searching, "_TIES", 1)
        monkeypatch.setattr(searching, "_REACH", 1)


class TestWalksOfSqlite(_Walked):
    @pytest.fixture
    def ledger(self, tmp_path: Path) -> Iterator[Ledger]:
        opened = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
        yield opened
        opened.close()


@pytest.mark.parametrize("op", [">", ">=", "<", "<="])
@pytest.mark.parametrize("descending", [False, True])
def test_no_walk_has_two_bounds_on_one_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, op: Operator, *, descending: bool
) -> None:
    """SQLite enters an index by the first of them, and would walk to the end of the wider one."""
    monkeypatch.setattr(searching, "_REACH", 1)
    fetch, texts = Session.fetch, list[str]()

    def heard(self: Session, text: str, arguments: Sequence[Any]) -> Any:
        texts.append(text)
        return fetch(self, text, arguments)

    asked = Comparison(Field("metric", "m"), op, 5.5)
    order = (SortKey(Field("metric", "m"), descending=descending),)
    query = RunQuery(experiments=("e",), where=asked, order=order)
    with closing(open_ledger(f"sqlite:///{tmp_path}/ledger.db")) as ledger:
        ledger.write(lambda tx: tx.assets.add(make.asset("e", kind="experiment", name="e")))
        for number in range(12):
            ledger.write(partial(_measured, number=number))
        monkeypatch.setattr(Session, "fetch", heard)
        with ledger.read() as tx:
            tx.runs.search("default", query, PageRequest(limit=2))
            walks = [text for text in texts if "INDEXED BY metric_latest_value" in text]
            found = walk(lambda request: tx.runs.search("default", query, request), limit=2)
    wanted = [n for n in range(12) if (n > 5.5 if op[0] == ">" else n < 5.5)]
    assert [each.run.id for each in found] == [f"r{n}" for n in sorted(wanted, reverse=descending)]
    assert any("OFFSET" not in text for text in walks)
    for text in walks:
        for side in "<>":
            assert len(re.findall(rf"d\.value {side}=? \?", text)) <= 1, text


def _measured(tx: Transaction, number: int) -> None:
    run = make.run(f"r{number}", experiment="e", started_at=make.at(number))
    tx.runs.add(run)
    tx.metrics.log(run.id, [MetricPoint(key="m", value=float(number), at_us=1)])


class TestWalksOfPostgres(_Walked):
    @pytest.fixture
    def ledger(self, postgres_url: str) -> Iterator[Ledger]:
        opened = open_ledger(postgres_url)
        yield opened
        opened.close()


class TestBeginningsOfPostgres(RankSuite, SearchSuite):
    """Few runs as very many: what few pass is begun with, where a walk would be held against it."""

    @pytest.fixture
    def ledger(self, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
        monkeypatch.setattr(searching, "are_few", lambda session: False)
        opened = open_ledger(postgres_url)
        yield opened
        opened.close()


def test_a_short_walk_is_held_against_what_few_pass(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin is a sort of all; runs that tie stand on both sides of a page's end."""
    fetch, texts = Session.fetch, list[str]()

    def heard(self: Session, text: str, arguments: Sequence[Any]) -> Any:
        texts.append(text)
        return fetch(self, text, arguments)

    def made(tx: Transaction) -> None:
        for number in range(60):
            params = {"p": "in" if number % 3 else "out"}
            run = make.run(f"r{number:02}", experiment="e", started_at=make.at(number), params=params)
            tx.runs.add(run)
            tx.metrics.log(run.id, [MetricPoint(key="m", value=float(number // 7), at_us=1)])

    where = All((Comparison(Field("metric", "m"), ">", 1.0), Comparison(Field("param", "p"), "=", "in")))
    query = RunQuery(experiments=("e",), where=where, order=(SortKey(Field("metric", "m"), descending=True),))
    with closing(open_ledger(postgres_url)) as ledger:
        ledger.write(lambda tx: tx.assets.add(make.asset("e", kind="experiment", name="e")))
        ledger.write(made)
        monkeypatch.setattr(Session, "fetch", heard)
        with ledger.read() as tx:
            found = walk(lambda request: tx.runs.search("default", query, request), limit=5)
    passing = [number for number in range(60) if number // 7 > 1 and number % 3]
    wanted = sorted(passing, key=lambda number: (-(number // 7), -number))
    assert [each.run.id for each in found] == [f"r{number:02}" for number in wanted]
    assert any("IS TRUE" in text for text in texts)
