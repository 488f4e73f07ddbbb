"""What every stream of records must do, and one in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import msgspec
import pytest

from loopwright.core.errors import Conflict
from loopwright.ports.sources import Record, RecordStream

__all__ = ["MemoryStream", "RecordStreamSuite"]


class MemoryStream:
    """A stream of one partition, kept in a list."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.gone = 0
        """how many of the first ones are gone"""

    def read(self, offsets: Mapping[str, str], most: int) -> Sequence[Record]:
        """Those after the offset."""
        start = int(offsets.get("0", str(self.gone)))
        if not self.gone <= start <= len(self.records):
            raise Conflict("records are gone", hint="begin anew")
        return [
            Record(part="0", offset=str(at + 1), value=self.records[at])
            for at in range(start, min(len(self.records), start + most))
        ]

    def close(self) -> None:
        """Nothing is held."""


class RecordStreamSuite(ABC):
    """The contract of `ports.sources.RecordStream`. A backend's test makes streams and writes to them."""

    has_order = True
    """whether the stream is one partition, so that its records have one order"""

    @abstractmethod
    def make(self) -> RecordStream:
        """The stream, of a name of its own in every test, with something written to it before or not."""

    @abstractmethod
    def write(self, *values: Mapping[str, object]) -> None:
        """Add records to it."""

    def values(self, records: Sequence[Record]) -> list[object]:
        """The records' values, in order where there is one."""
        found = [msgspec.json.decode(record.value) for record in records]
        return found if self.has_order else sorted(found, key=str)

    def test_records_are_read_from_the_beginning(self) -> None:
        self.write({"a": "1"}, {"a": "2"})
        stream = self.make()
        assert self.values(stream.read({}, 10)) == [{"a": "1"}, {"a": "2"}]
        stream.close()

    def test_reading_goes_on_after_the_offsets_and_is_repeatable(self) -> None:
        self.write({"a": "1"}, {"a": "2"})
        stream = self.make()
        first = stream.read({}, 10)
        offsets = {record.part: record.offset for record in first}
        assert list(stream.read(offsets, 10)) == []
        self.write({"a": "3"})
        assert self.values(stream.read(offsets, 10)) == [{"a": "3"}]
        assert self.values(stream.read(offsets, 10)) == [{"a": "3"}]
        assert len(stream.read({}, 10)) == 3
        stream.close()

    def test_no_more_are_read_than_asked_and_none_is_lost_between(self) -> None:
        self.write(*({"n": str(n)} for n in range(57)))
        stream = self.make()
        offsets: dict[str, str] = {}
        found: list[Record] = []
        while records := stream.read(offsets, 10):
            assert len(records) <= 10
            found += records
            offsets |= {record.part: record.offset for record in records}
        assert sorted(int(value["n"]) for value in self.values(found)) == list(range(57))  # type: ignore[index] # objects
        stream.close()

    def test_what_ended_before_the_offsets_is_another_stream(self) -> None:
        self.write({"a": "1"})
        stream = self.make()
        (record,) = stream.read({}, 10)
        beyond = {record.part: self.beyond(record.offset)}
        with pytest.raises(Conflict):
            stream.read(beyond, 10)
        stream.close()

    def beyond(self, offset: str) -> str:
        """An offset that was never given."""
        return str(int(offset) + 1_000)
