"""Which fields each kind of search knows, under which names, and what they may be compared with."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from loopwright.core.queries import Field, FieldKind, Operator, SortKey

__all__ = [
    "EVALUATION_DATASETS",
    "EXPERIMENTS",
    "LOGGED_MODELS",
    "MODEL_VERSIONS",
    "PROMPT_TAG",
    "REGISTERED_MODELS",
    "RUNS",
    "TRACES",
    "Dialect",
    "is_numeric",
    "operators",
]

PROMPT_TAG = "mlflow.prompt.is_prompt"
"""the tag that tells a prompt from a model; a model has none, which counts as `false`"""

_NUMBERS: tuple[Operator, ...] = ("=", "!=", "<", "<=", ">", ">=")
_TEXTS: tuple[Operator, ...] = ("=", "!=", "LIKE", "ILIKE")
_LISTS: tuple[Operator, ...] = ("IN", "NOT IN")
_NULLS: tuple[Operator, ...] = ("IS NULL", "IS NOT NULL")
_FOUND: tuple[Operator, ...] = ("RLIKE",)


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """The words of one kind of search; maps go from the word as written to the one meant."""

    entities: Mapping[str, FieldKind]
    entity_refused: str
    """the error for another `{entity}`"""
    operator_refused: str = "Invalid comparator '{operator}' not one of '{allowed}'"
    """the error for an operator that a field does not take"""
    attributes: Mapping[str, str]
    """what a filter may compare"""
    orders: Mapping[str, str]
    """what a list may be ordered by"""
    order_refused: str = "Invalid attribute key"
    """how the error for another order begins"""
    order_kinds: frozenset[FieldKind] = frozenset({"attribute"})
    ties: tuple[SortKey, ...] = ()
    """what makes an order total; without any, the question itself says it"""
    default: tuple[SortKey, ...] = ()
    """the order of who asks for none"""
    numeric: frozenset[str] = frozenset()
    """attributes that are numbers"""
    narrow: Mapping[str, tuple[Operator, ...]] = {}
    """attributes that take fewer operators than their like"""
    has_whole_numbers: bool = False
    """numeric attributes are compared with whole numbers only"""
    has_quoted_numbers: bool = False
    """`version_number = '3'` is taken"""
    has_bare_text: bool = False
    """`params.lr = 0.1` is taken, and lists of params and tags"""
    has_prompts: bool = False
    """a thing without the prompts' tag is one whose tag is `false`"""
    has_repeats: bool = False
    """a list may be ordered by a field twice: the second time says nothing"""
    has_patterns: bool = False
    """texts are compared with regular expressions too"""


def is_numeric(dialect: Dialect, field: Field) -> bool:
    """Whether the field is compared as a number."""
    return field.kind == "metric" or (field.kind == "attribute" and field.key in dialect.numeric)


def operators(dialect: Dialect, field: Field) -> tuple[Operator, ...]:
    """What a field may be compared by."""
    if is_numeric(dialect, field):
        return _NUMBERS
    more = _FOUND if dialect.has_patterns else ()
    match field.kind:
        case "attribute" | "dataset" | "span":
            return dialect.narrow.get(field.key, _TEXTS + _LISTS + more)
        case "feedback" | "expectation":
            return _NUMBERS + _TEXTS[2:] + _NULLS + more
        case "issue":
            return ("=",)
    return _TEXTS + _NULLS + more + (_LISTS if dialect.has_bare_text else ())


def _attribute(key: str, *, descending: bool = False) -> SortKey:
    return SortKey(Field("attribute", key), descending)


def _same(*keys: str) -> dict[str, str]:
    return {key: key for key in keys}


_RUN_ATTRIBUTES = {
    **_same("run_id", "run_name", "status", "user_id", "artifact_uri", "start_time", "end_time"),
    "created": "start_time",
    "Created": "start_time",
    "run name": "run_name",
    "Run name": "run_name",
    "Run Name": "run_name",
}
_LOGGED_MODEL_ATTRIBUTES = {
    **_same("name", "model_id", "model_type", "status", "source_run_id", "experiment_id"),
    "creation_timestamp": "creation_timestamp",
    "creation_time": "creation_timestamp",
    "last_updated_timestamp": "last_updated_timestamp",
    "last_updated_time": "last_updated_timestamp",
}
_TAGGED: dict[str, FieldKind] = {"attribute": "attribute", "tag": "tag", "tags": "tag"}
_TAGGED_REFUSED = "Invalid entity type '{entity}'. Valid entity types are ('attribute', 'tag', 'tags')"
_OPERATOR_REFUSED = "Invalid comparator for {kind}: {operator}"

RUNS = Dialect(
    entities={
        "attribute": "attribute",
        "attributes": "attribute",
        "attr": "attribute",
        "run": "attribute",
        "metric": "metric",
        "metrics": "metric",
        "param": "param",
        "params": "param",
        "parameter": "param",
        "parameters": "param",
        "tag": "tag",
        "tags": "tag",
        "dataset": "dataset",
        "datasets": "dataset",
    },
    entity_refused=(
        "Invalid entity type '{entity}'. "
        "Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']"
    ),
    attributes=_RUN_ATTRIBUTES,
    orders=_RUN_ATTRIBUTES,
    order_kinds=frozenset({"attribute", "metric", "param", "tag"}),
    numeric=frozenset({"start_time", "end_time"}),
)
"""runs; the order is completed by `RunQuery`"""

EXPERIMENTS = Dialect(
    entities=_TAGGED,
    entity_refused=_TAGGED_REFUSED,
    operator_refused=_OPERATOR_REFUSED,
    attributes=_same("name", "experiment_id", "creation_time", "last_update_time"),
    orders=_same("name", "experiment_id", "creation_time", "last_update_time"),
    ties=(_attribute("experiment_id", descending=True),),
    default=(_attribute("creation_time", descending=True), _attribute("experiment_id")),
    numeric=frozenset({"creation_time", "last_update_time"}),
    narrow={"experiment_id": ("=", "!=", *_LISTS)},
    has_whole_numbers=True,
    has_repeats=True,
)

EVALUATION_DATASETS = Dialect(
    entities=_TAGGED,
    entity_refused="Invalid identifier token '{entity}' specified",
    operator_refused=_OPERATOR_REFUSED,
    attributes=_same("name", "created_time", "last_update_time", "created_by", "last_updated_by"),
    orders=_same("name", "created_time", "last_update_time"),
    ties=(_attribute("dataset_id", descending=True),),
    default=(_attribute("created_time", descending=True),),
    numeric=frozenset({"created_time", "last_update_time"}),
    has_whole_numbers=True,
)

REGISTERED_MODELS = Dialect(
    entities=_TAGGED,
    entity_refused=_TAGGED_REFUSED,
    operator_refused=_OPERATOR_REFUSED,
    attributes=_same("name"),
    orders={
        "name": "name",
        "timestamp": "last_updated_timestamp",
        "last_updated_timestamp": "last_updated_timestamp",
    },
    order_refused="Invalid order by key",
    ties=(_attribute("name"),),
    has_prompts=True,
)

MODEL_VERSIONS = Dialect(
    entities=_TAGGED,
    entity_refused=_TAGGED_REFUSED,
    operator_refused=_OPERATOR_REFUSED,
    attributes=_same("name", "version_number", "run_id", "source_path"),
    orders=_same("name", "version_number", "creation_timestamp", "last_updated_timestamp"),
    ties=(_attribute("name"), _attribute("version_number", descending=True)),
    default=(_attribute("last_updated_timestamp", descending=True),),
    numeric=frozenset({"version_number"}),
    has_whole_numbers=True,
    has_quoted_numbers=True,
    has_prompts=True,
)

LOGGED_MODELS = Dialect(
    entities={"attributes": "attribute", "metrics": "metric", "params": "param", "tags": "tag"},
    entity_refused=(
        "Invalid entity type: '{entity}'. Expected one of ['attributes', 'metrics', 'params', 'tags']."
    ),
    operator_refused=(
        "Invalid comparison operator for {kind}s.{key}: '{operator}'. Expected one of '{allowed}'."
    ),
    attributes=_LOGGED_MODEL_ATTRIBUTES,
    orders=_LOGGED_MODEL_ATTRIBUTES,
    order_kinds=frozenset({"attribute", "metric"}),
    ties=(_attribute("creation_timestamp", descending=True), _attribute("model_id")),
    numeric=frozenset({"creation_timestamp", "last_updated_timestamp"}),
    has_bare_text=True,
)

_TRACE_ATTRIBUTES = {
    **_same("request_id", "timestamp_ms", "execution_time_ms", "end_time_ms", "status", "name", "run_id"),
    "timestamp": "timestamp_ms",
    "execution_time": "execution_time_ms",
    "end_time": "end_time_ms",
}

TRACES = Dialect(
    entities={
        "attribute": "attribute",
        "attributes": "attribute",
        "trace": "attribute",
        "tag": "tag",
        "tags": "tag",
        "metadata": "metadata",
        "request_metadata": "metadata",
        "span": "span",
        "feedback": "feedback",
        "expectation": "expectation",
        "issue": "issue",
    },
    entity_refused=(
        "Invalid entity type '{entity}'. Valid values are {{'attribute', 'attributes', 'expectation', "
        "'feedback', 'issue', 'metadata', 'request_metadata', 'span', 'tag', 'tags', 'trace'}}"
    ),
    attributes={**_TRACE_ATTRIBUTES, **_same("client_request_id", "prompt", "text")},
    orders={**_TRACE_ATTRIBUTES, **_same("experiment_id")},
    order_kinds=frozenset({"attribute", "tag", "metadata"}),
    numeric=frozenset({"timestamp_ms", "execution_time_ms", "end_time_ms"}),
    narrow={"prompt": ("=",), "content": ("LIKE", "ILIKE")},
    has_patterns=True,
)
"""traces; the order is completed by `TraceQuery`"""
