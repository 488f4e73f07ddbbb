"""Builds the same vectors from datasets, for many instants at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from loopwright.core.addresses import Address
from loopwright.core.errors import Invalid
from loopwright.core.expressions import Col
from loopwright.core.nouns import Version
from loopwright.data.reading import schema_of
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.features.formulas import computed
from loopwright.features.histories import Histories
from loopwright.features.nouns import VECTOR_PREFIX, VIEW, FeatureService, FeatureView
from loopwright.features.rules import TIME, features_used, request_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = [
    "Picked",
    "Sources",
    "build",
    "matrix",
    "outputs_of",
    "picked_features",
    "sources_of",
    "view_of",
]


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """The definitions and dataset versions a build reads, in the order of the lookups."""

    views: tuple[FeatureView, ...]
    view_versions: tuple[Version, ...]
    datasets: tuple[Version, ...]


class Picked(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a view, and those of its features that are wanted."""

    view: FeatureView
    version: Version
    names: tuple[str, ...]


def view_of(ctx: Context, address: str | Address) -> tuple[FeatureView, Version]:
    """A view's definition and its version, by name or address."""
    version = resolve(ctx, address, kind=VIEW)
    return msgspec.convert(manifest_of(ctx, version).body, FeatureView), version


def sources_of(ctx: Context, service: FeatureService) -> Sources:
    """What a build of the service reads now: the settled view versions, the newest dataset versions."""
    found = [view_of(ctx, lookup.view) for lookup in service.lookups]
    datasets = {view.source: resolve(ctx, Address(kind="dataset", name=view.source)) for view, _ in found}
    return Sources(
        views=tuple(view for view, _ in found),
        view_versions=tuple(version for _, version in found),
        datasets=tuple(datasets[view.source] for view, _ in found),
    )


def build(
    ctx: Context,
    service: FeatureService,
    spine: pa.Table,
    time: str,
    sources: Sources | None = None,
    *,
    purpose: str = "",
) -> pa.Table:
    """The spine's columns in order, then one float64 column `x_<output>` per model input (NaN for null).

    Each row is as known at its own instant in the column `time`. The spine has the request's columns.
    `Denied` where a column that a model input is made of may not be read for the purpose.
    """
    import pyarrow as pa

    found = sources or sources_of(ctx, service)
    known = _request(service, spine)
    used = features_used(service)
    joined = zip(service.lookups, found.views, found.datasets, used, strict=True)
    needed = [each for each in joined if each[3]]
    histories = Histories(ctx, [each[1:] for each in needed], purpose)
    for lookup, view, dataset, names in needed:
        features = histories.features(view, dataset, _asked(lookup.keys, spine, time), names)
        known |= {f"{lookup.name}.{name}": features.column(name) for name in names}
    for name, values in outputs_of(ctx, service, pa.table(known)).items():
        if f"{VECTOR_PREFIX}{name}" in spine.column_names:
            raise Invalid(f"the spine has a column {VECTOR_PREFIX}{name} already", hint="rename it")
        spine = spine.append_column(f"{VECTOR_PREFIX}{name}", pa.array(values))
    return spine


def _request(service: FeatureService, spine: pa.Table) -> dict[str, pa.ChunkedArray]:
    for name in request_columns(service):
        if name not in spine.column_names:
            raise Invalid(
                f"the spine has no {name!r}, which the service {service.name!r} is asked with",
                hint=f"its columns are {', '.join(spine.column_names)}",
            )
    return {name: spine.column(name) for name in request_columns(service)}


def picked_features(
    ctx: Context,
    chosen: Sequence[Picked],
    datasets: Sequence[Version],
    spine: pa.Table,
    time: str,
    *,
    purpose: str = "",
) -> dict[str, pa.ChunkedArray]:
    """The wanted features of each view by `view.feature`, each row as known at its own instant.

    The spine has the entity of each view under the names of the source, and of the same types. `Denied` where
    a column that one of these features is made of may not be read for the purpose.
    """
    wanted = [(each.view, dataset, each.names) for each, dataset in zip(chosen, datasets, strict=True)]
    histories = Histories(ctx, wanted, purpose)
    found: dict[str, pa.ChunkedArray] = {}
    for each, dataset in zip(chosen, datasets, strict=True):
        asked = _asked({name: name for name in each.view.entity}, spine, time)
        _check_types(ctx, each, asked, dataset)
        features = histories.features(each.view, dataset, asked, each.names)
        found |= {f"{each.view.name}.{name}": features.column(name) for name in each.names}
    return found


def _asked(keys: Mapping[str, str], spine: pa.Table, time: str) -> pa.Table:
    """The entity and the instant of each question, under the names that the view's joins use."""
    import pyarrow as pa

    for name in (*keys.values(), time):
        if name not in spine.column_names:
            raise Invalid(
                f"the spine has no {name!r}", hint=f"its columns are {', '.join(spine.column_names)}"
            )
    columns = {entity: spine.column(column) for entity, column in keys.items()}
    return pa.table({**columns, TIME: spine.column(time)})


def _check_types(ctx: Context, each: Picked, asked: pa.Table, dataset: Version) -> None:
    mine, theirs = ctx.ports.tables.schema_of(asked), schema_of(manifest_of(ctx, dataset))
    for name in each.view.entity:
        kinds = mine.column(name).type, theirs.column(name).type
        if kinds[0] is not kinds[1]:
            raise Invalid(
                f"the key {name!r} is {kinds[0]} in the spine and {kinds[1]} in dataset:{each.view.source}",
                hint="give both one type",
            )


def outputs_of(ctx: Context, service: FeatureService, known: pa.Table) -> dict[str, NDArray[np.float64]]:
    """The model inputs by name, from request columns and features named `view.feature`."""
    formulas = {output.name: output.expr for output in service.outputs if not isinstance(output.expr, Col)}
    made = computed(ctx.ports.tables, ctx.ports.functions, known, formulas)
    found = {}
    for output in service.outputs:
        column = known.column(output.expr.name) if isinstance(output.expr, Col) else made[output.name]
        levels = service.categorical.get(output.name)
        found[output.name] = _numbers(column) if levels is None else _places(column, levels)
    return found


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64())
    found: NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy()
    return found


def _places(column: pa.ChunkedArray, levels: tuple[str, ...]) -> NDArray[np.float64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return _numbers(pc.index_in(column, value_set=pa.array(levels, column.type), skip_nulls=True))


def matrix(service: FeatureService, table: pa.Table) -> NDArray[np.float64]:
    """The model inputs `(n, d)` of a training set or of a prediction log, in the service's order."""
    import numpy as np

    columns = [table.column(f"{VECTOR_PREFIX}{name}").to_numpy() for name in service.names]
    found: NDArray[np.float64] = np.column_stack(columns)
    return found
