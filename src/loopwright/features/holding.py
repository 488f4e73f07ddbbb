"""The online store as a holder: entities of every view are forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import reduce

import msgspec

from loopwright.core.addresses import Address
from loopwright.core.errors import NotFound
from loopwright.core.expressions import Expr, Scalar, col
from loopwright.core.instants import to_micros
from loopwright.core.schema import ColumnType, Schema
from loopwright.data.nouns import DATASET
from loopwright.data.reading import read_version, schema_of
from loopwright.engine.context import Context
from loopwright.engine.holders import Held, Subject
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.features.nouns import VIEW, FeatureView
from loopwright.features.rules import store_name

__all__ = ["OnlineRows"]


class OnlineRows:
    """Rows that views keep for lookups, in every version of every view.

    Of a view whose entity has further columns, those entities are found that its dataset has; so this holder
    is asked before the dataset's rows go.
    """

    name = "online"
    keeps: Mapping[str, str] = {
        "features/feeding.py": "the online store, as a clock moves on",
        "features/materializing.py": "the online store, from a dataset",
        "features/verbs.py": "the online store, from rows that a caller pushes",
    }

    def find(self, ctx: Context, subject: Subject, keys: frozenset[str]) -> Held:
        """Entities that some feature is known of."""
        found = [
            store
            for store, view, key in _entities(ctx, subject)
            if _is_known(ctx.ports.online.read(store, [key], to_micros(ctx.now()))[0], view)
        ]
        return Held(rows=len(found), places=len(set(found)))

    def erase(self, ctx: Context, subject: Subject, keys: frozenset[str]) -> Held:
        """Forget them, durably."""
        rows, stores = 0, set[str]()
        for store, _, key in _entities(ctx, subject):
            gone = ctx.ports.online.forget(store, key)
            rows += gone
            if gone:
                stores.add(store)
        return Held(rows=rows, places=len(stores))

    def known(self, ctx: Context, columns: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
        """Nothing: what was pushed past every dataset is recognised when it is named again."""
        return ()


def _is_known(answer: Mapping[str, Scalar], view: FeatureView) -> bool:
    windows = view.windows
    return any(
        value not in {None, 0} if name in windows else value is not None for name, value in answer.items()
    )


def _entities(ctx: Context, subject: Subject) -> Iterator[tuple[str, FeatureView, tuple[Scalar, ...]]]:
    with ctx.read() as tx:
        versions = list(tx.versions.among(ctx.space, VIEW))
    for version in versions:
        view = msgspec.convert(manifest_of(ctx, version).body, FeatureView)
        if not set(subject.columns) <= set(view.entity):
            continue
        store = store_name(ctx.space, version.name, version.number)
        try:
            ctx.ports.online.watermark(store)
        except NotFound:  # never fed
            continue
        for key in _keys(ctx, view, subject):
            yield store, view, key


def _keys(ctx: Context, view: FeatureView, subject: Subject) -> Iterator[tuple[Scalar, ...]]:
    try:
        source = resolve(ctx, Address(kind=DATASET, name=view.source))
    except NotFound:
        return
    schema = schema_of(manifest_of(ctx, source))
    values = {
        name: _typed(schema, name, text) for name, text in zip(subject.columns, subject.values, strict=True)
    }
    if None in values.values():
        return
    if len(values) == len(view.entity):
        yield tuple(values[name] for name in view.entity)
        return
    tests: list[Expr] = [col(name).eq(value) for name, value in values.items()]
    where = reduce(lambda left, right: left & right, tests)
    rows = (
        read_version(ctx, source, columns=view.entity, where=where).group_by(list(view.entity)).aggregate([])
    )
    for row in rows.select(list(view.entity)).to_pylist():
        yield tuple(row[name] for name in view.entity)


def _typed(schema: Schema, name: str, text: str) -> Scalar:
    """The value in the type the dataset has it in, or None where the text is none of that type."""
    kind = schema.column(name).type
    if kind is ColumnType.STRING:
        return text
    try:
        return int(text) if kind is ColumnType.INT else float(text) if kind is ColumnType.FLOAT else None
    except ValueError:
        return None
