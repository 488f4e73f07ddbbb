"""What an import hands over at once: one thing with all that belongs to it, as frames of bytes. Pure.

A frame is four bytes of its length and a msgpack value. The first tells what it is, the others are points of
a run, versions of a model or records of a dataset, so that neither side ever holds more than one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, TypeVar

import msgspec

from loopwright.core.errors import Invalid, TooLarge
from loopwright.core.nouns import MetricPoint
from loopwright.ports.histories import (
    PastEvaluation,
    PastExperiment,
    PastLogged,
    PastModel,
    PastRecord,
    PastRun,
    PastTrace,
    PastVersion,
)
from loopwright.tracking.adopting import NewFile

__all__ = [
    "EvaluationParcel",
    "ExperimentParcel",
    "LoggedParcel",
    "ModelParcel",
    "Parcel",
    "RunParcel",
    "TraceParcel",
    "points_of",
    "read_parcel",
    "records_of",
    "versions_of",
    "written",
]

T = TypeVar("T")
_LENGTH = 4
_LARGEST = 64 << 20
"""bytes of a frame: 20,000 points take half a megabyte"""


class _Points(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Points of one metric, by columns."""

    key: str
    at_us: list[int]
    steps: list[int]
    values: list[float]


class ExperimentParcel(msgspec.Struct, frozen=True, kw_only=True, tag="experiment"):
    """An experiment."""

    seen: str
    past: PastExperiment

    @property
    def key(self) -> str:
        """Under which the import remembers it."""
        return f"experiment/{self.past.id}"


class RunParcel(msgspec.Struct, frozen=True, kw_only=True, tag="run"):
    """A run for an experiment that is here; its points follow, its files are objects already."""

    seen: str
    past: PastRun
    into: str
    files: tuple[NewFile, ...] = ()

    @property
    def key(self) -> str:
        """Under which the import remembers it."""
        return f"run/{self.past.experiment_id}/{self.past.id}"


class LoggedParcel(msgspec.Struct, frozen=True, kw_only=True, tag="logged"):
    """A logged model for an experiment that is here."""

    seen: str
    past: PastLogged
    into: str
    files: tuple[NewFile, ...] = ()

    @property
    def key(self) -> str:
        """Under which the import remembers it."""
        return f"logged/{self.past.experiment_id}/{self.past.id}"


class ModelParcel(msgspec.Struct, frozen=True, kw_only=True, tag="model"):
    """A registered model; its versions follow."""

    seen: str
    past: PastModel

    @property
    def key(self) -> str:
        """Under which the import remembers it."""
        return f"model/{self.past.name}"


class TraceParcel(msgspec.Struct, frozen=True, kw_only=True, tag="trace"):
    """A trace for an experiment that is here."""

    seen: str
    past: PastTrace
    into: str
    files: tuple[NewFile, ...] = ()

    @property
    def key(self) -> str:
        """Under which the import remembers it."""
        return f"trace/{self.past.trace.experiment_id}/{self.past.trace.id}"


class EvaluationParcel(msgspec.Struct, frozen=True, kw_only=True, tag="evaluation"):
    """An evaluation dataset for experiments that are here; its records follow."""

    seen: str
    past: PastEvaluation
    into: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Under which the import remembers it."""
        return f"evaluation/{self.past.id}"


Parcel = EvaluationParcel | ExperimentParcel | RunParcel | LoggedParcel | ModelParcel | TraceParcel
_ENCODE = msgspec.msgpack.Encoder().encode
_PARCEL: msgspec.msgpack.Decoder[Parcel] = msgspec.msgpack.Decoder(Parcel)
_POINTS = msgspec.msgpack.Decoder(_Points)
_VERSIONS = msgspec.msgpack.Decoder(list[PastVersion])
_RECORDS = msgspec.msgpack.Decoder(list[PastRecord])


def written(
    parcel: Parcel,
    *,
    points: Iterable[Sequence[MetricPoint]] = (),
    versions: Iterable[Sequence[PastVersion]] = (),
    records: Iterable[Sequence[PastRecord]] = (),
) -> Iterator[bytes]:
    """The frames of a parcel."""
    yield _framed(parcel)
    for batch in points:
        if batch:
            yield _framed(
                _Points(
                    batch[0].key,
                    [point.at_us for point in batch],
                    [point.step for point in batch],
                    [point.value for point in batch],
                )
            )
    for some in versions:
        yield _framed(list(some))
    for each in records:
        yield _framed(list(each))


def _framed(value: object) -> bytes:
    try:
        data = _ENCODE(value)
    except OverflowError as error:
        raise Invalid("a number is out of range", hint="numbers have 64 bits at most") from error
    return len(data).to_bytes(_LENGTH, "big") + data


def read_parcel(file: BinaryIO) -> Parcel:
    """The first frame, which leaves the file at the second; `Invalid` for what is none."""
    found = _read(file, _PARCEL)
    if found is None:
        raise Invalid("the parcel is empty", hint="send it again")
    return found


def points_of(file: BinaryIO) -> Iterator[list[MetricPoint]]:
    """The points in the frames that follow, a batch a frame."""
    while (found := _read(file, _POINTS)) is not None:
        columns = (found.at_us, found.steps, found.values)
        if len({len(column) for column in columns}) > 1:
            raise Invalid("the columns of points differ in length", hint="send the parcel again")
        key = found.key
        yield [
            MetricPoint(key=key, value=value, step=step, at_us=at_us)
            for at_us, step, value in zip(*columns, strict=True)
        ]


def versions_of(file: BinaryIO) -> Iterator[PastVersion]:
    """The versions in the frames that follow."""
    while (found := _read(file, _VERSIONS)) is not None:
        yield from found


def records_of(file: BinaryIO) -> Iterator[list[PastRecord]]:
    """The records in the frames that follow, a batch a frame."""
    while (found := _read(file, _RECORDS)) is not None:
        yield found


def _read(file: BinaryIO, decoder: msgspec.msgpack.Decoder[T]) -> T | None:
    """The next frame, None at the end."""
    head = file.read(_LENGTH)
    if not head:
        return None
    length = int.from_bytes(head, "big")
    if length > _LARGEST:
        raise TooLarge(f"a frame of {length:,} bytes is too large", hint=f"send at most {_LARGEST:,}")
    data = file.read(length)
    if len(head) < _LENGTH or len(data) < length:
        raise Invalid("the parcel ended before it was whole", hint="send it again")
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"the parcel cannot be read: {error}", hint="send it again") from error
