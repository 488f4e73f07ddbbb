"""Questions about runs as frozen values: conditions on what they logged, and an order to list them in."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = [
    "All",
    "AnyOf",
    "Comparison",
    "Condition",
    "Field",
    "FieldKind",
    "Lifecycle",
    "Not",
    "OnDataset",
    "Operator",
    "RunQuery",
    "SortKey",
]

FieldKind = Literal[
    "attribute", "metric", "param", "tag", "dataset", "metadata", "span", "feedback", "expectation", "issue"
]
Operator = Literal[
    "=", "!=", "<", "<=", ">", ">=", "LIKE", "ILIKE", "RLIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL"
]
Lifecycle = Literal["active", "deleted", "all"]


class Field(msgspec.Struct, frozen=True):
    """What is compared or ordered by.

    Attributes of a run: `run_id`, `run_name`, `status`, `user_id`, `artifact_uri` (text), `start_time`,
    `end_time`, `created` (integers: milliseconds since 1970). Of a dataset it read: `name`, `digest`,
    `context`.

    Other things are asked about by the same conditions, with attributes of their own. Of an experiment:
    `name`, `experiment_id`, `creation_time`, `last_update_time`. Of a registered model: `name`,
    `last_updated_timestamp`. Of a version of one: `name`, `version_number`, `run_id`, `source_path`,
    `creation_timestamp`, `last_updated_timestamp`. Of a logged model: `name`, `model_id`, `model_type`,
    `status`, `source_run_id`, `experiment_id`, `creation_timestamp`, `last_updated_timestamp`. Times are
    milliseconds since 1970, a version's number a number, all else text. Those of traces are told by
    `core.traces.TraceQuery`.
    """

    kind: FieldKind
    key: str


class Comparison(msgspec.Struct, frozen=True, tag="compare"):
    """A field against a value: numbers for metrics and times, text for all else, several for IN.

    It is false where the run has no such metric, param, tag or dataset, whatever the operator; `IS NULL`
    alone is true there. A metric that is NaN compares as no number does: only `!=` holds.
    LIKE knows `%` and `_`; LIKE tells upper from lower case, ILIKE does not. RLIKE finds a regular
    expression anywhere in the text (`core.patterns`).
    """

    field: Field
    op: Operator
    value: str | float | tuple[str, ...] | None = None


class All(msgspec.Struct, frozen=True, tag="all"):
    """Every part is true; without parts it is true."""

    parts: tuple[Condition, ...]


class AnyOf(msgspec.Struct, frozen=True, tag="any"):
    """Some part is true; without parts it is false."""

    parts: tuple[Condition, ...]


class Not(msgspec.Struct, frozen=True, tag="not"):
    """The part is not true."""

    part: Condition


Condition = Comparison | All | AnyOf | Not


class OnDataset(msgspec.Struct, frozen=True):
    """A dataset that a logged model's metric was measured on; without a digest, any of that name."""

    name: str
    digest: str | None = None


class SortKey(msgspec.Struct, frozen=True):
    """A field to order by. Runs without it come last in both directions; NaN comes after every number."""

    field: Field
    descending: bool = False
    dataset: OnDataset | None = None
    """of a logged model's metric alone: as measured on that dataset"""


class RunQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs, and in what order.

    After `order` come the start (newest first) and the id (rising), which make the order total.
    """

    experiments: tuple[str, ...]
    """names; runs of no other experiment count"""
    where: Condition | None = None
    order: tuple[SortKey, ...] = ()
    lifecycle: Lifecycle = "active"
