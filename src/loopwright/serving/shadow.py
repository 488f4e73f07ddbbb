"""Asks shadow versions behind the live ones, in a thread of its own; the first to be dropped."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from loopwright.core.errors import LoopwrightError
from loopwright.core.expressions import Scalar
from loopwright.serving.log import Entry, PredictionLog
from loopwright.serving.nouns import Variant
from loopwright.serving.tables import LoadedModel, RouteTable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ShadowCall", "ShadowLane"]

log = logging.getLogger(__name__)

CAPACITY_ROWS = 20_000
_LINGER_S = 0.02


class ShadowCall(NamedTuple):
    """A live call to repeat: its rows, and the vectors it was answered from, by the recipe that made them."""

    table: RouteTable
    request_id: str
    at_us: int
    rows: Sequence[Mapping[str, Scalar]]
    vectors: Mapping[str, NDArray[np.float64]]
    answered: Sequence[int]
    """the version that answered each row"""


class ShadowLane:
    """Repeats live calls for the shadow versions of their endpoint; thread safe.

    What waits above `capacity` rows is dropped and counted: the live path never waits for this one.
    """

    def __init__(self, prediction_log: PredictionLog, *, capacity: int = CAPACITY_ROWS) -> None:
        self._log = prediction_log
        self._capacity = capacity
        self._calls: deque[ShadowCall] = deque()
        self._waiting = 0
        self._rows: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._lock, self._work_lock = threading.Lock(), threading.Lock()
        self._some, self._stopping = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Work in a thread of its own from now on; without it only `settle` works."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="loopwright-shadow", daemon=True)
            self._thread.start()

    def offer(self, call: ShadowCall) -> bool:
        """Take a call in; False when too much waits and it was dropped."""
        with self._lock:
            if self._waiting + len(call.rows) > self._capacity:
                self._dropped[call.table.endpoint] += len(call.rows)
                return False
            self._calls.append(call)
            self._waiting += len(call.rows)
        self._some.set()
        return True

    def counted(self, endpoint: str) -> tuple[int, int]:
        """Rows answered in shadow and rows dropped, of an endpoint."""
        return self._rows[endpoint], self._dropped[endpoint]

    def settle(self) -> None:
        """Answer everything offered before the call."""
        with self._work_lock:
            with self._lock:
                calls = list(self._calls)
                self._calls.clear()
                self._waiting = 0
                self._some.clear()
            for call in calls:
                for model in call.table.shadows:
                    self._answer(call, model)

    def close(self) -> None:
        """Answer what is left and stop."""
        self._stopping.set()
        self._some.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.settle()

    def _answer(self, call: ShadowCall, model: LoadedModel) -> None:
        places = [at for at, version in enumerate(call.answered) if version != model.version]
        if not places:
            return
        began = time.perf_counter_ns()
        rows = [call.rows[at] for at in places]
        try:
            whole = call.vectors.get(model.recipe)
            x = model.assembler.vectors(rows, call.at_us) if whole is None else whole[places]
            scores = model.predictor.predict(x)
        except LoopwrightError as error:
            log.warning("shadow refused", extra={"endpoint": call.table.endpoint, "error": str(error)})
            return
        except (
            Exception
        ):  # the last handler of the shadow's thread: a candidate's fault must not reach the live path
            log.exception("shadow failed", extra={"endpoint": call.table.endpoint, "version": model.version})
            return
        latency_us = (time.perf_counter_ns() - began) // 1000
        self._rows[call.table.endpoint] += len(rows)
        self._log.append(
            Entry(
                sheet=model.sheet,
                request_id=call.request_id,
                positions=places,
                at_us=call.at_us,
                version=model.version,
                variant=Variant.SHADOW,
                rows=rows,
                x=x,
                scores=scores,
                latency_us=latency_us,
            )
        )

    def _loop(self) -> None:
        while not self._stopping.is_set():
            self._some.wait()
            self._stopping.wait(_LINGER_S)
            self.settle()
