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


@pytest.mark.parametrize(
    ("text", "message", "at"),
    [
        ("metric.acc >= 0.94; metrics.rmse < 1", "Search filter contained multiple expression", 19),
        ("params.a = 'x';", "Invalid clause(s) in filter string", 15),
        ("m.acc >= 0.94", "Invalid entity type 'm'", 1),
        ("METRICS.acc >= 0.94", "Invalid entity type 'METRICS'", 1),
        ("acc >= 0.94", "Invalid attribute key 'acc'", 1),
        ("attribute.experiment_id != 1", "Invalid attribute key", 1),
        ("dataset.profile = 'num_rows: 10'", "Invalid dataset key 'profile'", 1),
        ("metrics.A > 0.1 NAND params.B = 'LR'", "Invalid clause(s) in filter string", 17),
        ("metrics.A > 0.1 params.B = 'LR'", "Invalid clause(s) in filter string: 'params.B'", 17),
        ("metrics.A > 0.1 AND (params.B = 'LR'", "Invalid clause(s) in filter string", 37),
        ("metrics.A > 0.1)", "Invalid clause(s) in filter string", 16),
        ("()", "Invalid clause(s) in filter string", 2),
        ("AND", "Invalid clause(s) in filter string", 4),
        ("params.A = 'x' OR", "Invalid clause(s) in filter string", 18),
        ("`metrics.A > 0.1", "Invalid clause(s) in filter string", 1),
        ("metrics.a-b > 1", "Invalid clause(s) in filter string", 10),
        ("metrics. a > 1", "Invalid clause(s) in filter string", 8),
        ("params.acc = 'LR", "Invalid clause(s) in filter string", 14),
        ("params.acc = \"LR'", "Invalid clause(s) in filter string", 14),
        ("params.acc = 'a\0'", "Invalid clause(s) in filter string", 16),
        ("params.acc = 'a\ud800'", "Invalid clause(s) in filter string", 16),
        ("params.acc LR !=", "Invalid clause(s) in filter string", 12),
        ("metric.acc !=", "Invalid clause(s) in filter string", 14),
        ("metric.acc", "Invalid clause(s) in filter string", 11),
        ("tags.acc = = 'LR'", "Invalid clause(s) in filter string", 12),
        ("attribute.status IS 'RUNNING'", "Invalid clause(s) in filter string", 18),
        ("run name = 'x'", "Invalid clause(s) in filter string", 5),
        ("run_id IN 'a'", "Invalid clause(s) in filter string", 11),
        ("run_id IN ('a'", "Invalid clause(s) in filter string", 15),
        ("metrics.a BETWEEN 1 AND 2", "Invalid clause(s) in filter string", 11),
        ("1.0 > metrics.acc", "Invalid comparison clause. Expected 'Identifier' found '1.0'", 1),
        ("'x' = params.a", "Invalid comparison clause. Expected 'Identifier' found ''x''", 1),
        ("metric.model = '5'", "Expected numeric value type for metric. Found '5'", 16),
        ("metrics.acc != metrics.acc", "Expected numeric value type for metric", 16),
        ("metrics.acc IN (1, 2)", "Expected numeric value type for metric. Found (1, 2)", 17),
        ("start_time > '5'", "Expected numeric value type for numeric attribute: start_time. Found '5'", 14),
        ("params.acc = 5", "Expected a quoted string value for param", 14),
        ("tags.acc = 5", "Expected a quoted string value for tag", 12),
        ("params.a IN ('x')", "Expected a quoted string value for parameter (e.g. 'my-value')", 14),
        ("attribute.status = 1", "Expected a quoted string value for attributes. Got value 1", 20),
        ("dataset.name = 1", "Expected a quoted string value for dataset attributes", 16),
        ("params.acc = LR", "Parameter value is either not quoted or unidentified quote types", 14),
        ("params.acc = `LR`", "Parameter value is either not quoted or unidentified quote types", 14),
        ("run_id IN ()", "While parsing a list in the query, expected a non-empty list", 8),
        ("run_id IN (1)", "While parsing a list in the query, expected string value", 12),
        ("run_id IN ('a' 'b')", "While parsing a list in the query, expected a non-empty list", 16),
        ("run_id IN ('a',,'b')", "While parsing a list in the query", 16),
        ("run_id IN (,'a')", "While parsing a list in the query", 12),
        ("metrics.acc IS NULL", "IS NULL / IS NOT NULL is only supported for tags and params", 13),
        ("dataset.name IS NOT NULL", "IS NULL / IS NOT NULL is only supported for tags and params", 14),
        ("metrics.abc ~= 1", "Invalid comparator '~='", 13),
        ("metrics.abc == 1", "Invalid comparator '=='", 13),
        ("params.abc > '1'", "Invalid comparator '>'", 12),
        ("params.abc NOT LIKE '1'", "Invalid comparator 'NOT LIKE'", 12),
        ("status <> '1'", "Invalid comparator '<>'", 8),
        ("start_time LIKE 1234", "Invalid comparator 'LIKE'", 12),
        ("datasets.name >= 'x'", "Invalid comparator '>='", 15),
        ("run_id = ('a')", "Invalid comparator '='", 8),
    ],
)
def test_filters_of_runs_refused(text: str, message: str, at: int) -> None:
    """In MLflow's words, with the place of the mistake."""
    with pytest.raises(Invalid) as refused:
        parse_filter(text, RUNS)
    assert refused.value.message.startswith(message)
    assert refused.value.where == f"character {at}"


@pytest.mark.parametrize(
    ("dialect", "text", "message"),
    [
        (
            EXPERIMENTS,
            "attributes.name = 'x'",
            "Invalid entity type 'attributes'. Valid entity types are ('attr",
        ),
        (EXPERIMENTS, "params.a = 'x'", "Invalid entity type 'params'"),
        (EXPERIMENTS, "run_id = 'x'", "Invalid attribute key 'run_id'"),
        (EXPERIMENTS, "experiment_id LIKE '1'", "Invalid comparator 'LIKE'"),
        (EXPERIMENTS, "creation_time > 1.5", "Invalid value for numeric attribute 'creation_time': '1.5'"),
        (
            EXPERIMENTS,
            "creation_time > '1'",
            "Expected numeric value type for numeric attribute: creation_time",
        ),
        (
            REGISTERED_MODELS,
            "run_id = 'x'",
            "Invalid attribute key 'run_id' specified. Valid keys are '{'name'}'",
        ),
        (REGISTERED_MODELS, "evilhax = true", "Invalid attribute key 'evilhax'"),
        (
            REGISTERED_MODELS,
            "name != something",
            "Parameter value is either not quoted or unidentified quote",
        ),
        (MODEL_VERSIONS, "creation_timestamp > 5", "Invalid attribute key 'creation_timestamp'"),
        (MODEL_VERSIONS, "version_number = 1.5", "Invalid value for numeric attribute 'version_number'"),
        (MODEL_VERSIONS, "version_number IN ('1')", "Expected numeric value type"),
        (MODEL_VERSIONS, "tags.a > 'x'", "Invalid comparator '>'"),
        (LOGGED_MODELS, "metric.a > 1", "Invalid entity type 'metric'. Expected one of ['attributes', 'metr"),
        (LOGGED_MODELS, "params.a > 1", "Invalid comparator '>'"),
        (LOGGED_MODELS, "artifact_location = 'x'", "Invalid attribute key 'artifact_location'"),
    ],
)
def test_filters_of_other_things_refused(dialect: Dialect, text: str, message: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_filter(text, dialect)
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
