"""Against MLflow's own parser and its own search in memory, in an environment of its own."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from loopwright.core.errors import Invalid
from loopwright.core.nouns import FoundRun, MetricPoint, Run, RunState
from loopwright.core.queries import All, AnyOf, Comparison, Condition, RunQuery
from loopwright.testing.querying import ordered
from loopwright.tracking.dialects import RUNS
from loopwright.tracking.grammar import parse_filter, parse_order
from tests.protocols.mlflow.peers import run_as_peer
from tests.tracking.grammar_refusals import OWN_WORDS, REFUSED, REFUSED_RUNS
from tests.tracking.grammar_texts import DIALECTS, some_order, some_text

pytestmark = [pytest.mark.peer, pytest.mark.slow]

KINDS = {
    "parameter": "param",
    "attributes": "attribute",
    "metrics": "metric",
    "params": "param",
    "tags": "tag",
}
KEYS = {
    "Created": "start_time",
    "created": "start_time",
    "run name": "run_name",
    "Run Name": "run_name",
    "timestamp": "last_updated_timestamp",
    "creation_timestamp_ms": "creation_timestamp",
    "last_updated_timestamp_ms": "last_updated_timestamp",
}
NUMBERS = {"start_time", "end_time", "creation_time", "last_update_time", "version_number"}
NUMBERS |= {"creation_timestamp", "last_updated_timestamp"}
WIDER = re.compile(
    r"Only \[|Invalid experiment ID|Invalid comparator '?(for \w+: )?(in|not in|like|ilike)\b"
    r"|not enough values to unpack|Expected a comparison with 3 tokens|Invalid attribute key '`"
)
"""refused by MLflow alone: lists of other texts, ids that are no number, small letters, NULL, backticks"""
NARROWER = re.compile("put AND or OR between two comparisons|but got empty list|is either not quoted")
"""refused by us alone: AND left out, and of logged models empty lists and values in backticks"""
SPACED = {"val loss", "p q", "a b", "run name"}
"""keys of the corpus; another with a space MLflow has made of two things beside one another"""
WIDER_ORDERS = re.compile("key '(run name|`name`|attribute.name)'")

Plain = list[tuple[str, str, str, Any]]


def asked(task: str, question: Any, folder: Path) -> Any:
    (folder / "question.json").write_text(json.dumps(question))
    answer = run_as_peer(
        "3", "tests.tracking.grammar_peer", task, str(folder / "question.json"), folder=folder
    )
    return json.loads(answer)


def field(kind: str, key: str) -> tuple[str, str]:
    """A field of theirs in our words."""
    kind = KINDS.get(kind, kind)
    return kind, KEYS.get(key, key) if kind == "attribute" else key


def theirs(name: str, read: list[dict[str, Any]]) -> Plain:
    """Clauses of theirs in our words; of logged models they leave double quotes on."""
    plain: Plain = []
    for each in read:
        kind, key = field(each["type"], each["key"])
        value = each["value"]
        if isinstance(value, list):
            value = tuple(str(one) for one in value)
        elif kind == "metric" or (kind == "attribute" and key in NUMBERS):
            value = float(value)
        elif name == "logged_models":
            value = value.strip('"')
        plain.append((kind, key, each["comparator"].upper(), value))
    return plain


def ours(condition: Condition | None) -> Plain:
    """The clauses of a condition that is one of MLflow's: comparisons, all of which hold."""
    match condition:
        case None:
            return []
        case Comparison(field, op, value):
            return [(field.kind, field.key, op, value)]
        case All(parts):
            return [clause for part in parts for clause in ours(part)]
        case AnyOf((Comparison() as first, Comparison(op="IS NULL"))):
            return ours(first)
    raise AssertionError(f"not a condition of MLflow's: {condition}")


def verdict(name: str, text: str, answer: dict[str, Any]) -> str:
    """`read` or `refused` by both, `wider` or `narrower` where that is meant, else what differs."""
    try:
        clauses = ours(parse_filter(text, DIALECTS[name]))
    except Invalid as refused:
        if "refused" in answer:
            return "refused"
        keys = {each["key"] for each in answer["read"]}
        is_meant = NARROWER.search(str(refused)) or any(set(key) & set(' `"') for key in keys - SPACED)
        return "narrower" if is_meant else f"{name} {text} is read as {answer}, refused by us: {refused}"
    if "refused" in answer:
        return (
            "wider" if WIDER.search(answer["refused"]) else f"{name} {text}: {answer}, read by us: {clauses}"
        )
    return "read" if theirs(name, answer["read"]) == clauses else f"{name} {text}: {answer}, by us: {clauses}"


@pytest.mark.parametrize("seed", range(3))
def test_filters_are_read_and_refused_as_by_mlflow(tmp_path: Path, seed: int) -> None:
    """What both read means the same; what one alone reads is what `WIDER` and `NARROWER` say."""
    rng = random.Random(seed)
    corpus = {name: [some_text(name, rng) for _ in range(1500)] for name in DIALECTS}
    answers = asked("filters", corpus, tmp_path)
    found = Counter(
        verdict(name, text, answer)
        for name, texts in corpus.items()
        for text, answer in zip(texts, answers[name], strict=True)
    )
    assert set(found) == {"read", "refused", "wider", "narrower"}
    assert min(found["read"], found["refused"]) > 1000
    assert max(found["wider"], found["narrower"]) < 500


def test_refusals_are_in_the_words_of_mlflow(tmp_path: Path) -> None:
    """As its clients and their tests know them."""
    rows = [("runs", text, message) for text, message, _ in REFUSED_RUNS] + REFUSED
    rows = [row for row in rows if row[1] not in OWN_WORDS]
    corpus = {name: [text for of, text, _ in rows if of == name] for name in DIALECTS}
    answers = asked("filters", corpus, tmp_path)
    told = {
        (name, text): answer.get("refused", "")
        for name, texts in corpus.items()
        for text, answer in zip(texts, answers[name], strict=True)
    }
    assert [(row, told[row[:2]]) for row in rows if row[2] not in told[row[0], row[1]]] == []


def order_verdict(name: str, text: str, answer: dict[str, Any]) -> str:
    """As `verdict`, of a clause to order by."""
    try:
        key = parse_order([text], DIALECTS[name])[0]
    except Invalid as refused:
        return (
            "refused" if "refused" in answer else f"{name} {text} is read as {answer}, not by us: {refused}"
        )
    if "refused" in answer:
        return "wider" if WIDER_ORDERS.search(answer["refused"]) else f"{name} {text}: {answer}, by us: {key}"
    kind, their_key, is_rising = answer["read"]
    is_same = (*field(kind, their_key), is_rising) == (key.field.kind, key.field.key, not key.descending)
    return "read" if is_same else f"{name} {text}: {answer}, by us: {key}"


def test_orders_are_read_and_refused_as_by_mlflow(tmp_path: Path) -> None:
    """But that what may be compared may be ordered by, in the same spellings."""
    rng = random.Random(11)
    corpus = {
        name: [some_order(name, rng) for _ in range(500)] for name in DIALECTS if name != "logged_models"
    }
    found = Counter(
        order_verdict(name, text, answer)
        for name, answers in asked("orders", corpus, tmp_path).items()
        for text, answer in zip(corpus[name], answers, strict=True)
    )
    assert set(found) == {"read", "refused", "wider"}
    assert min(found["read"], found["refused"]) > 300


BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
SOME = ("a", "B", "ab", "a%", "a_c", "AB", "é", "É", "", "'", "x y")


def some_run(number: int, rng: random.Random) -> FoundRun:
    """A run with few different values, so that filters hit and orders tie; MLflow's runs all have begun."""
    datasets = [
        {"name": rng.choice("de"), "digest": rng.choice("12")}
        | ({"context": rng.choice(["train", "test"])} if rng.random() < 0.7 else {})
        for _ in range(rng.randrange(3))
    ]
    run = Run(
        id=f"{rng.randrange(10**6):06}{number}",
        space="default",
        kind="training",
        name=rng.choice(SOME),
        state=rng.choice(list(RunState)),
        created_at=BEGIN,
        created_by="me",
        experiment="e",
        started_at=BEGIN + timedelta(milliseconds=rng.randrange(4)),
        ended_at=BEGIN + timedelta(milliseconds=rng.randrange(4)) if rng.random() < 0.6 else None,
        params={key: rng.choice(SOME) for key in "pq" if rng.random() < 0.7},
        tags={"mlflow.user": rng.choice(SOME)} | ({"t": rng.choice(SOME)} if rng.random() < 0.7 else {}),
        facts={"datasets": datasets, "artifact_uri": f"mlflow-artifacts:/{rng.randrange(3)}"},
    )
    values = (-1.5, 0.0, 1.0, 2.0, float("nan"), float("inf"), -float("inf"))
    points = [MetricPoint(key=key, value=rng.choice(values)) for key in "mn" if rng.random() < 0.7]
    return FoundRun(run=run, metrics=tuple(points))


def as_told(found: FoundRun) -> dict[str, Any]:
    """A run as their process is told of it."""
    run = found.run
    assert run.started_at is not None

    def milliseconds(instant: datetime) -> int:
        return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)

    return {
        "id": run.id,
        "name": run.name,
        "user": run.tags.get("mlflow.user"),
        "status": run.state.upper(),
        "start": milliseconds(run.started_at),
        "end": run.ended_at and milliseconds(run.ended_at),
        "artifacts": run.facts["artifact_uri"],
        "metrics": {point.key: str(point.value) for point in found.metrics},
        "params": run.params,
        "tags": run.tags,
        "datasets": run.facts["datasets"],
    }


def some_search(runs: list[FoundRun], rng: random.Random) -> tuple[str, list[str]]:
    """A filter that MLflow takes, and an order."""
    numbers = ("=", "!=", "<", "<=", ">", ">=")
    texts = ("=", "!=", "LIKE", "ILIKE")
    now = 1_704_067_200_000

    def quoted(text: str) -> str:
        return f'"{text}"' if "'" in text else f"'{text}'"

    def clause() -> str:
        words = [*SOME, "%b", "_", "%", "A%"]
        ids = ", ".join(quoted(run.run.id) for run in rng.sample(runs, 5))
        return rng.choice(
            [
                f"metrics.{rng.choice('mnz')} {rng.choice(numbers)} {rng.choice(['-1.5', '0', '1e400'])}",
                f"params.{rng.choice('pqz')} {rng.choice(texts)} {quoted(rng.choice(words))}",
                f"tags.{rng.choice(['t', 'mlflow.user'])} {rng.choice(texts)} {quoted(rng.choice(words))}",
                f"{rng.choice(['run_name', 'user_id'])} {rng.choice(texts)} {quoted(rng.choice(words))}",
                f"status {rng.choice(texts)} {quoted(rng.choice(['RUNNING', 'FINISHED', '%IN%', 'f%']))}",
                f"artifact_uri {rng.choice(texts)} {quoted(rng.choice(['mlflow-artifacts:/1', '%2']))}",
                f"{rng.choice(['start_time', 'end_time'])} {rng.choice(numbers)} {now + rng.randrange(4)}",
                f"run_id {rng.choice(['IN', 'NOT IN'])} ({ids})",
                f"{rng.choice(['params.p', 'tags.t', 'tags.z'])} IS {rng.choice(['', 'NOT '])}NULL",
                f"datasets.name {rng.choice(['=', '!=', 'LIKE'])} {quoted(rng.choice('de%'))}",
                f"datasets.digest {rng.choice(['IN', 'NOT IN'])} ('1', '3')",
                f"datasets.context {rng.choice(['=', '!=', 'LIKE'])} {quoted(rng.choice(['train', 't%']))}",
            ]
        )

    fields = ["metrics.m", "metrics.z", "params.p", "tags.t", "start_time", "end_time", "run_name", "status"]
    order = [f"{each} {rng.choice(['ASC', 'DESC'])}" for each in rng.sample(fields, rng.randrange(4))]
    return " AND ".join(clause() for _ in range(rng.choice([1, 1, 2]))), order


def test_runs_are_found_and_ordered_as_by_mlflow(tmp_path: Path) -> None:
    """The slow evaluator against MLflow's own search among runs in memory."""
    rng = random.Random(5)
    runs = [some_run(number, rng) for number in range(80)]
    searches = [some_search(runs, rng) for _ in range(1500)]
    answers = asked("found", {"runs": [as_told(run) for run in runs], "searches": searches}, tmp_path)
    wrong = []
    for (text, order), wanted in zip(searches, answers, strict=True):
        query = RunQuery(experiments=("e",), where=parse_filter(text, RUNS), order=parse_order(order, RUNS))
        if (found := [each.run.id for each in ordered(query, runs)]) != wanted:
            wrong.append((text, order, found, wanted))
    assert wrong == []
    assert sum(0 < len(ids) < len(runs) for ids in answers) > 300
