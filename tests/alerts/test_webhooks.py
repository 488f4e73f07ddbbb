"""Webhooks: each thing is told once, tried again while it may pass, and a secret is nowhere to be read."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import timedelta

import msgspec
import pytest

from loopwright.alerts import deliveries, react, verbs
from loopwright.alerts.nouns import EVENTS, Delivery, WebhookStatus
from loopwright.core.errors import Invalid, LoopwrightError, NotFound, Unavailable
from loopwright.engine.context import Context
from loopwright.engine.jobs import Worker
from loopwright.engine.operation import handlers_in, reactors_in
from loopwright.engine.relay import Relay
from loopwright.ports.courier import Parcel, Receipt
from loopwright.ports.ledger import PageRequest
from loopwright.registry import registered, versions
from loopwright.registry.nouns import NewVersion
from loopwright.testing.builders import SetClock, memory_context, memory_ports

SECRET = "tell nobody of this"
URL = "https://hooks.example.com/x"


class Post:
    """A courier that keeps what it was given and answers as it was told, 200 at last."""

    def __init__(self) -> None:
        self.sent: list[Parcel] = []
        self.answers: list[int | LoopwrightError] = []

    def check(self, url: str) -> None:
        if "inside" in url:
            raise Invalid("the webhook's URL leads to a machine inside", where="url")

    def post(self, parcel: Parcel) -> Receipt:
        self.sent.append(parcel)
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, LoopwrightError):
            raise answer
        return Receipt(status=answer, body="noted")

    def said(self) -> list[tuple[str, dict[str, object]]]:
        found = [json.loads(each.body) for each in self.sent]
        return [(f"{each['entity']}.{each['action']}", each["data"]) for each in found]


class House:
    """A workspace in memory with its relay and its queue."""

    def __init__(self) -> None:
        self.clock, self.post = SetClock(), Post()
        self.ctx: Context = memory_context(memory_ports(clock=self.clock, courier=self.post))
        self._relay = Relay(self.ctx, reactors_in([react]), context_for=lambda event: self.ctx)
        handlers = handlers_in([deliveries])
        self._worker = Worker(self.ctx, handlers, name="w", context_for=lambda job: self.ctx)

    def settle(self) -> None:
        """Do what is due now."""
        while self._relay.step() or self._worker.step():
            pass

    def wait(self, seconds: float = 3600) -> None:
        """Let time pass, second by second at first, and do what falls due."""
        for _ in range(8):
            self.clock.advance(timedelta(seconds=seconds / 8))
            self.settle()

    def log(self, webhook_id: str) -> list[Delivery]:
        return list(verbs.deliveries(self.ctx, webhook_id).items)


@pytest.fixture
def house() -> House:
    return House()


def _all(house: House) -> str:
    return verbs.create(house.ctx, "all", URL, tuple(EVENTS), secret=SECRET).id


def test_what_happens_to_models_is_told_in_order(house: House) -> None:
    _all(house)
    ctx = house.ctx
    registered.create(ctx, "delay", tags={"a": "b"}, description="d")
    versions.create(ctx, "delay", NewVersion(source="s3://bucket/m", tags={"x": "y"}))
    versions.set_tag(ctx, "delay", 1, "stage", "tested")
    house.settle()
    versions.unset_tag(ctx, "delay", 1, "stage")
    versions.set_alias(ctx, "delay", "champion", 1)
    versions.unset_alias(ctx, "delay", "champion")
    registered.set_tag(ctx, "delay", "untold", "1")
    versions.describe(ctx, "delay", 1, "untold too")
    house.settle()
    told = [event for event, _ in house.post.said()]
    assert told == [
        "registered_model.created",
        "model_version.created",
        "model_version_tag.set",
        "model_version_tag.deleted",
        "model_version_alias.created",
        "model_version_alias.deleted",
    ]
    assert house.post.said()[2][1] == {"name": "delay", "version": "1", "key": "stage", "value": "tested"}


def test_a_tag_that_came_and_went_at_once_is_told_of_twice(house: House) -> None:
    _all(house)
    registered.create(house.ctx, "delay")
    versions.create(house.ctx, "delay", NewVersion(source="s3://bucket/m"))
    versions.set_tag(house.ctx, "delay", 1, "stage", "tested")
    versions.unset_tag(house.ctx, "delay", 1, "stage")
    house.settle()
    assert [event for event, _ in house.post.said()][2:] == [
        "model_version_tag.set",
        "model_version_tag.deleted",
    ]


def test_a_line_that_is_handed_over_again_is_told_once(house: House) -> None:
    _all(house)
    registered.create(house.ctx, "delay")
    with house.ctx.read() as tx:
        lines = tx.journal.read(0, 100)
    for event in [line for line in lines if line.kind == "asset.created"] * 3:
        react.on_change(house.ctx, event)
    house.settle()
    assert len(house.post.sent) == 1


def test_each_post_is_signed_as_its_receivers_check_it(house: House) -> None:
    _all(house)
    house.post.answers = [503]
    registered.create(house.ctx, "delay")
    house.wait()
    first, second = (dict(each.headers) for each in house.post.sent)
    assert first["X-MLflow-Delivery-Id"] == second["X-MLflow-Delivery-Id"]
    assert int(first["X-MLflow-Timestamp"]) < int(second["X-MLflow-Timestamp"])
    assert house.post.sent[0].body == house.post.sent[1].body
    for sent, headers in zip(house.post.sent, (first, second), strict=True):
        what = f"{headers['X-MLflow-Delivery-Id']}.{headers['X-MLflow-Timestamp']}.{sent.body.decode()}"
        digest = hmac.new(SECRET.encode(), what.encode(), hashlib.sha256).digest()
        assert headers["X-MLflow-Signature"] == f"v1,{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 408])
def test_what_may_pass_is_tried_again_and_given_up_at_last(house: House, status: int) -> None:
    made = _all(house)
    house.post.answers = [status] * 100
    registered.create(house.ctx, "delay")
    house.settle()
    assert len(house.post.sent) == 1
    house.wait(4000)
    assert len(house.post.sent) == deliveries.ATTEMPTS
    log = house.log(made)
    assert [each.attempt for each in log] == [6, 5, 4, 3, 2, 1]
    assert [each.is_last for each in log] == [True, *[False] * 5]
    assert {each.status for each in log} == {status}
    assert verbs.show(house.ctx, made).failures == 1


@pytest.mark.parametrize("answer", [400, 401, 404, 410, 301, Invalid("the webhook's URL leads inside")])
def test_what_will_not_pass_is_not_tried_again(house: House, answer: int | LoopwrightError) -> None:
    made = _all(house)
    house.post.answers = [answer]
    registered.create(house.ctx, "delay")
    house.wait()
    (only,) = house.log(made)
    assert len(house.post.sent) == 1
    assert (only.ok, only.is_last) == (answer == 301, True)


def test_a_webhook_that_always_fails_is_disabled_with_a_reason_and_can_begin_anew(house: House) -> None:
    made = _all(house)
    for n in range(12):
        house.post.answers = [404]
        registered.create(house.ctx, f"m{n}")
        house.settle()
    found = verbs.show(house.ctx, made)
    assert (found.status, len(house.post.sent)) == (WebhookStatus.DISABLED, 10)
    assert "10 deliveries in a row" in found.reason
    assert "404" in found.reason
    again = verbs.update(house.ctx, made, status=WebhookStatus.ACTIVE)
    assert (again.status, again.reason, again.failures) == (WebhookStatus.ACTIVE, "", 0)
    house.post.answers = []
    registered.create(house.ctx, "last")
    house.settle()
    assert house.log(made)[0].ok


def test_one_success_between_makes_failures_begin_anew(house: House) -> None:
    made = _all(house)
    for n in range(25):
        house.post.answers = [404] if n % 9 else []
        registered.create(house.ctx, f"m{n}")
        house.settle()
    assert verbs.show(house.ctx, made).status is WebhookStatus.ACTIVE


def test_a_secret_is_nowhere_to_be_read(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    made = _all(house)
    house.post.answers = [Unavailable("nobody is there"), 503, 500]
    registered.create(house.ctx, "delay")
    house.wait()
    shown = [
        verbs.show(house.ctx, made),
        verbs.webhooks(house.ctx),
        verbs.update(house.ctx, made, description="x"),
        verbs.try_webhook(house.ctx, made),
        house.log(made),
    ]
    kept = msgspec.json.encode(shown).decode() + caplog.text
    with house.ctx.read() as tx:
        kept += msgspec.json.encode(tx.journal.read(0, 1000)).decode()
        kept += msgspec.json.encode(tx.jobs.page("default", PageRequest(limit=100)).items).decode()
        kept += msgspec.json.encode(tx.assets.page("default", None, PageRequest(limit=100)).items).decode()
        for collection in ("webhook_secrets", "webhook_states", "webhook_deliveries", "relay"):
            kept += msgspec.json.encode(tx.documents.all("default", collection)).decode()
    assert SECRET not in kept
    with pytest.raises(Invalid) as refused:
        verbs.update(house.ctx, made, secret=SECRET * 100)
    assert SECRET not in str(refused.value)
    verbs.delete(house.ctx, made)
    with house.ctx.read() as tx:
        assert tx.documents.all("default", "webhook_secrets") == {}


def test_a_secret_can_be_changed_and_taken_away(house: House) -> None:
    made = _all(house)
    assert verbs.update(house.ctx, made, name="other").has_secret
    assert not verbs.update(house.ctx, made, secret="").has_secret
    registered.create(house.ctx, "delay")
    house.settle()
    assert "X-MLflow-Signature" not in dict(house.post.sent[0].headers)


def test_what_is_deleted_or_disabled_meanwhile_is_told_nothing(house: House) -> None:
    one, two = _all(house), _all(house)
    house.post.answers = [503, 503]
    registered.create(house.ctx, "delay")
    house.settle()
    verbs.delete(house.ctx, one)
    verbs.update(house.ctx, two, status=WebhookStatus.DISABLED)
    house.wait()
    assert len(house.post.sent) == 2
    with pytest.raises(NotFound):
        verbs.show(house.ctx, one)


def test_another_space_is_told_nothing(house: House) -> None:
    _all(house)
    other = Context(house.ctx.ports, principal=house.ctx.principal, space="other")
    registered.create(other, "delay")
    with other.read() as tx:
        line = next(each for each in tx.journal.read(0, 100, space="other") if each.kind == "asset.created")
    react.on_change(other, line)
    house.settle()
    assert house.post.sent == []
    assert verbs.webhooks(other).items == ()


def test_addresses_inside_are_refused_when_chosen_and_when_changed_to(house: House) -> None:
    with pytest.raises(Invalid):
        verbs.create(house.ctx, "x", "https://inside/", ("prompt.created",))
    made = _all(house)
    with pytest.raises(Invalid):
        verbs.update(house.ctx, made, address="https://inside/")
    assert verbs.show(house.ctx, made).url == URL
    assert len(verbs.webhooks(house.ctx).items) == 1


def test_every_event_can_be_tested_and_pages_go_on(house: House) -> None:
    made = [_all(house) for _ in range(5)]
    for event in EVENTS:
        assert verbs.try_webhook(house.ctx, made[0], event=event).ok
    assert [event for event, _ in house.post.said()] == list(EVENTS)
    found: list[str] = []
    token = ""
    while True:
        page = verbs.webhooks(house.ctx, limit=2, token=token)
        found += [each.id for each in page.items]
        token = page.next_token
        if not token:
            break
    assert found == made[::-1]


def test_the_log_keeps_the_newest_and_pages_through_them(house: House) -> None:
    made = _all(house)
    for n in range(220):
        registered.create(house.ctx, f"m{n}")
    house.settle()
    seen: list[Delivery] = []
    token = ""
    while True:
        page = verbs.deliveries(house.ctx, made, limit=70, token=token)
        seen += page.items
        token = page.next_token
        if not token:
            break
    assert (len(house.post.sent), len(seen), len({each.id for each in seen})) == (220, 200, 200)
