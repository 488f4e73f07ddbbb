"""Two histories side by side: counts, digests, and what differs. A pass over both, in flat memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec
from blake3 import blake3

from loopwright.core.digests import digest_value
from loopwright.core.errors import Denied, NotFound
from loopwright.core.traces import RUN_METADATA
from loopwright.loops.steps import whole
from loopwright.ports.histories import (
    History,
    PastEvaluation,
    PastExperiment,
    PastFile,
    PastLogged,
    PastModel,
    PastModelPoint,
    PastRun,
    PastTrace,
    PastVersion,
)
from loopwright.registry.adopting import owner_of
from loopwright.registry.naming import VALUE_LIMIT, is_prompt
from loopwright.tracking.adopting import (
    DENIED_FILES,
    GONE_FILES,
    NewFile,
    Notes,
    at_ms,
    kept_texts,
    readable,
    sorted_files,
)
from loopwright.tracking.limits import PARAM, TAG

__all__ = ["Compared", "Difference", "LeftOut", "compare"]

T = TypeVar("T")
_PLACE_TAGS = frozenset(
    {"mlflow.artifactLocation", "mlflow.trace.spansLocation", "mlflow.trace.archiveLocation"}
)
_CUT_METADATA, _CUT_TAG = 250, 4_096
_DIFFERENCES = 500
_MASK = (1 << 256) - 1
_NAME = 500
_EXPERIMENT_TAG = 100_000
_PATH = 1_000
_THERE = 0
Parts = dict[str, str]
"""digests of the parts of a thing"""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A thing that is not the same on both sides."""

    kind: str
    id: str
    what: str
    """`missing` (there, not here), `more` (here, not there), or the parts that differ"""


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """A file there that is not brought, whatever it holds."""

    kind: str
    id: str
    """of the run or the logged model that it is of"""
    path: str
    """empty where its whole folder may not be read"""
    why: str


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """Both sides by kind: how many there and here, and the digest of each side's content."""

    ok: bool
    """nothing differs and no file was left out"""
    there: dict[str, int]
    here: dict[str, int]
    digest_there: str
    digest_here: str
    differences: tuple[Difference, ...]
    left_out: tuple[LeftOut, ...] = ()
    """files there that may not be here, the first of them; they are in neither count nor digest"""
    left_out_counts: dict[str, int] = {}
    """how many of them, by reason"""


def compare(
    there: History,
    here: History,
    *,
    files: bool = True,
    experiments: tuple[str, ...] = (),
    tell: Callable[[str], None] = lambda _: None,
) -> Compared:
    """What of a history is not the same here. Things that only this side has count where their kin is there.

    Texts and names are compared as they may be kept here; times to the millisecond, points and files each by
    their content, places not at all. Logged models that were deleted are left out: servers do not tell them.
    """
    work = _Comparing(there, here, files=files)
    ours = {past.name: past for past in here.experiments()}
    for past in there.experiments():
        if experiments and past.name not in experiments:
            continue
        tell(past.name)
        work.experiment(past, ours.get(_named(past.name)))
    if not experiments:
        work.models()
        work.evaluations()
    return work.result()


class _Comparing:
    """One pass."""

    def __init__(self, there: History, here: History, *, files: bool) -> None:
        self._there, self._here, self._files = there, here, files
        self._counts = (Counter[str](), Counter[str]())
        self._sums = [0, 0]
        self._found: list[Difference] = []
        self._differs = 0
        self._left_out: list[LeftOut] = []
        self._left_out_counts = Counter[str]()

    def result(self) -> Compared:
        """What was found."""
        digests = [f"{total:064x}" for total in self._sums]
        return Compared(
            ok=not self._differs and not self._left_out_counts,
            there=dict(self._counts[0]),
            here=dict(self._counts[1]),
            digest_there=digests[0],
            digest_here=digests[1],
            differences=tuple(self._found),
            left_out=tuple(self._left_out),
            left_out_counts=dict(self._left_out_counts),
        )

    def experiment(self, there: PastExperiment, here: PastExperiment | None) -> None:
        """An experiment with its runs and logged models."""
        ours = {} if here is None else {_named(here.name): _experiment(here)}
        self._met("experiments", {_named(there.name): _experiment(there)}, ours)
        run, model = self._run, self._logged
        self._met(
            "runs",
            _each(self._there.runs(there.id), lambda each: each.id, lambda it: run(it, self._there, 0)),
            _each(self._here.runs(here.id), lambda each: each.id, lambda it: run(it, self._here, 1))
            if here
            else {},
        )
        self._met(
            "logged models",
            _each(_standing(self._there, there.id), _id_of, lambda it: model(it, self._there, 0)),
            _each(_standing(self._here, here.id), _id_of, lambda it: model(it, self._here, 1))
            if here
            else {},
        )
        is_cut = self._there.cuts_traces or self._here.cuts_traces
        self._met(
            "traces",
            _each(self._there.traces(there.id), _trace_id, lambda it: _trace(it, self._there, is_cut)),
            _each(self._here.traces(here.id), _trace_id, lambda it: _trace(it, self._here, is_cut))
            if here
            else {},
        )

    def evaluations(self) -> None:
        """Evaluation datasets: those there, and of ours those of their ids."""
        theirs = {each.id: self._evaluation(each, self._there, 0) for each in self._there.evaluations()}
        ours = {
            each.id: self._evaluation(each, self._here, 1)
            for each in self._here.evaluations()
            if each.id in theirs
        }
        self._met("evaluation datasets", theirs, ours)

    def _evaluation(self, past: PastEvaluation, history: History, side: int) -> Parts:
        total = 0
        for batch in history.records(past):
            self._counts[side]["records"] += len(batch)
            for each in batch:
                total += _number(_as_doubles(_plain(each) | {"tags": each.tags or {}}))
        about = [past.name, past.created_ms, past.updated_ms, past.created_by, past.updated_by, past.columns]
        return {
            "about": digest_value(about),
            "tags": digest_value(past.tags),
            "records": f"{total & _MASK:064x}",
        }

    def models(self) -> None:
        """Registered models: those there, and of ours those of their names."""
        theirs = {each.name: self._model(each, 0) for each in self._there.models()}
        ours = {each.name: self._model(each, 1) for each in self._here.models() if each.name in theirs}
        self._met("models", theirs, ours)

    def _met(self, kind: str, theirs: Mapping[str, Parts], ours: Mapping[str, Parts]) -> None:
        for side, found in enumerate((theirs, ours)):
            self._counts[side][kind] += len(found)
            for name, parts in found.items():
                self._sums[side] = (self._sums[side] + _number([kind, name, parts])) & _MASK
        for name in sorted(theirs.keys() | ours.keys()):
            left, right = theirs.get(name), ours.get(name)
            if left != right:
                self._differ(kind, name, left, right)

    def _differ(self, kind: str, name: str, left: Parts | None, right: Parts | None) -> None:
        self._differs += 1
        if right is None:
            what = "missing"
        elif left is None:
            what = "more"
        else:
            what = ", ".join(part for part in left if left[part] != right.get(part))
        if len(self._found) < _DIFFERENCES:
            self._found.append(Difference(kind=kind, id=name[:200], what=what))

    def _run(self, past: PastRun, history: History, side: int) -> Parts:
        notes, count = Notes(), self._counts[side]
        points = self._points(past, history, side)
        count.update(params=len(past.params), tags=len(past.tags))
        outputs = sorted([each.model_id, each.step] for each in past.model_outputs)
        times = [str(at_ms(each, notes)) for each in (past.started_ms, past.ended_ms)]
        about = [readable(past.name, notes)[:_NAME], readable(past.user, notes)[:_NAME], past.status, *times]
        return {
            "about": digest_value([*about, past.is_deleted]),
            "params": digest_value(kept_texts("", past.params, PARAM, notes)),
            "tags": digest_value(kept_texts("", past.tags, TAG, notes)),
            "latest": digest_value([[p.key, repr(p.value + 0.0), p.step, p.at_us] for p in past.latest]),
            "points": points,
            "inputs": digest_value([_datasets(past), sorted(past.model_inputs)]),
            "outputs": digest_value(outputs),
            "files": self._digest_of_files("runs", past, history, side),
        }

    def _points(self, past: PastRun, history: History, side: int) -> str:
        """A digest of a set of points, whatever their order."""
        total = 0
        for batch in history.points(past):
            self._counts[side]["points"] += len(batch)
            for p in batch:
                told = f"{p.key}\0{p.value + 0.0!r}\0{p.step}\0{p.at_us}"
                total += int.from_bytes(blake3(told.encode("utf-8", "replace")).digest(), "big")
        return f"{total & _MASK:064x}"

    def _digest_of_files(self, kind: str, past: PastRun | PastLogged, history: History, side: int) -> str:
        if not self._files:
            return ""
        found, left_out = _contents(past.artifact_uri, history)
        kept, unsound = sorted_files(found)
        if side == _THERE:
            self._leave_out(kind, past.id, [*left_out, *unsound])
        self._counts[side]["files"] += len(kept)
        self._counts[side]["bytes"] += sum(file.size_bytes for file in kept)
        return digest_value(sorted([file.path, file.digest] for file in kept))

    def _leave_out(self, kind: str, owner: str, files: Iterable[tuple[str, str]]) -> None:
        for path, why in files:
            self._left_out_counts[why] += 1
            if len(self._left_out) < _DIFFERENCES:
                told = readable(path, Notes())[:_PATH]
                self._left_out.append(LeftOut(kind=kind, id=owner[:200], path=told, why=why))

    def _logged(self, past: PastLogged, history: History, side: int) -> Parts:
        notes = Notes()
        about = [past.name, past.model_type, past.status, past.created_ms, past.source_run_id]
        return {
            "about": digest_value(about),
            "params": digest_value(kept_texts("", past.params, PARAM, notes)),
            "tags": digest_value(kept_texts("", past.tags, VALUE_LIMIT, notes)),
            "points": digest_value(sorted(map(_measured, past.points))),
            "files": self._digest_of_files("logged models", past, history, side),
        }

    def _model(self, past: PastModel, side: int) -> Parts:
        self._counts[side]["versions"] += len(past.versions)
        self._counts[side]["aliases"] += len(past.aliases)
        versions = {f"version {each.number}": _version(each) for each in past.versions}
        about = [past.description, past.created_ms, past.tags]
        return {"about": digest_value(about), "aliases": digest_value(past.aliases), **versions}


def _each(things: Iterable[T], name: Callable[[T], str], parts: Callable[[T], Parts]) -> dict[str, Parts]:
    return {name(each): parts(each) for each in things}


def _id_of(past: PastLogged) -> str:
    return past.id


def _trace_id(past: PastTrace) -> str:
    return past.trace.id


def _trace(past: PastTrace, history: History, is_cut: bool) -> Parts:
    """The parts of a trace; only the beginnings of its texts where one of the stores tells no more."""
    past = whole(history, past)
    trace = past.trace
    about = [trace.started_ms, trace.duration_ms, trace.state, trace.client_request_id]
    spans = [{**_plain(each), "space": ""} for each in sorted(past.spans, key=lambda span: span.id)]
    said = [{**_plain(each), "space": ""} for each in sorted(past.assessments, key=lambda each: each.id)]
    tags = {key: value for key, value in trace.tags.items() if key not in _PLACE_TAGS}
    metadata = trace.metadata
    if is_cut:
        tags = {key: value[:_CUT_TAG] for key, value in tags.items()}
        metadata = {key: value[:_CUT_METADATA] for key, value in metadata.items()}
    made_under = {trace.metadata[RUN_METADATA]} if RUN_METADATA in trace.metadata else set[str]()
    return {
        "about": digest_value([*about, trace.request_preview, trace.response_preview]),
        "tags": digest_value(tags),
        "metadata": digest_value({k: _in_one_form(v) for k, v in metadata.items()}),
        "spans": digest_value(spans),
        "assessments": digest_value(_as_doubles(said)),
        "runs": digest_value(sorted({*past.runs} | made_under)),
    }


def _as_doubles(value: Any) -> Any:
    """A JSON value whose whole numbers are of double precision, as servers tell some."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return float(value)
    if isinstance(value, list | tuple):
        return [_as_doubles(each) for each in value]
    return {key: _as_doubles(each) for key, each in value.items()} if isinstance(value, dict) else value


def _in_one_form(text: str) -> object:
    """A text that is the JSON of an object as that: some stores keep it by its parts."""
    try:
        return msgspec.json.decode(text) if text[:1] == "{" else text
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text


def _plain(value: object) -> dict[str, object]:
    found: dict[str, object] = msgspec.to_builtins(value)
    return found


def _standing(history: History, experiment_id: str) -> Iterator[PastLogged]:
    return (each for each in history.logged_models(experiment_id) if not each.is_deleted)


def _named(name: str) -> str:
    return readable(name, Notes()).strip()[:_NAME]


def _number(value: object) -> int:
    return int(digest_value(value), 16)


def _experiment(past: PastExperiment) -> Parts:
    tags = kept_texts("", past.tags, _EXPERIMENT_TAG, Notes())
    return {"about": digest_value([past.is_deleted]), "tags": digest_value(tags)}


def _datasets(past: PastRun) -> list[list[object]]:
    told: list[list[object]] = [
        [
            each.name,
            each.digest,
            each.source_type,
            each.source,
            each.schema or "",
            each.profile or "",
            each.tags,
        ]
        for each in past.datasets
    ]
    return sorted(told, key=lambda each: (str(each[0]), str(each[1])))


def _measured(point: PastModelPoint) -> list[str]:
    told = (point.key, float(point.value), point.step, point.at_ms, point.run_id)
    return [str(each) for each in (*told, point.dataset_name, point.dataset_digest)]


def _version(past: PastVersion) -> str:
    place: object = ""
    if not is_prompt(past.tags):
        owner = owner_of(past.source)
        place = list(owner if owner[0] else owner_of(past.storage))
    run_link = past.run_link
    about = [past.created_ms, past.description, past.stage, past.run_id, run_link, past.tags]
    return digest_value([*about, place])


def _contents(address: str, history: History) -> tuple[list[NewFile], list[tuple[str, str]]]:
    """Files with their digests, made of their bytes where the store knows none; and what cannot be read."""
    found: list[NewFile] = []
    left_out: list[tuple[str, str]] = []
    try:
        listed = list(history.files(address)) if address else []
    except (Denied, NotFound) as error:
        return [], [("", _why(error))]
    for file in listed:
        try:
            found.append(_read(address, file, history))
        except (Denied, NotFound) as error:
            left_out.append((file.path, _why(error)))
    return found, left_out


def _why(error: Denied | NotFound) -> str:
    return DENIED_FILES if isinstance(error, Denied) else GONE_FILES


def _read(address: str, file: PastFile, history: History) -> NewFile:
    if file.digest:
        return NewFile(path=file.path, digest=file.digest, size_bytes=file.size_bytes)
    hasher, size = blake3(), 0
    for piece in history.read(address, file.path):
        hasher.update(piece)
        size += len(piece)
    return NewFile(path=file.path, digest=hasher.hexdigest(), size_bytes=size)
