"""What each search reads, how, and what it refuses with which words."""

from __future__ import annotations

import pytest

from loopwright.core.errors import Invalid
from loopwright.core.queries import (
    All,
    AnyOf,
    Comparison,
    Condition,
    Field,
    FieldKind,
    Not,
    OnDataset,
    Operator,
    SortKey,
)
from loopwright.tracking.dialects import (
    EXPERIMENTS,
    LOGGED_MODELS,
    MODEL_VERSIONS,
    PROMPT_TAG,
    REGISTERED_MODELS,
    RUNS,
    Dialect,
)
from loopwright.tracking.grammar import (
    ModelOrder,
    models_only,
    parse_filter,
    parse_model_order,
    parse_order,
)
from tests.tracking.grammar_refusals import REFUSED, REFUSED_RUNS
from tests.tracking.grammar_texts import DIALECTS

A, B, C = (Comparison(Field("param", key), "=", "x") for key in "abc")
Value = str | float | tuple[str, ...] | None


@pytest.mark.parametrize(
    ("text", "kind", "key", "op", "value"),
    [
        ("metrics.acc >= 0.94", "metric", "acc", ">=", 0.94),
        ("metric.acc>-.5", "metric", "acc", ">", -0.5),
        ("metrics.acc<1e-3", "metric", "acc", "<", 0.001),
        ("metrics.acc <= 5.", "metric", "acc", "<=", 5.0),
        ("`metric`.a != 1", "metric", "a", "!=", 1.0),
        ('metrics."X//Y#$$@&Z" = 3', "metric", "X//Y#$$@&Z", "=", 3.0),
        ("metrics.`val loss` = 3", "metric", "val loss", "=", 3.0),
        ("metrics.a.b.c = 3", "metric", "a.b.c", "=", 3.0),
        ("metrics.1st = 3", "metric", "1st", "=", 3.0),
        ("metrics.perte_é = 3", "metric", "perte_é", "=", 3.0),
        ("params.and = 'x'", "param", "and", "=", "x"),
        ("param.case = 'x'", "param", "case", "=", "x"),
        ('parameter.m = "L\'H"', "param", "m", "=", "L'H"),
        ("parameters.m = 'a\"b'", "param", "m", "=", 'a"b'),
        ("params.m = 'it''s'", "param", "m", "=", "it's"),
        ("params.m = 'C:\\'", "param", "m", "=", "C:\\"),
        ("params.m = ''", "param", "m", "=", ""),
        ("params.m like '%x_'", "param", "m", "LIKE", "%x_"),
        ("params.m is   not\nnull", "param", "m", "IS NOT NULL", None),
        ("tags.mlflow.user ILIKE 'A%'", "tag", "mlflow.user", "ILIKE", "A%"),
        ("tag.`mlflow.user` IS NULL", "tag", "mlflow.user", "IS NULL", None),
        ("status = 'RUNNING'", "attribute", "status", "=", "RUNNING"),
        ("run.status IN ('RUNNING', \"FAILED\",)", "attribute", "status", "IN", ("RUNNING", "FAILED")),
        ("attr.run_id not in('a')", "attribute", "run_id", "NOT IN", ("a",)),
        ("attributes.`run name` = 'x'", "attribute", "run_name", "=", "x"),
        ("\"Run Name\" = 'x'", "attribute", "run_name", "=", "x"),
        ("Created > 5", "attribute", "start_time", ">", 5.0),
        ("attribute.created > 5", "attribute", "start_time", ">", 5.0),
        ("end_time<1700000000000", "attribute", "end_time", "<", 1700000000000.0),
        ("dataset.name LIKE 'x'", "dataset", "name", "LIKE", "x"),
        ("datasets.`context` IN ('train')", "dataset", "context", "IN", ("train",)),
        ("AND params.m = 'x' AND", "param", "m", "=", "x"),
    ],
)
def test_comparisons_of_runs(text: str, kind: FieldKind, key: str, op: Operator, value: Value) -> None:
    assert parse_filter(text, RUNS) == Comparison(Field(kind, key), op, value)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", None),
        (" \n", None),
        ("params.a = 'x' and params.b = 'x' AND AND params.c='x'", All((A, B, C))),
        ("params.a='x'AND params.b='x'OR params.c='x'", AnyOf((All((A, B)), C))),
        ("params.a = 'x' AND (params.b = 'x' or params.c = 'x')", All((A, AnyOf((B, C))))),
        ("not params.a = 'x' AND params.b = 'x'", All((Not(A), B))),
        ("NOT (params.a = 'x' OR NOT params.b = 'x')", Not(AnyOf((A, Not(B))))),
        ("((params.a = 'x'))", A),
    ],
)
def test_words_that_join(text: str, wanted: Condition | None) -> None:
    """NOT binds closest, then AND, then OR; one AND too many does no harm."""
    assert parse_filter(text, RUNS) == wanted


@pytest.mark.parametrize(
    ("dialect", "text", "kind", "key", "op", "value"),
    [
        (EXPERIMENTS, "name ILIKE '%x'", "attribute", "name", "ILIKE", "%x"),
        (EXPERIMENTS, "attribute.creation_time >= 5", "attribute", "creation_time", ">=", 5.0),
        (EXPERIMENTS, "experiment_id IN ('1','2')", "attribute", "experiment_id", "IN", ("1", "2")),
        (EXPERIMENTS, "tags.`a b` IS NULL", "tag", "a b", "IS NULL", None),
        (REGISTERED_MODELS, "name in ('a')", "attribute", "name", "IN", ("a",)),
        (REGISTERED_MODELS, "tag.a != 'x'", "tag", "a", "!=", "x"),
        (MODEL_VERSIONS, "version_number > 3", "attribute", "version_number", ">", 3.0),
        (MODEL_VERSIONS, "version_number = '3'", "attribute", "version_number", "=", 3.0),
        (MODEL_VERSIONS, "source_path LIKE 's3:%'", "attribute", "source_path", "LIKE", "s3:%"),
        (LOGGED_MODELS, 'attributes.name = "x"', "attribute", "name", "=", "x"),
        (LOGGED_MODELS, "creation_time < 5", "attribute", "creation_timestamp", "<", 5.0),
        (LOGGED_MODELS, "params.lr = 0.10", "param", "lr", "=", "0.10"),
        (LOGGED_MODELS, "params.kind = linear", "param", "kind", "=", "linear"),
        (LOGGED_MODELS, "tags.a NOT IN ('x', 1)", "tag", "a", "NOT IN", ("x", "1")),
        (LOGGED_MODELS, "metrics.loss <= 1", "metric", "loss", "<=", 1.0),
    ],
)
def test_comparisons_of_other_things(
    dialect: Dialect, text: str, kind: FieldKind, key: str, op: Operator, value: Value
) -> None:
    assert parse_filter(text, dialect) == Comparison(Field(kind, key), op, value)


@pytest.mark.parametrize(("text", "message", "at"), REFUSED_RUNS)
def test_filters_of_runs_refused(text: str, message: str, at: int) -> None:
    """In MLflow's words, with the place of the mistake."""
    with pytest.raises(Invalid) as refused:
        parse_filter(text, RUNS)
    assert refused.value.message.startswith(message)
    assert refused.value.where == f"character {at}"


@pytest.mark.parametrize(("name", "text", "message"), REFUSED)
def test_filters_of_other_things_refused(name: str, text: str, message: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_filter(text, DIALECTS[name])
    assert refused.value.message.startswith(message)


def test_a_model_is_no_prompt_though_no_tag_says_so() -> None:
    """The tag that tells prompts is missing from models, which counts as false."""
    tag = Field("tag", PROMPT_TAG)
    missing = Comparison(tag, "IS NULL")
    for op, value in (("=", "false"), ("!=", "true")):
        found = parse_filter(f"tags.`{PROMPT_TAG}` {op} '{value}'", REGISTERED_MODELS)
        assert isinstance(found, AnyOf)
        assert found.parts[1] == missing
        assert parse_filter(f"tags.`{PROMPT_TAG}` {op} '{value}'", RUNS) == found.parts[0]
    asks = parse_filter(f"tags.{PROMPT_TAG} = 'true'", MODEL_VERSIONS)
    assert asks == Comparison(tag, "=", "true")
    assert models_only(asks) == asks
    no_prompt = Not(asks)
    assert models_only(None) == no_prompt
    named = parse_filter("name = 'x'", MODEL_VERSIONS)
    assert named is not None
    assert models_only(named) == All((named, no_prompt))


def key(kind: FieldKind, name: str, *, descending: bool = False) -> SortKey:
    return SortKey(Field(kind, name), descending)


@pytest.mark.parametrize(
    ("clause", "wanted"),
    [
        ("metrics.acc", key("metric", "acc")),
        ("metrics.`Mean Square Error` DESC", key("metric", "Mean Square Error", descending=True)),
        ('params."a b"  aSc', key("param", "a b")),
        (" tags.mlflow.user desc ", key("tag", "mlflow.user", descending=True)),
        ("Created", key("attribute", "start_time")),
        ("attributes.status ASC", key("attribute", "status")),
    ],
)
def test_orders_of_runs(clause: str, wanted: SortKey) -> None:
    assert parse_order([clause], RUNS) == (wanted,)


def test_orders_are_made_total() -> None:
    """By the ties of each kind, where the order does not hold them yet."""
    assert parse_order([], RUNS) == ()
    by_id = key("attribute", "experiment_id")
    assert parse_order([], EXPERIMENTS) == (key("attribute", "creation_time", descending=True), by_id)
    assert parse_order(["experiment_id"], EXPERIMENTS) == (by_id,)
    name = key("attribute", "name")
    assert parse_order(["timestamp DESC"], REGISTERED_MODELS) == (
        key("attribute", "last_updated_timestamp", descending=True),
        name,
    )
    assert parse_order(["name DESC"], MODEL_VERSIONS) == (
        key("attribute", "name", descending=True),
        key("attribute", "version_number", descending=True),
    )
    assert len(parse_order([], MODEL_VERSIONS)) == 3


@pytest.mark.parametrize(
    ("dialect", "clause", "message"),
    [
        (RUNS, "m.acc", "Invalid entity type"),
        (RUNS, "acc", "Invalid attribute key"),
        (RUNS, "`metrics.A", "Invalid order_by clause"),
        (RUNS, "metrics.A != 1", "Invalid order_by clause"),
        (RUNS, "metrics.A 1", "Invalid order_by clause"),
        (RUNS, "metrics.A, metrics.B", "Invalid order_by clause"),
        (RUNS, "", "Invalid order_by clause"),
        (RUNS, "\ud800", "Invalid order_by clause"),
        (RUNS, "attribute.run_id decs", "Invalid ordering key"),
        (RUNS, "dataset.name", "Invalid order_by entity: dataset"),
        (EXPERIMENTS, "tags.a", "Invalid order_by entity: tag"),
        (REGISTERED_MODELS, "creation_timestamp DESC", "Invalid order by key 'creation_timestamp'"),
        (REGISTERED_MODELS, "last_updated_timestamp DESC blah", "Invalid order_by clause"),
        (MODEL_VERSIONS, "run_id", "Invalid attribute key"),
    ],
)
def test_orders_refused(dialect: Dialect, clause: str, message: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_order([clause], dialect)
    assert refused.value.message.startswith(message)


def test_a_field_comes_once_in_an_order() -> None:
    with pytest.raises(Invalid, match="`order_by` contains duplicate fields"):
        parse_order(["start_time", "Created DESC"], RUNS)


def test_orders_of_logged_models() -> None:
    """A metric's key is taken as it is; it may be measured on several datasets."""
    ties = (key("attribute", "creation_timestamp", descending=True), key("attribute", "model_id"))
    assert parse_model_order([]) == ties
    found = parse_model_order(
        [
            ModelOrder(field_name="metrics.val/loss (%)", ascending=False, dataset_name="d"),
            ModelOrder(field_name="metrics.val/loss (%)", dataset_name="d", dataset_digest="1"),
            ModelOrder(field_name="creation_time", dataset_name="d"),
        ]
    )
    loss = Field("metric", "val/loss (%)")
    assert found == (
        SortKey(loss, True, OnDataset("d")),
        SortKey(loss, False, OnDataset("d", "1")),
        key("attribute", "creation_timestamp"),
        ties[1],
    )


@pytest.mark.parametrize(
    ("clause", "message"),
    [
        (ModelOrder(field_name="params.lr"), "Invalid order by field name: params, only"),
        (ModelOrder(field_name="size"), "Invalid order by field name: size"),
        (ModelOrder(field_name="metrics.a", dataset_digest="1"), "`dataset_digest` can only be specified if"),
        (ModelOrder(field_name="metrics.\0"), "Invalid clause"),
    ],
)
def test_orders_of_logged_models_refused(clause: ModelOrder, message: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_model_order([clause])
    assert refused.value.message.startswith(message)


def test_the_hint_says_what_to_write_instead() -> None:
    with pytest.raises(Invalid, match="write = for equal"):
        parse_filter("params.a == 'x'", RUNS)
    with pytest.raises(Invalid, match="put AND or OR between two comparisons"):
        parse_filter("params.a = 'x' params.b = 'y'", RUNS)
    with pytest.raises(Invalid, match="backticks"):
        parse_filter("metrics.val/loss > 1", RUNS)
