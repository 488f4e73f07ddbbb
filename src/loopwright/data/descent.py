"""Which columns of which datasets the columns of a version were made of: lineage by columns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from loopwright.core.addresses import ByNumber, parse_address
from loopwright.core.errors import NotFound
from loopwright.core.nouns import LinkRole, Version, VersionRef
from loopwright.data.nouns import DATASET
from loopwright.engine.context import COLUMNS_READ, Context
from loopwright.engine.publishing import BRANCH, manifest_of
from loopwright.engine.renaming import names_of
from loopwright.ports.ledger import Transaction

__all__ = ["MADE_OF", "MadeOf", "dataset_of", "descent"]

MADE_OF = "made_of"
"""what the body of a version says of columns that have other names than what they were made of"""
MadeOf = Mapping[str, Mapping[str, Collection[str]]]
"""by column, the columns of each dataset that it was made of"""

_WHOLE = frozenset({"definitions", "labels_of", "view"})
"""facts of training sets, label sets and backfills, which say of every column what it was made of"""
_DEPTH = 1000
"""steps that lineage is followed back over: it comes to its end by itself, and rules hold over all of it"""

_Pairs = frozenset[tuple[str, str]]
"""columns of a version, each with a column asked about that was made of it"""
_Waiting = dict[tuple[str, str], tuple[VersionRef, _Pairs]]
"""by kind and name, the newest version that was met and what is asked of it"""


def descent(
    ctx: Context,
    version: Version,
    columns: Iterable[str],
    *,
    ends: Callable[[str], Collection[str]] = lambda name: (),
) -> Iterator[tuple[str, Mapping[str, frozenset[str]]]]:
    """Datasets, nearest first, by their columns that those of a version were made of; itself is the first.

    Each comes with its columns, and with which of the columns asked about were made of them. A column has
    its name along what runs read that made a version or an earlier one of its line, along what a training or
    a label set says that it was made of, and along a branch and its dataset; beside it the other names that
    the version's body tells (`MADE_OF`). A column of a new name that nothing tells of was made of every
    column that its run read. `ends` gives the columns of a dataset that are followed no further.
    """
    looked: _Waiting = {}
    ref = version.ref
    waiting: _Waiting = {(ref.kind, ref.name): (ref, frozenset((name, name) for name in columns))}
    for _ in range(_DEPTH):
        fresh = list(_fresh(waiting, looked))
        onward: list[tuple[VersionRef, _Pairs]] = []
        for at, pairs in fresh:
            name = dataset_of(at)
            yield name, _by_column(pairs)
            ended = ends(name)
            onward.append((at, frozenset(pair for pair in pairs if pair[0] not in ended)))
        with ctx.read() as tx:
            waiting = _gathered(
                (now, _renamed(pairs, source, made_of))
                for at, pairs in onward
                if pairs
                for source, made_of in _sources(ctx, tx, at, {column for column, _ in pairs})
                for now in _as_named(ctx, tx, source)
            )
        if not waiting:
            return


def _fresh(waiting: _Waiting, looked: _Waiting) -> Iterator[tuple[VersionRef, _Pairs]]:
    """What was not looked at yet: all that is asked of a newer version, else the columns that are new."""
    for at, (ref, pairs) in waiting.items():
        before, known = looked.get(at, (None, frozenset[tuple[str, str]]()))
        is_newer = before is None or ref.number > before.number
        newest = ref if before is None or is_newer else before
        looked[at] = newest, pairs | known
        found = pairs | known if is_newer else pairs - known
        if found:
            yield newest, found


def _gathered(found: Iterable[tuple[VersionRef, _Pairs]]) -> _Waiting:
    told: _Waiting = {}
    for ref, pairs in found:
        before, there = told.get((ref.kind, ref.name), (ref, frozenset[tuple[str, str]]()))
        told[ref.kind, ref.name] = max(before, ref, key=lambda each: each.number), there | pairs
    return told


def _as_named(ctx: Context, tx: Transaction, ref: VersionRef) -> Iterator[VersionRef]:
    """A version by the name that was told, and by those that what was called so has now."""
    yield from (replace(ref, name=name) for name in names_of(tx, ctx.space, ref.kind, ref.name))


def _renamed(pairs: _Pairs, source: VersionRef, made_of: MadeOf) -> _Pairs:
    """What is asked of a source: columns of the same names, and those that the version tells of."""
    dataset = dataset_of(source)
    others = {(there, asked) for column, asked in pairs for there in made_of.get(column, {}).get(dataset, ())}
    return pairs | others


def _by_column(pairs: _Pairs) -> dict[str, frozenset[str]]:
    found = defaultdict[str, set[str]](set)
    for column, asked in pairs:
        found[column].add(asked)
    return {column: frozenset(asked) for column, asked in found.items()}


def dataset_of(ref: VersionRef) -> str:
    """The dataset's name; a branch is `name/branch`."""
    return ref.name.rpartition("/")[0] if ref.kind == BRANCH else ref.name


def _sources(
    ctx: Context, tx: Transaction, ref: VersionRef, columns: Collection[str]
) -> Iterator[tuple[VersionRef, MadeOf]]:
    """What a version, and those before it on its line, were made of, with names that changed."""
    line = [
        each for each in tx.versions.among(ctx.space, ref.kind, name=ref.name) if each.number <= ref.number
    ]
    line += _merged(ctx, tx, ref, {each.digest for each in line})
    for run_id in dict.fromkeys(each.run_id for each in line):
        if run_id is not None:
            yield from _read(ctx, tx, run_id, [each for each in line if each.run_id == run_id], columns)
    if ref.kind == BRANCH:
        yield from ((newest, {}) for newest in _newest(ctx, tx, dataset_of(ref)))
    for version in line:
        if version.number == ref.number and version.kind == ref.kind:
            yield from _told(ctx, version)


def _read(
    ctx: Context, tx: Transaction, run_id: str, made: Sequence[Version], columns: Collection[str]
) -> Iterator[tuple[VersionRef, MadeOf]]:
    """What a run read; columns of what it made whose names are none of those may be made of all it read."""
    inputs = [
        link.version
        for link in tx.runs.links(run_id)
        if link.role is LinkRole.INPUT and link.version.kind in {DATASET, BRANCH}
    ]
    there = {source: _columns_of(ctx, tx, source) for source in inputs}
    new = set(columns).difference(*there.values()) if inputs else set[str]()
    strange = {column for version in made for column in _untold(ctx, version, new)} if new else set[str]()
    for source in inputs:
        body = tx.documents.get(ctx.space, f"{COLUMNS_READ}{run_id}", str(source))
        read = there[source] if body is None or body["columns"] is None else body["columns"]
        yield source, {column: {dataset_of(source): read} for column in strange}


def _columns_of(ctx: Context, tx: Transaction, ref: VersionRef) -> Collection[str]:
    """The columns of a version; where its content is gone, those of the newest."""
    found = set[str]()
    for named in _as_named(ctx, tx, ref):
        asset = tx.assets.find(ctx.space, named.kind, named.name)
        if asset is None:
            continue
        for version in (tx.versions.get(asset.id, ref.number), tx.versions.latest(asset.id)):
            try:
                schema = None if version is None else manifest_of(ctx, version).schema
            except NotFound:
                continue
            if schema is not None:
                found.update(schema.names)
                break
    return found


def _untold(ctx: Context, version: Version, columns: Collection[str]) -> Collection[str]:
    """Those columns of a version of which it does not say what they were made of."""
    try:
        manifest = manifest_of(ctx, version)
    except NotFound:  # retention let its content go
        return columns
    facts = manifest.body.get("facts", {})
    if manifest.schema is None or not _WHOLE.isdisjoint(facts):
        return ()
    return set(columns).intersection(manifest.schema.names).difference(facts.get(MADE_OF, {}))


def _merged(ctx: Context, tx: Transaction, ref: VersionRef, digests: set[str]) -> list[Version]:
    """Versions of branches that became some of the dataset's."""
    if ref.kind == BRANCH:
        return []
    branches = tx.versions.among(ctx.space, BRANCH)
    return [each for each in branches if each.digest in digests and dataset_of(each.ref) == ref.name]


def _newest(ctx: Context, tx: Transaction, name: str) -> Iterator[VersionRef]:
    asset = tx.assets.find(ctx.space, DATASET, name)
    newest = None if asset is None else tx.versions.latest(asset.id)
    if newest is not None:
        yield newest.ref


def _told(ctx: Context, version: Version) -> Iterator[tuple[VersionRef, MadeOf]]:
    """The datasets that a training set or a label set says it was made of."""
    try:
        facts = manifest_of(ctx, version).body.get("facts", {})
    except NotFound:  # retention let its content go
        return
    told = [*facts.get("sources", {}).values(), facts.get("spine", ""), facts.get("labels_of", "")]
    for text in filter(None, told):
        address = parse_address(text)
        if isinstance(address.selector, ByNumber):
            number = address.selector.number
            ref = VersionRef(kind=address.kind, name=address.name, number=number, digest="")
            yield ref, facts.get(MADE_OF, {})
