"""Answers predictions: route, vectors, score, log; route tables are swapped while calls go on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from loopwright.core.errors import Denied, Invalid, LoopwrightError, NotFound, TooLarge, Unavailable
from loopwright.core.expressions import Scalar
from loopwright.core.instants import to_micros
from loopwright.core.nouns import Event
from loopwright.data.allowing import has_rules
from loopwright.engine.context import Context
from loopwright.ports.ledger import PageRequest, Transaction
from loopwright.serving.calls import Call
from loopwright.serving.counters import Counters
from loopwright.serving.gaps import record_gaps
from loopwright.serving.log import PredictionLog
from loopwright.serving.nouns import ENDPOINT, EndpointStatistics, Reply, Variant
from loopwright.serving.permitting import changes_permission, check_served
from loopwright.serving.shadow import ShadowCall, ShadowLane
from loopwright.serving.tables import RouteTable, live_version, load_table

__all__ = ["MAX_REQUEST_ID", "Runtime"]

log = logging.getLogger(__name__)

MAX_REQUEST_ID = 200
MAX_ROWS = 10_000
MAX_WAITING_ROWS = 50_000
POLL_S = 1.0
RECHECK_S = 10.0
"""how long an endpoint answers on after the end of a grant or a change of lineage, of which no event tells"""
_BATCH = 1000
_ROUTED = "endpoint.routed"


class Runtime:
    """All endpoints of a space, as this process serves them; thread safe.

    Built cheaply: an endpoint is loaded at `start`, at its first call, or by `refresh`. Changes made in this
    process arrive by `on_events`, those of others by a look at the journal every second.
    """

    def __init__(
        self,
        ctx: Context,
        *,
        prediction_log: PredictionLog | None = None,
        max_waiting_rows: int = MAX_WAITING_ROWS,
    ) -> None:
        self._ctx = ctx
        self._tables: dict[str, RouteTable] = {}
        self._counters: dict[str, Counters] = {}
        self._load_lock = threading.Lock()
        self.log = prediction_log or PredictionLog(ctx)
        self._shadow = ShadowLane(self.log)
        self._stale: set[str] = set()
        self._wake, self._stopping, self._loaded = threading.Event(), threading.Event(), threading.Event()
        self._seen, self._rechecked = 0, time.monotonic()
        self._waiting_rows = 0
        self._max_waiting_rows = max_waiting_rows
        self._admission = threading.Lock()
        self._thread: threading.Thread | None = None

    # -- life ------------------------------------------------------------------

    def start(self) -> None:
        """Load every endpoint and follow changes, in threads; `is_ready` says when all are loaded."""
        if self._thread is None:
            self.log.start()
            self._shadow.start()
            self._thread = threading.Thread(target=self._follow, name="loopwright-routes", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Answer and write what is left, stop the threads."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._shadow.close()
        self.log.close()

    def flush(self) -> None:
        """Answer what waits in shadow and write the log: durable at return."""
        self._shadow.settle()
        self.log.flush()

    @property
    def is_ready(self) -> bool:
        """Whether every endpoint there was at the start is loaded."""
        return self._loaded.is_set()

    # -- routes ----------------------------------------------------------------

    def table(self, endpoint: str) -> RouteTable | None:
        """The route table of an endpoint when it is loaded; never waits."""
        return self._tables.get(endpoint)

    def tables(self) -> Mapping[str, RouteTable]:
        """All loaded route tables."""
        return dict(self._tables)

    def refresh(self, endpoint: str) -> RouteTable:
        """Load the endpoint's live configuration and swap it in; calls in flight finish on the old one.

        Raises `NotFound` when there is no such endpoint, `Denied` when its features may not be read for its
        purpose: then it answers nobody.
        """
        with self._load_lock:
            self._stale.discard(endpoint)
            try:
                version = live_version(self._ctx, endpoint)
            except NotFound:
                self._tables.pop(endpoint, None)
                raise
            try:
                check_served(self._ctx, version)
            except Denied:
                self._tables.pop(endpoint, None)
                raise
            table = load_table(self._ctx, version, self._tables.get(endpoint))
            self._tables[endpoint] = table
            return table

    def on_events(self, events: Iterable[Event]) -> None:
        """Take note of committed events: what they changed is loaded by the runtime's thread or `settle`."""
        for event in events:
            if event.space != self._ctx.space:
                continue
            if event.kind == _ROUTED:
                self._stale.add(event.subject.partition(":")[2])
                self._wake.set()
            elif changes_permission(event):
                self._stale.update(self._tables)
                self._wake.set()

    def settle(self) -> None:
        """Swap in every change known so far, in the caller's thread (replays and tests).

        An endpoint whose new configuration cannot be loaded goes on with its old one; the first such error is
        raised once all others are swapped in. What a store out of reach kept back is tried again next time.
        """
        failed: LoopwrightError | None = None
        for endpoint in list(self._stale):
            try:
                self.refresh(endpoint)
            except LoopwrightError as error:
                failed = failed or error
                if isinstance(error, Unavailable):
                    self._stale.add(endpoint)
        if failed is not None:
            raise failed

    def catch_up(self) -> None:
        """Swap in every change that anybody committed before this call, in the caller's thread.

        Raises as `settle`; waits for what the runtime's own thread is swapping in just now.
        """
        if self._loaded.is_set():
            self._take_note()
            self.settle()
        else:
            self._load_all()
        with self._load_lock:
            return

    # -- predictions -----------------------------------------------------------

    def predict(
        self,
        endpoint: str,
        rows: Sequence[Mapping[str, Scalar]],
        request_id: str = "",
        *,
        at_us: int | None = None,
        version: int | None = None,
    ) -> Reply:
        """Score rows as known at an instant (now, when none is given), by the split or by a named version.

        Raises `NotFound` for an unknown endpoint or version, `Invalid` for rows that do not fit, `TooLarge`
        for too many, `Unavailable` when too much waits.
        """
        table = self._tables.get(endpoint) or self.refresh(endpoint)
        return self.answer(table, table.reader.read(rows), request_id, at_us=at_us, version=version)

    def answer(
        self,
        table: RouteTable,
        rows: list[dict[str, Scalar]],
        request_id: str = "",
        *,
        at_us: int | None = None,
        version: int | None = None,
    ) -> Reply:
        """As `predict`, for rows that were read by the table's own `reader` already."""
        began = time.perf_counter_ns()
        counters = self._counters.get(table.endpoint) or self._counters.setdefault(table.endpoint, Counters())
        self._admit(len(rows), request_id)
        try:
            call = Call(table, rows, request_id or self._ctx.new_id(), self._at(at_us), began)
            reply = self._pinned(call, version) if version is not None else self._split(call)
        except BaseException:
            counters.failed += 1
            raise
        finally:
            with self._admission:
                self._waiting_rows -= len(rows)
        counters.answered(len(rows), (time.perf_counter_ns() - began) // 1000)
        return reply

    def _at(self, at_us: int | None) -> int:
        return to_micros(self._ctx.now()) if at_us is None else at_us

    def _admit(self, rows: int, request_id: str) -> None:
        if rows == 0:
            raise Invalid("the request has no rows", hint="send at least one")
        if rows > MAX_ROWS:
            raise TooLarge(f"a request has at most {MAX_ROWS:,} rows, not {rows:,}", hint="send it in parts")
        if len(request_id) > MAX_REQUEST_ID or not request_id.isprintable():
            raise Invalid(
                "the request id is too long or not printable", hint=f"use at most {MAX_REQUEST_ID} characters"
            )
        with self._admission:
            if self._waiting_rows and self._waiting_rows + rows > self._max_waiting_rows:
                raise Unavailable(f"{self._waiting_rows} rows wait already", hint="try again in a second")
            self._waiting_rows += rows

    def _split(self, call: Call) -> Reply:
        table = call.table
        if table.splitter.only is not None:
            model = table.models[table.splitter.only]
            scores = call.score_all(model, Variant.LIVE, self.log)
            versions = [model.version] * len(scores)
        else:
            scores, versions = self._scattered(call)
        if table.shadows:
            self._shadow.offer(
                ShadowCall(table, call.request_id, call.at_us, call.rows, call.vectors, versions)
            )
        return call.reply(scores, versions)

    def _scattered(self, call: Call) -> tuple[list[float], list[int]]:
        """Scores and versions where several versions answer: each its own rows, put back in their places."""
        choose, models = call.table.splitter.choose, call.table.models
        versions = [choose(key) for key in call.route_keys()]
        scores = [0.0] * len(versions)
        for version in set(versions):
            places = [at for at, chosen in enumerate(versions) if chosen == version]
            for at, score in zip(places, call.score_some(models[version], places, self.log), strict=True):
                scores[at] = score
        return scores, versions

    def _pinned(self, call: Call, version: int) -> Reply:
        model = call.table.models.get(version)
        if model is None:
            loaded = ", ".join(str(number) for number in sorted(call.table.models))
            raise NotFound(
                f"endpoint {call.table.endpoint!r} does not serve version {version}",
                hint=f"it serves {loaded}",
            )
        scores = call.score_all(model, Variant.PINNED, self.log)
        return call.reply(scores, [version] * len(scores))

    # -- counts ----------------------------------------------------------------

    @property
    def waiting_rows(self) -> int:
        """Rows that are being answered now."""
        return self._waiting_rows

    def refused(self, endpoint: str) -> None:
        """Count a call that never reached `answer` because its body did not fit."""
        if endpoint in self._tables:
            self._counters.setdefault(endpoint, Counters()).failed += 1

    def statistics(self, endpoint: str) -> EndpointStatistics:
        """What this process counted at an endpoint."""
        counters = self._counters.get(endpoint) or Counters()
        shadow_rows, shadow_dropped = self._shadow.counted(endpoint)
        return EndpointStatistics(
            requests=counters.requests,
            rows=counters.rows,
            failed=counters.failed,
            shadow_rows=shadow_rows,
            shadow_dropped=shadow_dropped,
            log_dropped=self.log.dropped(endpoint),
            latency_p50_us=counters.latency.quantile(0.5),
            latency_p99_us=counters.latency.quantile(0.99),
        )

    def latencies(self, endpoint: str) -> tuple[list[tuple[str, float]], float]:
        """How many calls took at most so many seconds, and the seconds of all of them."""
        found = (self._counters.get(endpoint) or Counters()).latency
        return found.cumulative(), found.total_us / 1e6

    # -- following the journal -------------------------------------------------

    def _follow(self) -> None:
        self._guarded(self._load_all)
        self._loaded.set()
        while not self._stopping.is_set():
            self._wake.wait(POLL_S)
            self._wake.clear()
            self._guarded(self._poll)

    def _load_all(self) -> None:
        with self._ctx.read() as tx:
            self._seen = tx.journal.head().count
            names = _endpoint_names(tx, self._ctx.space)
        self._stale.update(names)
        self.settle()

    def _poll(self) -> None:
        """Look at what other processes committed, load what is stale, find what dead writers lost."""
        self._take_note()
        self._doubt()
        self.settle()
        record_gaps(self._ctx)

    def _doubt(self) -> None:
        """Look again from time to time, where there are rules, whether endpoints may read what they do."""
        now = time.monotonic()
        if now - self._rechecked >= RECHECK_S:
            self._rechecked = now
            if has_rules(self._ctx):
                self._stale.update(self._tables)

    def _take_note(self) -> None:
        """Look at every line of the journal since the last look."""
        found = _BATCH
        while found == _BATCH:
            with self._ctx.read() as tx:
                events = tx.journal.read(self._seen, _BATCH, space=self._ctx.space)
            if events:
                self._seen = events[-1].seq
            self.on_events(events)
            found = len(events)

    def _guarded(self, step: Callable[[], object]) -> None:
        try:
            step()
        except LoopwrightError as error:
            log.warning("routes not refreshed", extra={"error": str(error)})
        except Exception:  # the last handler of the runtime's thread: what is loaded goes on answering
            log.exception("routes not refreshed")


def _endpoint_names(tx: Transaction, space: str) -> list[str]:
    names: list[str] = []
    token = ""
    while True:
        page = tx.assets.page(space, ENDPOINT, PageRequest(limit=1000, token=token))
        names += [asset.name for asset in page.items]
        if not page.next_token:
            return names
        token = page.next_token
