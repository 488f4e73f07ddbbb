"""The online store as a holder: entities of every view are forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

import msgspec

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.expressions import Scalar
from loopwright.core.instants import from_micros, to_micros
from loopwright.core.nouns import Version
from loopwright.data.subjects import rows_of
from loopwright.engine.context import Context
from loopwright.engine.holders import Held, Subject
from loopwright.engine.publishing import manifest_of
from loopwright.features.feeding import LiveView, live_view
from loopwright.features.formulas import plain_values
from loopwright.features.materializing import refill
from loopwright.features.nouns import VIEW, FeatureView
from loopwright.features.rules import columns_read, store_name

__all__ = ["OnlineRows", "fill_again"]

_REFILLS = "features.refills"
"""documents by store: views that forgot entities of others, whose other rows are to be taken in again"""

Key = tuple[Scalar, ...]


class OnlineRows:
    """Rows that views keep for lookups, in every version of every view.

    An entity goes whose key has the values. Of a view by another entity that reads the subject's columns
    those entities go that a row of the subject is of, by any version of the dataset or by what is answered
    now; their other rows are taken in again from the dataset when the erasure ends (`fill_again`). So
    this holder is asked before the dataset's rows go.
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
            for _, view, store in _fed(ctx)
            for key in _keys(ctx, view, store, subject)
            if _is_known(ctx.ports.online.read(store, [key], to_micros(ctx.now()))[0], view)
        ]
        return Held(rows=len(found), places=len(set(found)))

    def erase(self, ctx: Context, subject: Subject, keys: frozenset[str]) -> Held:
        """Forget them, durably."""
        rows, stores = 0, set[str]()
        for version, view, store in _fed(ctx):
            found = list(_keys(ctx, view, store, subject))
            if found and not _names_entity(view, subject):
                _note(ctx, store, version)
            gone = sum(ctx.ports.online.forget(store, key) for key in found)
            rows += gone
            if gone:
                stores.add(store)
        return Held(rows=rows, places=len(stores))

    def known(self, ctx: Context, columns: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        """The keys of views whose entity has these columns."""
        for _, view, store in _fed(ctx):
            if set(columns) <= set(view.entity):
                places = [view.entity.index(column) for column in columns]
                for key in ctx.ports.online.keys(store):
                    yield tuple(_text(key[place]) for place in places)


def fill_again(ctx: Context) -> None:
    """Take in what views by other entities forgot with an erasure: their rows of others that stay."""
    with ctx.read() as tx:
        waiting = tx.documents.all(ctx.space, _REFILLS)
    for store, body in waiting.items():
        try:
            _refill(ctx, store, live_view(ctx, body["view"]))
        except Invalid:
            continue  # such as a Python function of another process, which does it when it materializes
        _done(ctx, store)


def _refill(ctx: Context, store: str, each: LiveView) -> None:
    watermark = ctx.ports.online.watermark(store)
    if watermark is None:
        return
    with suppress(NotFound):  # the dataset is gone
        refill(ctx, each, None, from_micros(watermark), watermark)


def _note(ctx: Context, store: str, version: Version) -> None:
    body = {"view": str(version.ref)}
    ctx.write(lambda tx: tx.documents.put(ctx.space, _REFILLS, store, body))


def _done(ctx: Context, store: str) -> None:
    ctx.write(lambda tx: tx.documents.remove(ctx.space, _REFILLS, store))


def _is_known(answer: Mapping[str, Scalar], view: FeatureView) -> bool:
    windows = view.windows
    return any(
        value not in {None, 0} if name in windows else value is not None for name, value in answer.items()
    )


def _fed(ctx: Context) -> Iterator[tuple[Version, FeatureView, str]]:
    """Versions of views that the online store knows, with their names there."""
    with ctx.read() as tx:
        versions = list(tx.versions.among(ctx.space, VIEW))
    for version in versions:
        view = msgspec.convert(manifest_of(ctx, version).body, FeatureView)
        store = store_name(ctx.space, version.name, version.number)
        try:
            ctx.ports.online.watermark(store)
        except NotFound:  # never fed
            continue
        yield version, view, store


def _names_entity(view: FeatureView, subject: Subject) -> bool:
    return set(subject.columns) <= set(view.entity)


def _keys(ctx: Context, view: FeatureView, store: str, subject: Subject) -> Iterator[Key]:
    """Entities of a view that have rows of the subject, or may have."""
    if _names_entity(view, subject):
        wanted = [
            (view.entity.index(column), value)
            for column, value in zip(subject.columns, subject.values, strict=True)
        ]
        for key in ctx.ports.online.keys(store):
            if all(_is(key[place], value) for place, value in wanted):
                yield key
    elif set(subject.columns) <= set(columns_read(view)):
        told = dict.fromkeys([*_by_rows(ctx, view, subject), *_by_answers(ctx, view, store, subject)])
        there = set(ctx.ports.online.keys(store))
        yield from (key for key in told if key in there)


def _by_rows(ctx: Context, view: FeatureView, subject: Subject) -> Iterator[Key]:
    """Entities of the subject's rows in any version of the view's dataset."""
    for table in rows_of(ctx, view.source, subject, view.entity):
        yield from zip(*(plain_values(table.column(name)) for name in view.entity), strict=True)


def _by_answers(ctx: Context, view: FeatureView, store: str, subject: Subject) -> Iterator[Key]:
    """Entities of which the subject's values are answered, wherever the row came from."""
    wanted = dict(zip(subject.columns, subject.values, strict=True))
    if not set(wanted) <= {*view.latest, *view.entity}:
        return
    keys: Sequence[Key] = list(ctx.ports.online.keys(store))
    answers = ctx.ports.online.read(store, keys, to_micros(ctx.now()))
    for key, answer in zip(keys, answers, strict=True):
        told = {**answer, **dict(zip(view.entity, key, strict=True))}
        if all(_is(told[column], value) for column, value in wanted.items()):
            yield key


def _is(value: Scalar, text: str) -> bool:
    """Whether a value is the one that this text means in its type."""
    if value is None or isinstance(value, str):
        return value == text
    if isinstance(value, bool):
        return _text(value) == text.lower()
    try:
        return value == type(value)(text)
    except ValueError:
        return False


def _text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
