"""A run that was done again held against the first: equal to the bit, near, or different, and why."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.nouns import Link, LinkRole, Run
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.ports.ledger import PageRequest, Transaction
from loopwright.tracking.lifecycle import found_run

__all__ = ["Changed", "Compared", "Outcome", "Reproduction", "reproduction"]

_SEED = re.compile(r"(^|[._-])(seed|random_state)$", re.IGNORECASE)
_OWN = ("loopwright/", "system/")
"""what we add to a run: files of ours, the machine's load"""
_TELLING = frozenset({"MLmodel", "loopwright.json", "loopwright.sig", "environment.lock.txt"})
"""files of a package that say when, where and by whom it was made: they differ at each making"""
_LOCK = "loopwright/environment.lock.txt"
_PAGE = 10_000
_SHOWN = 50


class Outcome(StrEnum):
    """How near the second run came."""

    EQUAL = "bit-equal"
    WITHIN = "within tolerance"
    DIFFERENT = "different"


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that both runs should have: a param, a metric, a file, a version that was made."""

    what: str
    outcome: Outcome
    first: str = ""
    second: str = ""
    distance: float | None = None
    """the greatest distance of two points of a metric"""


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was not the same when it was done again: code, data, environment or seed."""

    kind: str
    what: str
    first: str
    second: str


class Reproduction(msgspec.Struct, frozen=True, kw_only=True):
    """Two runs side by side."""

    run_id: str
    other: str
    outcome: Outcome
    compared: tuple[Compared, ...]
    """what is not equal to the bit comes first"""
    changed: tuple[Changed, ...]
    note: str


class _Side(msgspec.Struct, frozen=True):
    """What is compared of a run."""

    run: Run
    histories: Mapping[str, Sequence[tuple[int, float]]]
    files: Mapping[str, str]
    read: Mapping[str, str]
    made: Mapping[str, str]
    lock: Mapping[str, str]


@operation("runs.reproduction", scope="run:read", route="GET /runs/{run_id}/reproduction")
def reproduction(ctx: Context, run_id: str, other: str, *, tolerance: tuple[str, ...] = ()) -> Reproduction:
    """Compare a run with one that did it again: what came out, and what went in differently.

    A `tolerance` is written METRIC=DISTANCE; `*=DISTANCE` is for all others.
    """
    allowed = _tolerances(tolerance)
    first, second = _side(ctx, run_id), _side(ctx, other)
    compared = [*_params(first, second), *_metrics(first, second, allowed), *_files(first, second)]
    changed = tuple(_changes(first, second))
    outcome = _worst(compared)
    order = [Outcome.DIFFERENT, Outcome.WITHIN, Outcome.EQUAL]
    return Reproduction(
        run_id=run_id,
        other=other,
        outcome=outcome,
        compared=tuple(sorted(compared, key=lambda each: order.index(each.outcome))),
        changed=changed,
        note=_note(outcome, changed),
    )


def _tolerances(told: Sequence[str]) -> dict[str, float]:
    found = {}
    for text in told:
        name, _, number = text.rpartition("=")
        try:
            found[name] = float(number)
        except ValueError:
            found[name] = math.nan
        if not name or not found[name] >= 0:
            raise Invalid(
                f"{text[:80]!r} is no tolerance",
                hint="write METRIC=DISTANCE, such as auc=1e-6",
                where="tolerance",
            )
    return found


def _worst(compared: Sequence[Compared]) -> Outcome:
    outcomes = {each.outcome for each in compared}
    return next((each for each in (Outcome.DIFFERENT, Outcome.WITHIN) if each in outcomes), Outcome.EQUAL)


def _note(outcome: Outcome, changed: Sequence[Changed]) -> str:
    kinds = ", ".join(dict.fromkeys(each.kind for each in changed))
    if outcome is Outcome.EQUAL:
        return f"equal to the bit, although these changed: {kinds}" if changed else "equal to the bit"
    if changed:
        return f"{outcome.value}; what changed: {kinds}"
    unseen = "chance that no seed fixes, or what it reads unseen"
    return f"{outcome.value}, and nothing that is recorded changed: {unseen}"


# -- what there is of a run --------------------------------------------------------------


def _side(ctx: Context, run_id: str) -> _Side:
    with ctx.read() as tx:
        run = found_run(ctx, tx, run_id)
        keys = [key for key in dict(tx.metrics.latest(run_id)) if not key.startswith(_OWN)]
        histories = {key: _history(tx, run_id, key) for key in keys}
        artifacts = list(tx.artifacts.under(ctx.space, f"run:{run_id}", ""))
        links = tuple(tx.runs.links(run_id))
    lock = next((each.digest for each in artifacts if each.path == _LOCK), None)
    files = {each.path: each.digest for each in artifacts if _counts(each.path)}
    return _Side(
        run,
        histories,
        files,
        {
            f"{link.version.kind}:{link.version.name}": _told(link)
            for link in links
            if link.role is LinkRole.INPUT
        },
        _made(ctx, links),
        {} if lock is None else _locked(ctx.ports.objects.get(lock)),
    )


def _history(tx: Transaction, run_id: str, key: str) -> list[tuple[int, float]]:
    points: list[tuple[int, float]] = []
    token = ""
    while True:
        page = tx.metrics.history(run_id, key, PageRequest(limit=_PAGE, token=token))
        points += [(point.step, point.value) for point in page.items]
        token = page.next_token
        if not token:
            return sorted(points, key=lambda point: (point[0], math.isnan(point[1]), point[1]))


def _counts(path: str) -> bool:
    return not path.startswith(_OWN) and path.rpartition("/")[2] not in _TELLING


def _told(link: Link) -> str:
    return f"{link.version} {link.version.digest[:12]}"


def _made(ctx: Context, links: Sequence[Link]) -> dict[str, str]:
    """The content of each version that was made, by the name of its asset; newest of several."""
    found = {}
    for link in links:
        if link.role is LinkRole.OUTPUT:
            manifest = manifest_of(ctx, resolve(ctx, str(link.version)))
            kept = [f"{e.path} {e.digest}" for e in manifest.entries if _counts(e.path)]
            name = f"{link.version.kind}:{link.version.name}"
            found[name] = "\n".join(sorted(kept)) if kept else link.version.digest
    return found


def _locked(data: bytes) -> dict[str, str]:
    lines = data.decode(errors="replace").splitlines()
    return {name: version for name, _, version in (line.partition("==") for line in lines)}


# -- what came out -----------------------------------------------------------------------


def _params(first: _Side, second: _Side) -> Iterator[Compared]:
    yield from _equal("param", first.run.params, second.run.params)


def _files(first: _Side, second: _Side) -> Iterator[Compared]:
    yield from _equal("file", first.files, second.files)
    yield from _equal("version", first.made, second.made)


def _equal(what: str, first: Mapping[str, str], second: Mapping[str, str]) -> Iterator[Compared]:
    for key in sorted({*first, *second}):
        left, right = first.get(key, "none"), second.get(key, "none")
        same = left == right
        yield Compared(
            what=f"{what} {key}",
            outcome=Outcome.EQUAL if same else Outcome.DIFFERENT,
            first="" if same else left[:_SHOWN],
            second="" if same else right[:_SHOWN],
        )


def _metrics(first: _Side, second: _Side, allowed: Mapping[str, float]) -> Iterator[Compared]:
    for key in sorted({*first.histories, *second.histories}):
        left, right = first.histories.get(key, ()), second.histories.get(key, ())
        distance = _distance(left, right)
        limit = allowed.get(key, allowed.get("*", 0.0))
        outcome = Outcome.DIFFERENT
        if distance == 0.0:
            outcome = Outcome.EQUAL
        elif distance is not None and distance <= limit:
            outcome = Outcome.WITHIN
        yield Compared(
            what=f"metric {key}",
            outcome=outcome,
            first=_last(left),
            second=_last(right),
            distance=distance,
        )


def _distance(first: Sequence[tuple[int, float]], second: Sequence[tuple[int, float]]) -> float | None:
    """The greatest distance of points of one step; None when one has other steps, or no number."""
    if [step for step, _ in first] != [step for step, _ in second]:
        return None
    worst = 0.0
    for (_, left), (_, right) in zip(first, second, strict=True):
        if left == right or (math.isnan(left) and math.isnan(right)):
            continue
        if not (math.isfinite(left) and math.isfinite(right)):
            return None
        worst = max(worst, abs(left - right))
    return worst


def _last(points: Sequence[tuple[int, float]]) -> str:
    return repr(points[-1][1]) if points else "none"


# -- what went in ------------------------------------------------------------------------


def _changes(first: _Side, second: _Side) -> Iterator[Changed]:
    code = [_code(side.run) for side in (first, second)]
    if code[0] != code[1]:
        yield Changed(kind="code", what="commit and changes", first=code[0], second=code[1])
    for key in sorted({*first.read, *second.read}):
        left, right = first.read.get(key, "not read"), second.read.get(key, "not read")
        if left != right:
            yield Changed(kind="data", what=key, first=left, second=right)
    yield from _environment(first, second)
    yield from _seeds(first, second)


def _code(run: Run) -> str:
    code = run.facts.get("code") or {}
    diff = str(code.get("diff", ""))[:12]
    return f"{str(code.get('commit', 'no repository'))[:12]}" + (f" with changes {diff}" if diff else "")


def _environment(first: _Side, second: _Side) -> Iterator[Changed]:
    pythons = [str((side.run.facts.get("environment") or {}).get("python", "")) for side in (first, second)]
    if pythons[0] != pythons[1]:
        yield Changed(kind="environment", what="python", first=pythons[0], second=pythons[1])
    for name in sorted({*first.lock, *second.lock}):
        left, right = first.lock.get(name, "not there"), second.lock.get(name, "not there")
        if left != right:
            yield Changed(kind="environment", what=name, first=left, second=right)


def _seeds(first: _Side, second: _Side) -> Iterator[Changed]:
    left, right = _seeds_of(first.run), _seeds_of(second.run)
    for name in sorted({*left, *right}):
        if left.get(name) != right.get(name):
            yield Changed(
                kind="seed", what=name, first=left.get(name, "none"), second=right.get(name, "none")
            )


def _seeds_of(run: Run) -> dict[str, str]:
    told = {key: str(value) for key, value in (run.facts.get("seeds") or {}).items()}
    return {**told, **{key: value for key, value in run.params.items() if _SEED.search(key)}}
