"""Training sets: rows with features as known at each row's instant, kept as a version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import AssetName
from loopwright.core.errors import Invalid
from loopwright.core.manifests import Manifest, ManifestEntry
from loopwright.core.nouns import LinkRole, Version
from loopwright.core.schema import ColumnType, Schema
from loopwright.data.nouns import DATASET, DatasetBody
from loopwright.data.reading import body_of, permitted, read_version, schema_of, version_of
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.engine.publishing import READS, manifest_of, prepare, publish, resolve
from loopwright.features.nouns import SERVICE, VECTOR_PREFIX, FeatureService, Split, TrainingFacts
from loopwright.features.offline import build, picked_features, sources_of
from loopwright.features.picking import picked
from loopwright.features.splits import split_rows
from loopwright.ports.ledger import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

__all__ = ["make_training_set", "training_set"]

References = Annotated[
    tuple[str, ...], msgspec.Meta(max_length=5000, description="features as view:feature, or view:*")
]


class _Made(msgspec.Struct, frozen=True, kw_only=True):
    """A training set that is not kept yet."""

    table: pa.Table
    facts: TrainingFacts
    inputs: tuple[Version, ...]
    """what it was made of"""


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
) -> Version:
    """Join features to the rows of a dataset, each as known at the row's instant, and keep the result.

    The features are named one by one (then their columns are `view.feature`), or are the model inputs of a
    `service` (then `x_<input>`). `time` names the column of the instant, else it is the dataset's event time
    or its only instant; `label` names the column that is to be predicted. The version says which versions of
    views and datasets it was made of, with the digests of the definitions.
    """
    if bool(features) == bool(service):
        raise Invalid(
            "it is not said which features are meant, or said twice",
            hint="give features, or the name of a service",
        )
    origin = version_of(ctx, spine if ":" in spine else f"{DATASET}:{spine}")
    manifest = manifest_of(ctx, origin)
    at = _time_of(schema_of(manifest), time or body_of(manifest).event_time or "", spine)
    if label and label not in schema_of(manifest).names:
        raise Invalid(
            f"{origin.ref} has no {label!r} to be the label",
            hint=f"its columns are {', '.join(schema_of(manifest).names)}",
        )
    permitted(ctx, origin)
    asked = _split(read_version(ctx, origin), split, at)
    made = _by_service(ctx, service, asked, at) if service else _by_reference(ctx, features, asked, at)
    facts = replace(made.facts, split=split, label=label, spine=str(origin.ref))
    return _kept(ctx, name, replace(made, facts=facts, inputs=(*made.inputs, origin)))


def training_set(
    ctx: Context,
    service: str,
    spine: pa.Table,
    *,
    name: str,
    time: str,
    split: Split | None = None,
) -> Version:
    """Build the model inputs of each spine row as known at its instant, and keep them as a dataset's version.

    The version has every spine column, a column `split` where one is asked for, and `x_<output>` for
    each model input. Its body says which service, view and dataset versions it was made from; they
    become inputs of the current run. The same content is the same version.
    """
    made = _by_service(ctx, service, _split(spine, split, time), time)
    return _kept(ctx, name, replace(made, facts=replace(made.facts, split=split)))


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


def _by_service(ctx: Context, service: str, asked: pa.Table, time: str) -> _Made:
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
        time=time,
        definitions=_digests((version, *views)),
        features=tuple(f"{VECTOR_PREFIX}{name}" for name in definition.names),
    )
    table = build(ctx, definition, asked, time, sources)
    return _Made(table=table, facts=facts, inputs=(*views, *sources.datasets, version))


def _by_reference(ctx: Context, references: tuple[str, ...], asked: pa.Table, time: str) -> _Made:
    chosen, columns = picked(ctx, references)
    datasets = tuple(resolve(ctx, f"{DATASET}:{each.view.source}") for each in chosen)
    found = picked_features(ctx, chosen, datasets, asked, time)
    for name in columns:
        if name in asked.column_names:
            raise Invalid(f"the spine has a column {name!r} already", hint="rename it")
        asked = asked.append_column(name, found[name])
    views = tuple(each.version for each in chosen)
    facts = TrainingFacts(
        service="",
        service_digest="",
        sources={str(view.ref): str(dataset.ref) for view, dataset in zip(views, datasets, strict=True)},
        time=time,
        definitions=_digests(views),
        features=columns,
    )
    return _Made(table=asked, facts=facts, inputs=(*views, *datasets))


def _digests(versions: Iterable[Version]) -> dict[str, str]:
    return {str(version.ref): version.digest for version in versions}


def _kept(ctx: Context, name: str, made: _Made) -> Version:
    """Publish it; what it was made of becomes inputs of the current run."""
    manifest = _manifest(ctx, made)
    reads = sorted({str(version.ref) for version in made.inputs})
    facts = {"rows": made.table.num_rows, "definitions": list(made.facts.definitions), READS: reads}
    draft = prepare(ctx, name, manifest, facts=facts)

    def work(tx: Transaction) -> Version:
        for version in {version.id: version for version in made.inputs}.values():
            ctx.touch(tx, LinkRole.INPUT, version.ref)
        return publish(ctx, tx, draft)

    return ctx.write(work)


def _manifest(ctx: Context, made: _Made) -> Manifest:
    data = ctx.ports.tables.write(made.table)
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
    )
