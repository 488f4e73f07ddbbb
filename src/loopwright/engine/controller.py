"""Keeps a workspace going: schedules, reactors and jobs, led by one process at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from functools import partial

from loopwright.core.errors import LoopwrightError
from loopwright.core.instants import format_instant, parse_instant
from loopwright.core.nouns import Event
from loopwright.engine.context import Context
from loopwright.engine.jobs import Worker
from loopwright.engine.relay import Relay
from loopwright.engine.schedule import fire_due
from loopwright.ports.ledger import Transaction

__all__ = ["Controller"]

log = logging.getLogger(__name__)

_LEASE_S = 10.0
_PAUSE_S = 1.0
_JOBS = "job."
_GATHER_S = 0.02
"""what is committed shortly after one another is looked at together"""


class Controller:
    """Runs `schedule -> relay -> jobs`, either in a thread of its own or step by step under a replay.

    Several processes may have one: the one that holds the lease runs reactors and schedules, all run jobs.
    """

    def __init__(
        self,
        ctx: Context,
        relay: Relay,
        worker: Worker,
        *,
        name: str,
        every_minute: Callable[[], None],
        beside: Sequence[Worker] = (),
    ) -> None:
        self._ctx = ctx
        self._relay = relay
        self._worker = worker
        self._name = name
        self._every_minute = every_minute
        self._beside = tuple(beside)
        """workers of jobs that wait for others, a thread each: no receiver can hold schedules up"""
        self._stop = threading.Event()
        self._work = threading.Event()
        self._errands = tuple(threading.Event() for _ in self._beside)
        self._threads: list[threading.Thread] = []

    def settle(self) -> int:
        """Do all that is due at this instant, in this thread; how many steps were needed."""
        steps = 0
        while self._round() or any(worker.step() for worker in self._beside):
            steps += 1
        return steps

    def _round(self) -> bool:
        busy = False
        if self._leads():
            busy = fire_due(self._ctx) > 0
            busy = self._relay.step() > 0 or busy
        while self._worker.step():
            busy = True
        return busy

    def _leads(self) -> bool:
        """Whether this process holds the lease, taking it when it is free or has ended."""
        wall = self._ctx.ports.clock.wall()
        with self._ctx.read() as tx:
            body = tx.documents.get("default", "leases", "controller")
        if body is not None and body["holder"] == self._name:
            fresh = parse_instant(body["until"]) - wall > timedelta(seconds=_LEASE_S / 2)
            return fresh or self._ctx.write(self._take)
        if body is not None and parse_instant(body["until"]) > wall:
            return False
        return self._ctx.write(self._take)

    def take_over(self) -> None:
        """Hold the lease from now on, however long another one's lasts: its process is known to be gone."""
        self._ctx.write(partial(self._take, is_alone=True))

    def _take(self, tx: Transaction, *, is_alone: bool = False) -> bool:
        wall = self._ctx.ports.clock.wall()
        body = tx.documents.get("default", "leases", "controller")
        is_held = body is not None and body["holder"] != self._name and parse_instant(body["until"]) > wall
        if is_held and not is_alone:
            return False
        until = format_instant(wall + timedelta(seconds=_LEASE_S))
        tx.documents.put("default", "leases", "controller", {"holder": self._name, "until": until})
        return True

    def _resign(self, tx: Transaction) -> None:
        body = tx.documents.get("default", "leases", "controller")
        if body is not None and body["holder"] == self._name:
            tx.documents.remove("default", "leases", "controller")

    def wake(self, events: Iterable[Event]) -> None:
        """Something was committed: if a reactor or a job waits for it, look now and not at the next tick."""
        if any(event.kind.startswith(_JOBS) or self._relay.wants(event) for event in events):
            self._look()

    def _look(self) -> None:
        self._work.set()
        for errand in self._errands:
            errand.set()

    def start(self) -> None:
        """Go on in a thread of its own until `stop`."""
        for target, name in ((self._loop, "controller"), (self._anchor_loop, "anchor")):
            self._go(target, name)
        for at in range(len(self._beside)):
            self._go(partial(self._errand_loop, at), f"errands-{at}")

    def _go(self, target: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=target, name=f"loopwright-{name}", daemon=True)
        thread.start()
        self._threads.append(thread)

    def stop(self) -> None:
        """Finish the step that runs, give the lease back, sign the journal's head."""
        self._stop.set()
        self._look()
        for thread in self._threads:
            thread.join(timeout=_LEASE_S)
        self._threads.clear()
        self._ctx.write(self._resign)
        self._every_minute()

    def _loop(self) -> None:
        while not self._stop.is_set():
            self._work.clear()
            self._guarded(self._round)
            if self._work.wait(_PAUSE_S):
                self._stop.wait(_GATHER_S)

    def _errand_loop(self, at: int) -> None:
        worker, errand = self._beside[at], self._errands[at]
        while not self._stop.is_set():
            errand.clear()
            self._guarded(partial(self._errands_done, worker))
            errand.wait(_PAUSE_S)

    def _errands_done(self, worker: Worker) -> None:
        while not self._stop.is_set() and worker.step():
            pass

    def _anchor_loop(self) -> None:
        while not self._stop.wait(60.0):
            self._guarded(self._every_minute)

    def _guarded(self, step: Callable[[], object]) -> None:
        try:
            step()
        except LoopwrightError as error:
            log.warning("controller step refused", extra={"error": str(error)})
            self._stop.wait(_PAUSE_S)
        except Exception:  # the last handler of the controller's thread: logged, then tried again
            log.exception("controller step failed")
            self._stop.wait(_PAUSE_S)
