"""Listeners are told of what was committed at once, and together of what they are patient with."""

from __future__ import annotations

import threading
import time

import pytest

from loopwright.adapters.sql import feed
from loopwright.adapters.sql.feed import CommitFeed
from loopwright.core.nouns import Event
from loopwright.testing import ledger_values as make

MANY = 40


class _Listener:
    """Keeps what it is told, and says when it was told of so many events."""

    def __init__(self, wanted: int) -> None:
        self.told: list[tuple[Event, ...]] = []
        self.enough = threading.Event()
        self._wanted = wanted

    def __call__(self, events: tuple[Event, ...]) -> None:
        self.told.append(events)
        if len(self.ids()) >= self._wanted:
            self.enough.set()

    def ids(self) -> list[str]:
        return [event.id for events in self.told for event in events]


def _run(id: str) -> tuple[Event, ...]:
    return (make.event(id, kind="run.started"),)


def test_events_that_can_wait_are_told_together_each_once_and_in_order() -> None:
    """At most one telling for each 20 ms that they took, and one before and one behind."""
    commits, listener = CommitFeed(), _Listener(MANY)
    commits.subscribe(listener, patient=("run.",))
    names = [f"{number}" for number in range(MANY)]
    begun = time.monotonic()
    for name in names:
        commits.offer(_run(name))
        time.sleep(0.001)
    assert listener.enough.wait(20)
    taken = time.monotonic() - begun
    commits.close()
    assert listener.ids() == names
    assert len(listener.told) <= taken / 0.02 + 2


@pytest.fixture
def long_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can wait would wait for a minute."""
    monkeypatch.setattr(feed, "_GATHER_S", 60.0)


@pytest.mark.usefixtures("long_wait")
def test_one_that_cannot_wait_brings_those_before_it() -> None:
    """It is told at once, behind what was held back."""
    commits, listener = CommitFeed(), _Listener(4)
    commits.subscribe(listener, patient=("run.",))
    for name in ("first", "second", "third"):
        commits.offer(_run(name))
    commits.offer((make.event("access", kind="access.granted"),))
    assert listener.enough.wait(20)
    assert listener.ids() == ["first", "second", "third", "access"]
    commits.close()


@pytest.mark.usefixtures("long_wait")
def test_all_listeners_have_to_be_patient() -> None:
    """One that is not is told at once, as are the others."""
    commits, patient, hasty = CommitFeed(), _Listener(2), _Listener(2)
    commits.subscribe(patient, patient=("run.",))
    end = commits.subscribe(hasty)
    commits.offer(_run("first"))
    commits.offer(_run("second"))
    assert hasty.enough.wait(20)
    end()
    commits.close()
    assert patient.ids() == hasty.ids() == ["first", "second"]


@pytest.mark.usefixtures("long_wait")
def test_what_was_committed_before_the_end_is_told_without_waiting() -> None:
    """Nothing that was offered is lost, and an end waits for no pause."""
    commits, listener = CommitFeed(), _Listener(2)
    commits.subscribe(listener, patient=("run.",))
    commits.offer(_run("first"))
    commits.offer((*_run("second"), *_run("third")))
    commits.close()
    assert listener.ids() == ["first", "second", "third"]
