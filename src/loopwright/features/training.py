"""Training sets: rows with features as known at each row's instant, kept as a version."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import AssetName
from loopwright.core.digests import canonical
from loopwright.core.errors import Invalid
from loopwright.core.manifests import Manifest, ManifestEntry
from loopwright.core.nouns import LinkRole, Version
from loopwright.core.schema import ColumnType, Schema
from loopwright.data.descent import dataset_of
from loopwright.data.nouns import DATASET, DatasetBody
from loopwright.data.reading import body_of, permitted, read_version, schema_of, version_of
from loopwright.engine.context import Context
from loopwright.engine.erased import anew
from loopwright.engine.operation import operation
from loopwright.engine.publishing import READS, manifest_of, prepare, publish, resolve, taken_back
from loopwright.features.nouns import (
    SERVICE,
    VECTOR_PREFIX,
    FeatureService,
    FeatureView,
    Purpose,
    Split,
    TrainingFacts,
)
from loopwright.features.offline import build, picked_features, sources_of
from loopwright.features.picking import picked
from loopwright.features.rules import feature_of, made_of, reads_of
from loopwright.features.splits import split_rows
from loopwright.ports.ledger import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa

__all__ = ["make_training_set", "training_set"]

References = Annotated[
    tuple[str, ...], msgspec.Meta(max_length=5000, description="features as view:feature, or view:*")
]


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The rows that features are asked for, and what for."""

    rows: pa.Table
    time: str
    purpose: str
    spine: str = ""
    """the dataset they are of; empty where they are of none"""


class _Made(msgspec.Struct, frozen=True, kw_only=True):
    """A training set that is not kept yet."""

    table: pa.Table
    facts: TrainingFacts
    inputs: tuple[Version, ...]
    """what it was made of"""
    is_of_caller: bool = False
    """whether its rows are the caller's, who may have read them from any version"""


@operation("features.training_set", scope="dataset:write", route="POST /features/training-sets", status=201)
def make_training_set(
    ctx: Context,
    name: AssetName,
    spine: str,
    *,
    features: References = (),
    service: str = "",
    time: str = "",
    label: str = "",
    split: Split | None = None,
    purpose: Purpose = "",
) -> Version:
    """Join features to the rows of a dataset, each as known at the row's instant, and keep the result.

    The features are named one by one (then their columns are `view.feature`), or are the model inputs of a
    `service` (then `x_<input>`). `time` names the column of the instant, else it is the dataset's event time
    or its only instant; `label` names the column that is to be predicted. The version says which versions of
    views and datasets it was made of, with the digests of the definitions. Columns, of the rows and those
    that the features are made of, are read for the purpose.
    """
    if bool(features) == bool(service):
        raise Invalid(
            "it is not said which features are meant, or said twice",
            hint="give features, or the name of a service",
        )
    wanted = _Wanted(features, service, time, label, split, purpose)
    return anew(ctx, lambda: _kept(ctx, name, _of_dataset(ctx, spine, wanted)))


class _Wanted(NamedTuple):
    """What is joined to the rows of a dataset, and how."""

    features: tuple[str, ...]
    service: str
    time: str
    label: str
    split: Split | None
    purpose: str


def _of_dataset(ctx: Context, spine: str, wanted: _Wanted) -> _Made:
    """A training set of what the addresses mean now."""
    features, service, time, label, split, purpose = wanted
    origin = version_of(ctx, spine if ":" in spine else f"{DATASET}:{spine}")
    manifest = manifest_of(ctx, origin)
    at = _time_of(schema_of(manifest), time or body_of(manifest).event_time or "", spine)
    if label and label not in schema_of(manifest).names:
        raise Invalid(
            f"{origin.ref} has no {label!r} to be the label",
            hint=f"its columns are {', '.join(schema_of(manifest).names)}",
        )
    permitted(ctx, origin, purpose=purpose)
    rows = _split(read_version(ctx, origin), split, at)
    asked = _Asked(rows=rows, time=at, purpose=purpose, spine=dataset_of(origin.ref))
    made = _by_service(ctx, service, asked) if service else _by_reference(ctx, features, asked)
    facts = replace(made.facts, split=split, label=label, spine=str(origin.ref))
    return replace(made, facts=facts, inputs=(*made.inputs, origin))


def training_set(
    ctx: Context,
    service: str,
    spine: pa.Table,
    *,
    name: str,
    time: str,
    split: Split | None = None,
    purpose: str = "",
) -> Version:
    """Build the model inputs of each spine row as known at its instant, and keep them as a dataset's version.

    The version has every spine column, a column `split` where one is asked for, and `x_<output>` for
    each model input. Its body says which service, view and dataset versions it was made from; they
    become inputs of the current run. The same content is the same version.
    """
    asked = _Asked(rows=_split(spine, split, time), time=time, purpose=purpose)

    def make() -> Version:
        made = _by_service(ctx, service, asked)
        facts = replace(made.facts, split=split)
        return _kept(ctx, name, replace(made, facts=facts, is_of_caller=True))

    return anew(ctx, make)


def _time_of(schema: Schema, named: str, spine: str) -> str:
    """The column of the instant: the one that is named, or the only one there is."""
    instants = [column.name for column in schema.columns if column.type is ColumnType.INSTANT]
    if named in instants:
        return named
    if named:
        raise Invalid(
            f"{named!r} is no instant of {spine}", hint=f"its instants are {', '.join(instants) or 'none'}"
        )
    if len(instants) != 1:
        raise Invalid(
            f"it is not said when the rows of {spine} are asked about",
            hint=f"give time, one of {', '.join(instants)}" if instants else "add a column of instants",
        )
    return instants[0]


def _split(spine: pa.Table, split: Split | None, time: str) -> pa.Table:
    return spine if split is None else split_rows(spine, split, time)


def _by_service(ctx: Context, service: str, asked: _Asked) -> _Made:
    version = resolve(ctx, service, kind=SERVICE)
    definition = msgspec.convert(manifest_of(ctx, version).body, FeatureService)
    sources = sources_of(ctx, definition)
    views = sources.view_versions
    facts = TrainingFacts(
        service=str(version.ref),
        service_digest=version.digest,
        sources={
            str(view.ref): str(dataset.ref) for view, dataset in zip(views, sources.datasets, strict=True)
        },
        time=asked.time,
        definitions=_digests((version, *views)),
        features=tuple(f"{VECTOR_PREFIX}{name}" for name in definition.names),
        made_of=_made_of_inputs(definition, sources.views, asked.spine),
    )
    table = build(ctx, definition, asked.rows, asked.time, sources, purpose=asked.purpose)
    return _Made(table=table, facts=facts, inputs=(*views, *sources.datasets, version))


def _made_of_inputs(
    service: FeatureService, views: Sequence[FeatureView], spine: str
) -> dict[str, dict[str, tuple[str, ...]]]:
    """By model input, the columns that it is made of: those of the request are columns of the spine."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for output in service.outputs:
        told: dict[str, dict[str, None]] = {}
        for reference in sorted(reads_of(output.expr)):
            place = feature_of(reference, service.lookups)
            source = spine if place is None else views[place[0]].source
            columns = (reference,) if place is None else made_of(views[place[0]], place[1])
            told.setdefault(source, {}).update(dict.fromkeys(columns))
        found[f"{VECTOR_PREFIX}{output.name}"] = {source: tuple(told[source]) for source in told if source}
    return found


def _by_reference(ctx: Context, references: tuple[str, ...], asked: _Asked) -> _Made:
    chosen, columns = picked(ctx, references)
    datasets = tuple(resolve(ctx, f"{DATASET}:{each.view.source}") for each in chosen)
    found = picked_features(ctx, chosen, datasets, asked.rows, asked.time, purpose=asked.purpose)
    table = asked.rows
    for name in columns:
        if name in table.column_names:
            raise Invalid(f"the spine has a column {name!r} already", hint="rename it")
        table = table.append_column(name, found[name])
    views = tuple(each.version for each in chosen)
    facts = TrainingFacts(
        service="",
        service_digest="",
        sources={str(view.ref): str(dataset.ref) for view, dataset in zip(views, datasets, strict=True)},
        time=asked.time,
        definitions=_digests(views),
        features=columns,
        made_of={
            f"{each.view.name}.{name}": {each.view.source: made_of(each.view, name)}
            for each in chosen
            for name in each.names
        },
    )
    return _Made(table=table, facts=facts, inputs=(*views, *datasets))


def _digests(versions: Iterable[Version]) -> dict[str, str]:
    return {str(version.ref): version.digest for version in versions}


def _kept(ctx: Context, name: str, made: _Made) -> Version:
    """Publish it; what it was made of becomes inputs of the current run."""
    manifest = _manifest(ctx, made)
    reads = sorted({str(version.ref) for version in made.inputs})
    facts = {"rows": made.table.num_rows, "definitions": list(made.facts.definitions), READS: reads}
    sources = tuple({version.id: version.ref for version in made.inputs}.values())
    draft = prepare(ctx, name, manifest, facts=facts, sources=sources, by_program=made.is_of_caller)

    def work(tx: Transaction) -> Version:
        for version in {version.id: version for version in made.inputs}.values():
            ctx.touch(tx, LinkRole.INPUT, version.ref)
        return publish(ctx, tx, draft)

    with taken_back(ctx, draft.objects):
        return ctx.write(work)


def _manifest(ctx: Context, made: _Made) -> Manifest:
    with ThreadPoolExecutor(1, thread_name_prefix="loopwright-profile") as beside:
        profiled = beside.submit(ctx.ports.tables.profile, made.table)
        data = ctx.ports.tables.write(made.table)
        profile = profiled.result()
    entry = ManifestEntry(
        path="part-00001.parquet",
        digest=ctx.ports.objects.put(data),
        size_bytes=len(data),
        rows=made.table.num_rows,
    )
    body = DatasetBody(event_time=made.facts.time, facts=msgspec.to_builtins(made.facts))
    return Manifest(
        kind=DATASET,
        entries=(entry,),
        schema=ctx.ports.tables.schema_of(made.table),
        rows=made.table.num_rows,
        body=msgspec.to_builtins(body),
        profile=ctx.ports.objects.put(canonical(profile)),
    )
