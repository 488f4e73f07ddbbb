"""Kafka's protocol, read by offset: partitions are assigned, nothing is committed there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from loopwright.core.errors import Conflict, Invalid, NotFound, Unavailable
from loopwright.ports.sources import Origin, Record

__all__ = ["KafkaStream"]

_TIMEOUT_S = 10.0
_STALL_S = 30.0
_TURN_S = 0.05
_OURS = frozenset(
    {"bootstrap.servers", "group.id", "enable.auto.commit", "auto.offset.reset", "isolation.level"}
)


class KafkaStream:
    """Fulfils `ports.sources.RecordStream` by `kafka://host:port,host:port/topic`.

    Only what transactions committed is read. Options are those of librdkafka's client, such as
    `security.protocol` and `sasl.password`. Values are JSON objects; a record without one counts as empty.
    """

    def __init__(self, origin: Origin) -> None:
        try:
            import confluent_kafka as kafka
        except ImportError as error:
            raise Unavailable(
                "the client of Kafka is not installed", hint='pip install "loopwright[kafka]"'
            ) from error
        parts = urlsplit(origin.address)
        self._topic = parts.path.strip("/")
        if not self._topic or not parts.netloc:
            raise Invalid("the address names no topic", hint="kafka://host:9092/TOPIC")
        if clash := sorted(_OURS & origin.options.keys()):
            raise Invalid(f"the option {clash[0]!r} is not yours to set", hint="leave it out")
        self._kafka = kafka
        settings = {
            **origin.options,
            "bootstrap.servers": parts.netloc,
            "group.id": "loopwright",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 50,
            "log_level": 2,
        }
        with self._translated():
            self._consumer: Any = kafka.Consumer(settings)

    def read(self, offsets: Mapping[str, str], most: int) -> Sequence[Record]:
        """Records of all partitions up to the ends they had when the call began."""
        with self._translated():
            ends = self._ends(offsets)
            starts = {part: start for part, (start, end) in ends.items() if start < end}
            if not starts:
                return []
            place = self._kafka.TopicPartition
            self._consumer.assign([place(self._topic, part, start) for part, start in starts.items()])
            try:
                return self._consumed(starts.keys(), {part: end for part, (_, end) in ends.items()}, most)
            finally:
                self._consumer.unassign()

    def close(self) -> None:
        """Leave."""
        self._consumer.close()

    def _ends(self, offsets: Mapping[str, str]) -> dict[int, tuple[int, int]]:
        """Where each partition is read from, and to."""
        told = self._consumer.list_topics(self._topic, timeout=_TIMEOUT_S).topics[self._topic]
        if told.error is not None or not told.partitions:
            raise NotFound(f"there is no topic {self._topic!r}", hint="look at its name")
        found: dict[int, tuple[int, int]] = {}
        for part in sorted(told.partitions):
            low, high = self._consumer.get_watermark_offsets(
                self._kafka.TopicPartition(self._topic, part), timeout=_TIMEOUT_S
            )
            start = int(offsets[str(part)]) if str(part) in offsets else low
            if not low <= start <= high:
                raise Conflict(
                    f"records of {self._topic!r}, partition {part}, are gone: offset {start} was next, and "
                    f"{low} to {high} are there",
                    hint="forget its place to begin anew",
                )
            found[part] = (start, high)
        return found

    def _consumed(self, parts: Any, ends: Mapping[int, int], most: int) -> list[Record]:
        waiting, found = set(parts), list[Record]()
        patience = time.monotonic() + _STALL_S
        while waiting and len(found) < most:
            for message in self._consumer.consume(min(most - len(found), 1_000), timeout=_TURN_S):
                patience = time.monotonic() + _STALL_S
                self._take(message, waiting, ends, found)
            if time.monotonic() > patience:
                raise Unavailable(f"the topic {self._topic!r} gives nothing", hint="look at its brokers")
        return found

    def _take(self, message: Any, waiting: set[int], ends: Mapping[int, int], found: list[Record]) -> None:
        part = message.partition()
        error = message.error()
        if error is not None:
            if error.code() != self._kafka.KafkaError._PARTITION_EOF:
                raise self._kafka.KafkaException(error)
            waiting.discard(part)
            return
        following = message.offset() + 1
        if following <= ends[part]:
            found.append(Record(part=str(part), offset=str(following), value=message.value() or b""))
        if following >= ends[part]:
            waiting.discard(part)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._kafka.KafkaException as error:
            said = (
                str(error.args[0].str())
                if error.args and hasattr(error.args[0], "str")
                else "no reason given"
            )
            raise Unavailable(
                f"the topic {self._topic!r} cannot be read: {said[:150]}",
                hint="look at the brokers' addresses, and whether they let you in",
            ) from None
