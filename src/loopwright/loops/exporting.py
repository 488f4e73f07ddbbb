"""Gives our history away: written as another system keeps it, and compared with what is here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec

from loopwright.core.errors import NotFound
from loopwright.loops.steps import whole
from loopwright.ports.histories import History, HistorySink

__all__ = ["Exported", "export"]


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What was written, and what could not be."""

    target: str
    counts: dict[str, int]
    notes: dict[str, int]


def export(history: History, sink: HistorySink, tell: Callable[[str], None] = lambda _: None) -> Exported:
    """Write a whole history into a fresh store; its rows are there at once at the end, or not at all."""
    counts, notes = Counter[str](), Counter[str]()
    for experiment in history.experiments():
        sink.add_experiment(experiment)
        counts["experiments"] += 1
        for run in history.runs(experiment.id):
            sink.add_run(run, history.points(run))
            counts.update(runs=1, params=len(run.params), tags=len(run.tags))
            _files(history, sink, run.artifact_uri, counts, notes)
            if counts["runs"] % 100 == 0:
                tell(f"{experiment.name[:40]}: {counts['runs']:,} runs, {counts['files']:,} files")
        for model in history.logged_models(experiment.id):
            sink.add_logged(model)
            counts["logged models"] += 1
            _files(history, sink, model.artifact_uri, counts, notes)
        for trace in history.traces(experiment.id):
            sink.add_trace(whole(history, trace))
            counts["traces"] += 1
            _files(history, sink, trace.artifact_uri, counts, notes)
    for registered in history.models():
        sink.add_model(registered)
        counts.update(models=1, versions=len(registered.versions))
    for dataset in history.evaluations():
        sink.add_evaluation(dataset, history.records(dataset))
        counts["evaluation datasets"] += 1
    notes.update(sink.notes())
    sink.close()
    return Exported(target=sink.address, counts=dict(counts), notes=dict(notes))


def _files(
    history: History, sink: HistorySink, address: str, counts: Counter[str], notes: Counter[str]
) -> None:
    for file in history.files(address):
        try:
            sink.add_file(address, file.path, history.read(address, file.path))
        except NotFound:
            notes["files that are gone"] += 1
            continue
        counts.update(files=1, bytes=file.size_bytes)
