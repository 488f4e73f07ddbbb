"""Searches of traces: what is asked beside MLflow's own, and that its own are read as it reads them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from loopwright.core.errors import Invalid
from loopwright.core.queries import All, AnyOf, Comparison, Condition, Field, Not
from loopwright.tracking.dialects import TRACES
from loopwright.tracking.grammar import parse_filter, parse_order
from tests.protocols.mlflow.peers import run_as_peer

PAIRS = (
    ("status", "text"),
    ("trace.status", "text"),
    ("attributes.name", "text"),
    ("name", "text"),
    ("request_id", "text"),
    ("client_request_id", "text"),
    ("timestamp_ms", "number"),
    ("execution_time", "number"),
    ("trace.end_time_ms", "number"),
    ("tags.team", "tag"),
    ("tag.`my team`", "tag"),
    ("metadata.odd", "tag"),
    ("request_metadata.mlflow.sourceRun", "tag"),
    ("span.name", "text"),
    ("span.type", "text"),
    ("span.status", "text"),
    ("span.attributes.model", "text"),
    ("span.attributes.llm.model_name", "text"),
    ("span.content", "content"),
    ("trace.text", "content"),
    ("feedback.score", "said"),
    ("expectation.answer", "said"),
)
TEXTS = ("'a'", "'it is'", '"b"', "'%x_'", "'^a[bc]$'")


def clause(rng: random.Random) -> str:
    field, kind = rng.choice(PAIRS)
    if kind == "number":
        return f"{field} {rng.choice(['=', '!=', '<', '<=', '>', '>='])} {rng.randrange(100)}"
    if kind == "content":
        return f"{field} {rng.choice(['LIKE', 'ILIKE'])} {rng.choice(TEXTS)}"
    if kind in {"tag", "said"} and rng.random() < 0.2:
        return f"{field} IS {rng.choice(['', 'NOT '])}NULL"
    if kind == "said" and rng.random() < 0.4:
        return f"{field} {rng.choice(['<', '<=', '>', '>='])} {rng.choice(['1', '0.5'])}"
    if kind == "text" and rng.random() < 0.2:
        return f"{field} {rng.choice(['IN', 'NOT IN'])} ('a', 'b')"
    return f"{field} {rng.choice(['=', '!=', 'LIKE', 'ILIKE', 'RLIKE'])} {rng.choice(TEXTS)}"


def listed(found: Condition | None) -> list[list[Any]]:
    """The clauses in MLflow's form."""
    parts = found.parts if isinstance(found, All) else (found,)
    return [told(each) for each in parts if isinstance(each, Comparison)]


def told(each: Comparison) -> list[Any]:
    kind, key = each.field.kind, each.field.key
    value: Any = list(each.value) if isinstance(each.value, tuple) else each.value
    if (kind, key) == ("attribute", "name"):
        return ["tag", "mlflow.traceName", each.op, value]
    if (kind, key) == ("attribute", "run_id"):
        return ["request_metadata", "mlflow.sourceRun", each.op, value]
    return ["request_metadata" if kind == "metadata" else kind, key, each.op, value]


@pytest.mark.peer
@pytest.mark.slow
def test_its_own_searches_are_read_as_mlflow_reads_them(tmp_path: Path) -> None:
    rng = random.Random(7)
    texts = [" AND ".join(clause(rng) for _ in range(rng.randrange(1, 4))) for _ in range(400)]
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    said = run_as_peer("3", "tests.tracking.traces_peer", "texts.json", folder=tmp_path)
    theirs = json.loads(said.strip().splitlines()[-1])
    read = 0
    for text, wanted in zip(texts, theirs, strict=True):
        if wanted is None:
            continue
        read += 1
        plain = [[*each[:3], list(each[3]) if isinstance(each[3], list) else each[3]] for each in wanted]
        assert listed(parse_filter(text, TRACES)) == plain, text
    assert read > 300


def test_or_not_and_brackets_are_ours() -> None:
    found = parse_filter("status = 'OK' AND (span.type = 'TOOL' OR NOT text LIKE '%x%')", TRACES)
    assert found == All(
        (
            Comparison(Field("attribute", "status"), "=", "OK"),
            AnyOf(
                (
                    Comparison(Field("span", "type"), "=", "TOOL"),
                    Not(Comparison(Field("span", "content"), "LIKE", "%x%")),
                )
            ),
        )
    )


@pytest.mark.parametrize(
    "text",
    [
        "colour = 'red'",
        "status > 3",
        "timestamp = 'now'",
        "tags.team = 5",
        "span.colour = 'x'",
        "span.attributes. = 'x'",
        "span.content = 'x'",
        "span.name > 'a'",
        "feedback.score > 'high'",
        "feedback.tone = 5",
        "feedback.tone IN ('a')",
        "issue.colour = 'x'",
        "issue.id != 'x'",
        "prompt != 'a/1'",
        "name RLIKE '('",
        r"name RLIKE '(a)\1'",
        "params.lr = 'x'",
        "status = 'a\0'",
    ],
)
def test_what_cannot_be_asked_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(Invalid) as refusal:
        parse_filter(text, TRACES)
    assert refusal.value.message


@pytest.mark.parametrize("text", ["colour", "status, status", "span.name", "feedback.score DESC", "text"])
def test_an_order_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse_order(text.split(", "), TRACES)
