"""Histories of experiments that others keep: read wherever they are, written where others read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from loopwright.core.nouns import Json, MetricPoint
from loopwright.core.traces import Assessment, Span, Trace

__all__ = [
    "HOOKS",
    "STEPS_FILE",
    "Contents",
    "History",
    "HistorySink",
    "PastDataset",
    "PastEvaluation",
    "PastExperiment",
    "PastFile",
    "PastLogged",
    "PastModel",
    "PastModelPoint",
    "PastOutput",
    "PastRecord",
    "PastRun",
    "PastTrace",
    "PastVersion",
    "at_us",
]

_LARGEST = 1 << 63
_ARTIFACTS = "mlflow.artifactLocation"
STEPS_FILE = "traces.json"
"""a trace's steps among its files, where a store keeps them so"""
HOOKS = "webhooks, whose secrets no store tells: make them here"
"""why webhooks are left out of what a history tells"""


def at_us(millis: int) -> int:
    """Microseconds of milliseconds; a time that has none in 64 bits is one that no store takes (2^63)."""
    found = millis * 1000
    return found if -_LARGEST <= found < _LARGEST else _LARGEST


class PastExperiment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An experiment as its store tells it; times in milliseconds since 1970."""

    id: str
    name: str
    artifact_location: str = ""
    created_ms: int | None = None
    updated_ms: int | None = None
    is_deleted: bool = False
    tags: dict[str, str] = {}


class PastDataset(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A dataset that a run read, and the tags of its reading."""

    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str | None = None
    profile: str | None = None
    tags: dict[str, str] = {}


class PastOutput(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A logged model that a run made, and at which step."""

    model_id: str
    step: int = 0


class PastRun(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run but for the points of its metrics and its files."""

    id: str
    experiment_id: str
    name: str = ""
    user: str = ""
    status: str
    """RUNNING, SCHEDULED, FINISHED, FAILED, KILLED"""
    started_ms: int | None = None
    ended_ms: int | None = None
    is_deleted: bool = False
    deleted_ms: int | None = None
    artifact_uri: str = ""
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    latest: tuple[MetricPoint, ...] = ()
    """the newest point of each metric, by name"""
    datasets: tuple[PastDataset, ...] = ()
    model_inputs: tuple[str, ...] = ()
    model_outputs: tuple[PastOutput, ...] = ()


class PastModelPoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One point that a run measured of a logged model, perhaps on a dataset."""

    run_id: str
    key: str
    value: float | str
    """a word for a number that JSON has none for: NaN, Infinity, -Infinity"""
    step: int = 0
    at_ms: int = 0
    dataset_name: str = ""
    dataset_digest: str = ""


class PastLogged(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A logged model with all that was measured of it."""

    id: str
    experiment_id: str
    name: str
    model_type: str = ""
    status: str
    """PENDING, READY, FAILED"""
    created_ms: int
    updated_ms: int
    is_deleted: bool = False
    source_run_id: str = ""
    artifact_uri: str = ""
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    points: tuple[PastModelPoint, ...] = ()


class PastVersion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A version of a registered model."""

    number: int
    created_ms: int
    updated_ms: int
    user: str = ""
    description: str = ""
    stage: str = ""
    """Staging, Production, Archived, or empty for none"""
    source: str = ""
    storage: str = ""
    """where its files are, where that is not the source"""
    run_id: str = ""
    run_link: str = ""
    status: str = "READY"
    tags: dict[str, str] = {}


class PastModel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A registered model, or a prompt, with its versions by number; numbers may have gaps."""

    name: str
    created_ms: int
    updated_ms: int
    description: str = ""
    tags: dict[str, str] = {}
    aliases: dict[str, int] = {}
    versions: tuple[PastVersion, ...] = ()


class PastTrace(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A trace with its steps and with what was said of it; whose space is told is of no account."""

    trace: Trace
    spans: tuple[Span, ...] = ()
    assessments: tuple[Assessment, ...] = ()
    runs: tuple[str, ...] = ()
    """runs it was linked to"""
    prompts: tuple[str, ...] = ()
    """versions of prompts it was linked to, each `name/version`"""

    @property
    def artifact_uri(self) -> str:
        """Where its files are; empty where its store tells of no such place."""
        return self.trace.tags.get(_ARTIFACTS, "")


class PastRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A record of an evaluation dataset."""

    id: str
    inputs: Json
    outputs: Any = None
    expectations: Json | None = None
    tags: Json | None = None
    source: Json | None = None
    """`source_type` and `source_data`"""
    created_ms: int
    updated_ms: int
    created_by: str = ""
    updated_by: str = ""


class PastEvaluation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An evaluation dataset without its records."""

    id: str
    name: str
    columns: Json | None = None
    """types of inputs, outputs and expectations by name"""
    created_ms: int
    updated_ms: int
    created_by: str = ""
    updated_by: str = ""
    tags: dict[str, str] = {}
    experiments: tuple[str, ...] = ()


class PastFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file below an address, by its path from there; the digest (BLAKE3) where the store knows it."""

    path: str
    size_bytes: int
    digest: str = ""


class Contents(Protocol):
    """Files behind addresses. Nothing but what was declared is ever read, however addresses are spelled."""

    def files(self, address: str) -> Iterator[PastFile]:
        """The files below an address, however deep, by path; none where nothing is there.

        `Denied` for an address outside what may be read, `Unavailable` when the store does not answer.
        """

    def read(self, address: str, path: str) -> Iterator[bytes]:
        """A file in pieces of at most a few megabytes; `NotFound` when it is gone, else as `files`."""


class History(Contents, Protocol):
    """A whole history, read only, in flat memory. Iterators are of one thread; a run's points come once.

    What is read is told as it stands, however odd: whoever takes it in checks it. `Unavailable` when the
    store does not answer, `Invalid` when it is none.
    """

    address: str
    """which store, without secrets; the same store has the same address"""
    version: str
    """what wrote it, as far as it tells: `mlflow 3.17.2`, `schema 5b0e9adcef9c`"""
    readers: int
    """how many threads may ask for points and files at once"""
    cuts_traces: bool
    """whether it tells only the first 250 characters of a trace's metadata, and 4,096 of its tags"""

    def experiments(self) -> Iterator[PastExperiment]:
        """All of them, deleted ones too, by id."""

    def runs(self, experiment_id: str) -> Iterator[PastRun]:
        """All of an experiment, deleted ones too, in an order that does not change."""

    def points(self, run: PastRun) -> Iterator[Sequence[MetricPoint]]:
        """Every point of every metric of a run, in batches of one metric each."""

    def logged_models(self, experiment_id: str) -> Iterator[PastLogged]:
        """The logged models of an experiment."""

    def traces(self, experiment_id: str) -> Iterator[PastTrace]:
        """The traces of an experiment, perhaps without their steps: those are in `steps_file` then."""

    def steps_file(self, trace: PastTrace) -> bytes:
        """The file of a trace's steps as MLflow's clients write it (`traces.json`); empty for none.

        Asked of a trace that was told without steps; by several threads, as points are.
        """

    def evaluations(self) -> Iterator[PastEvaluation]:
        """The evaluation datasets; none where the store knows none."""

    def records(self, dataset: PastEvaluation) -> Iterator[Sequence[PastRecord]]:
        """The records of an evaluation dataset, some at a time."""

    def models(self) -> Iterator[PastModel]:
        """Registered models and prompts, by name."""

    def left_out(self) -> Mapping[str, int]:
        """What is there and is not told by any of these: why, and how many."""

    def close(self) -> None:
        """Let go of files and connections."""


class HistorySink(Protocol):
    """A fresh store that others open; what is given in first may be named by what comes later.

    The store is unusable until `close` returns without an error.
    """

    address: str

    def add_experiment(self, experiment: PastExperiment) -> str:
        """Keep an experiment; gives the id it has there, which may be another."""

    def add_run(self, run: PastRun, points: Iterable[Sequence[MetricPoint]]) -> None:
        """Keep a run with all its points; its id stays."""

    def add_logged(self, model: PastLogged) -> None:
        """Keep a logged model."""

    def add_trace(self, trace: PastTrace) -> None:
        """Keep a trace."""

    def add_evaluation(self, dataset: PastEvaluation, records: Iterable[Sequence[PastRecord]]) -> None:
        """Keep an evaluation dataset with its records."""

    def add_model(self, model: PastModel) -> None:
        """Keep a registered model with its versions."""

    def add_file(self, address: str, path: str, pieces: Iterable[bytes]) -> None:
        """Keep a file below the address that a run, a logged model or a trace told of."""

    def notes(self) -> Mapping[str, int]:
        """What the store could not keep, and how often."""

    def close(self) -> None:
        """Finish the store."""
