"""Streams of records hold to one contract: in memory, on a real Valkey, and over Kafka's protocol.

The broker is the one that librdkafka ships for tests of clients: it speaks the protocol over TCP.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping

import confluent_kafka
import msgspec
import pytest
import redis
from confluent_kafka.admin import AdminClient

from loopwright.adapters.streams.kafka import KafkaStream
from loopwright.adapters.streams.redis import RedisStream
from loopwright.core.errors import Invalid, NotFound, Unavailable
from loopwright.ports.sources import Origin, RecordStream
from loopwright.testing.record_streams import MemoryStream, RecordStreamSuite

pytest_plugins = ["loopwright.testing.valkey"]


class TestMemory(RecordStreamSuite):
    @pytest.fixture(autouse=True)
    def _stream(self) -> None:
        self.stream = MemoryStream()

    def make(self) -> RecordStream:
        return self.stream

    def write(self, *values: Mapping[str, object]) -> None:
        self.stream.records += [msgspec.json.encode(value) for value in values]


class TestRedis(RecordStreamSuite):
    @pytest.fixture(autouse=True)
    def _stream(self, valkey_url: str) -> Iterator[None]:
        self.url, self.name = valkey_url, f"s{uuid.uuid4().hex}"
        self.client = redis.Redis.from_url(valkey_url)
        yield
        self.client.close()

    def make(self) -> RecordStream:
        return RedisStream(Origin(address=f"{self.url}/0/{self.name}"))

    def write(self, *values: Mapping[str, object]) -> None:
        for value in values:
            self.client.xadd(self.name, {name: str(text) for name, text in value.items()})

    def beyond(self, offset: str) -> str:
        return f"{int(offset.partition('-')[0]) + 10**9}-0"

    def test_a_field_may_hold_the_record_as_json(self) -> None:
        self.client.xadd(self.name, {"payload": b'{"a": 1.5, "b": null}', "other": "x"})
        stream = RedisStream(Origin(address=f"{self.url}/0/{self.name}", options={"field": "payload"}))
        assert self.values(stream.read({}, 1)) == [{"a": 1.5, "b": None}]
        stream.close()

    def test_a_key_of_another_type_and_bytes_are_refused(self) -> None:
        with pytest.raises(NotFound, match="there is no stream"):
            self.make().read({}, 1)
        self.client.set(self.name, "x")
        with pytest.raises(NotFound, match="there is no stream"):
            self.make().read({}, 1)
        self.client.delete(self.name)
        self.client.xadd(self.name, {"a": b"\xff\xfe"})
        with pytest.raises(Invalid, match="UTF-8"):
            self.make().read({}, 1)


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    keeper = AdminClient({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0})
    (found,) = keeper.list_topics(timeout=10).brokers.values()
    yield f"{found.host}:{found.port}"
    del keeper


class TestKafka(RecordStreamSuite):
    has_order = False

    @pytest.fixture(autouse=True)
    def _stream(self, broker: str) -> None:
        self.broker, self.topic = broker, f"t{uuid.uuid4().hex}"
        self.producer = confluent_kafka.Producer({"bootstrap.servers": broker, "log_level": 0})

    def make(self) -> RecordStream:
        return KafkaStream(Origin(address=f"kafka://{self.broker}/{self.topic}"))

    def write(self, *values: Mapping[str, object]) -> None:
        for value in values:
            self.producer.produce(self.topic, msgspec.json.encode(value))
        assert self.producer.flush(10) == 0


def test_a_server_that_is_not_there_is_unavailable_and_passwords_are_not_told() -> None:
    stream = RedisStream(Origin(address="redis://:hunter2@127.0.0.1:1/0/s"))
    with pytest.raises(Unavailable) as told:
        stream.read({}, 1)
    assert "hunter2" not in str(told.value)


@pytest.mark.parametrize(
    "address", ["redis://127.0.0.1:1", "redis://127.0.0.1:1/x/s", "redis://127.0.0.1:1/0/"]
)
def test_an_address_without_a_stream_is_invalid(address: str) -> None:
    with pytest.raises(Invalid):
        RedisStream(Origin(address=address))


def test_what_makes_reading_exact_is_not_the_callers_to_set() -> None:
    with pytest.raises(Invalid, match=r"enable\.auto\.commit"):
        KafkaStream(Origin(address="kafka://127.0.0.1:1/t", options={"enable.auto.commit": True}))
