"""A state machine that holds a ledger against plain Python: journal, versions and aliases, jobs, documents.

Subclass it with `open_ledger` (an empty one each time), and give `.TestCase` to pytest.
"""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from loopwright.core.chain import verify
from loopwright.core.errors import Conflict, NotFound
from loopwright.core.nouns import Job, JobState, LinkRole
from loopwright.ports.ledger import Ledger, PageRequest, Transaction
from loopwright.testing import ledger_values as make
from loopwright.testing.ledger_values import walk

__all__ = ["LedgerMachine"]

NAMES = st.sampled_from(["a", "b", "é"])
SPACES = st.sampled_from(["default", "other"])
JOBS = st.sampled_from(["j1", "j2", "j3"])
OPERATIONS = ("training.fit", "data.load")
SECONDS = st.integers(0, 20)


class _Undone(Exception):
    """Raised at the end of a work that is to leave nothing."""


class _Model:
    """What should be there."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.documents: dict[tuple[str, str], Any] = {}
        self.assets: dict[str, str] = {}
        self.versions: dict[str, int] = {}
        self.aliases: dict[tuple[str, str], int] = {}
        self.jobs: dict[str, Job] = {}
        self.edges: list[tuple[str, int]] = []


class LedgerMachine(RuleBasedStateMachine):
    """Units of work of several steps, some of which fail, against a model that is copied and put back."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = self.open_ledger()
        self.model = _Model()
        self.unit: list[Any] = []
        self.count = 0

    def open_ledger(self) -> Ledger:
        """An empty ledger."""
        raise NotImplementedError

    def teardown(self) -> None:
        """Close it, and look at the whole chain once more."""
        with self.ledger.read() as tx:
            assert verify(tx.journal.read(0, 100_000)).ok
        assert not self.ledger.check().faults
        self.ledger.close()

    # -------------------------------------------------------------------------- steps of a unit

    def step(self, act: Any) -> None:
        """Add a step to the open unit: `act(tx, model)` does it to both."""
        self.unit.append(act)

    def next(self, prefix: str) -> str:
        """An id that was not given yet."""
        self.count += 1
        return f"{prefix}{self.count:04d}"

    @rule(space=SPACES, kind=st.sampled_from(["run.started", "job.done", "job.queued"]))
    def append(self, space: str, kind: str) -> None:
        """A line of the journal."""
        name = self.next("e")

        def act(tx: Transaction, model: _Model) -> None:
            tx.journal.append(make.event(name, space=space, kind=kind))
            model.lines.append((space, name))

        self.step(act)

    @rule(space=SPACES, name=NAMES, value=st.none() | st.integers() | st.floats(allow_nan=False) | st.text())
    def put_document(self, space: str, name: str, value: Any) -> None:
        """A document, or none."""

        def act(tx: Transaction, model: _Model) -> None:
            if value is None:
                tx.documents.remove(space, "c", name)
                model.documents.pop((space, name), None)
            else:
                tx.documents.put(space, "c", name, {"v": str(value)})
                model.documents[space, name] = {"v": str(value)}

        self.step(act)

    @rule(name=NAMES)
    def add_asset(self, name: str) -> None:
        """An asset, unless its name is taken."""
        asset_id = self.next("a")

        def act(tx: Transaction, model: _Model) -> None:
            try:
                tx.assets.add(make.asset(asset_id, name=name))
            except Conflict:
                assert name in model.assets.values()
            else:
                assert name not in model.assets.values()
                model.assets[asset_id] = name

        self.step(act)

    @rule(name=NAMES, new=NAMES)
    def rename_asset(self, name: str, new: str) -> None:
        """Another name, unless that is taken."""

        def act(tx: Transaction, model: _Model) -> None:
            found = tx.assets.find("default", "dataset", name)
            assert (found is not None) == (name in model.assets.values())
            if found is None:
                return
            try:
                tx.assets.update(replace(found, name=new))
            except Conflict:
                assert new in model.assets.values()
                assert new != name
            else:
                model.assets[found.id] = new
                model.edges = [(new if n == name else n, v) for n, v in model.edges]

        self.step(act)

    @rule(name=NAMES)
    def publish(self, name: str) -> None:
        """The next version of an asset, made where it is new, and an edge from the run that made it."""
        run_id, asset_id = self.next("r"), self.next("a")

        def act(tx: Transaction, model: _Model) -> None:
            asset = tx.assets.find("default", "dataset", name)
            if asset is None:
                asset = make.asset(asset_id, name=name)
                tx.assets.add(asset)
                model.assets[asset_id] = name
            newest = tx.versions.latest(asset.id)
            number = 0 if newest is None else newest.number
            assert number == model.versions.get(asset.id, 0)
            tx.versions.add(make.version(asset, number + 1))
            tx.runs.add(make.run(run_id))
            tx.runs.link(make.link(run_id, LinkRole.OUTPUT, name, number + 1))
            model.versions[asset.id] = number + 1
            model.edges.append((name, number + 1))

        self.step(act)

    @rule(name=NAMES, alias=st.sampled_from(["champion", "live"]), number=st.integers(0, 4))
    def move_alias(self, name: str, alias: str, number: int) -> None:
        """Point it at a version that may be there, or take it away."""

        def act(tx: Transaction, model: _Model) -> None:
            asset = tx.assets.find("default", "dataset", name)
            if asset is None:
                return
            if number == 0:
                tx.aliases.remove(asset.id, alias)
                model.aliases.pop((asset.id, alias), None)
                return
            try:
                tx.aliases.put(make.alias(asset, alias, number))
            except NotFound:
                assert number > model.versions.get(asset.id, 0)
            else:
                model.aliases[asset.id, alias] = number

        self.step(act)

    @rule(name=JOBS, at=SECONDS, operation=st.sampled_from(OPERATIONS))
    def enqueue(self, name: str, at: int, operation: str) -> None:
        """A job under a key: the first one stands."""

        def act(tx: Transaction, model: _Model) -> None:
            job = make.job(name, at, key=name, operation=operation)
            assert tx.jobs.add(job) == model.jobs.setdefault(name, job)

        self.step(act)

    @rule(now=SECONDS, wall=SECONDS, fence_off=st.sampled_from([0, 0, 0, -1, 1]))
    def claim(self, now: int, wall: int, fence_off: int) -> None:
        """Take the first due job, sometimes with a fence that is not its own."""

        def act(tx: Transaction, model: _Model) -> None:
            due = tx.jobs.due(OPERATIONS, make.at(now), make.at(wall), 10)
            assert list(due) == _due(model, now, wall)
            if not due:
                return
            fence = due[0].fence + fence_off
            taken = replace(
                due[0], state=JobState.RUNNING, fence=due[0].fence + 1, leased_until=make.at(wall + 3)
            )
            assert tx.jobs.update(taken, fence=fence) == (fence_off == 0)
            if fence_off == 0:
                model.jobs[taken.id] = taken

        self.step(act)

    @rule(name=JOBS, state=st.sampled_from([JobState.DONE, JobState.QUEUED]))
    def finish(self, name: str, state: JobState) -> None:
        """End an attempt."""

        def act(tx: Transaction, model: _Model) -> None:
            job = model.jobs.get(name)
            if job is not None and job.state is JobState.RUNNING:
                ended = replace(job, state=state, leased_until=None)
                assert tx.jobs.update(ended, fence=job.fence)
                model.jobs[name] = ended

        self.step(act)

    # ----------------------------------------------------------------------------- ends of a unit

    def carry_out(self, *, fails: bool, inside: bool) -> None:
        """Run the collected steps as one unit; on failure the model is as it was."""
        steps, self.unit = self.unit, []
        tried = deepcopy(self.model)

        def work(tx: Transaction) -> None:
            nonlocal tried
            tried = deepcopy(self.model)  # a store may run a work twice
            for act in steps:
                act(tx, tried)
            if fails:
                raise _Undone

        try:
            if inside:
                self.ledger.write(lambda tx: self._inside(tx, work))
            else:
                self.ledger.write(work)
        except _Undone:
            return
        self.model = tried if not fails else self.model

    def _inside(self, tx: Transaction, work: Any) -> None:
        """The unit inside another one, which goes on when the inner one fails."""
        tx.documents.put("default", "outer", "k", {})
        try:
            self.ledger.write(work)
        except _Undone:
            assert tx.documents.get("default", "outer", "k") == {}

    @precondition(lambda self: self.unit)
    @rule(inside=st.booleans())
    def commit(self, inside: bool) -> None:
        """Keep the unit."""
        self.carry_out(fails=False, inside=inside)

    @precondition(lambda self: self.unit)
    @rule(inside=st.booleans())
    def fail(self, inside: bool) -> None:
        """Undo the unit."""
        self.carry_out(fails=True, inside=inside)

    # --------------------------------------------------------------------------- what always holds

    @invariant()
    def the_ledger_holds_what_the_model_holds(self) -> None:
        """In every repository, by every way of asking."""
        with self.ledger.read() as tx:
            self._journal(tx)
            self._nouns(tx)
            for space in ("default", "other"):
                wanted = {n: body for (s, n), body in self.model.documents.items() if s == space}
                assert tx.documents.all(space, "c") == wanted
            jobs = sorted(self.model.jobs.values(), key=lambda j: (j.created_at, j.id), reverse=True)
            assert walk(lambda request: tx.jobs.page("default", request), limit=2) == jobs

    def _journal(self, tx: Transaction) -> None:
        lines = tx.journal.read(0, 10_000)
        assert [(line.space, line.id) for line in lines] == self.model.lines
        assert tx.journal.head().count == len(lines)
        assert tx.journal.head().hash == (lines[-1].hash if lines else tx.journal.head().hash)
        for space in ("default", "other"):
            found = walk(partial(tx.journal.page, space), limit=3)
            assert [line.id for line in reversed(found)] == [n for s, n in self.model.lines if s == space]

    def _nouns(self, tx: Transaction) -> None:
        found = walk(lambda request: tx.assets.page("default", None, request), limit=2)
        assert [asset.name for asset in found] == sorted(self.model.assets.values())
        for asset_id, name in self.model.assets.items():
            assert tx.assets.get(asset_id).name == name
            versions = tx.versions.page(asset_id, PageRequest(limit=100)).items
            assert [v.number for v in versions] == list(range(self.model.versions.get(asset_id, 0), 0, -1))
            assert {v.name for v in versions} <= {name}
            aliases = {(asset_id, a.alias): a.number for a in tx.aliases.of(asset_id)}
            assert aliases == {k: n for k, n in self.model.aliases.items() if k[0] == asset_id}
        for name, number in self.model.edges:
            assert len(tx.runs.users("dataset", name, number, LinkRole.OUTPUT)) == 1


def _due(model: _Model, now: int, wall: int) -> list[Job]:
    found = [
        job
        for job in model.jobs.values()
        if (job.state is JobState.QUEUED and job.not_before <= make.at(now))
        or (
            job.state is JobState.RUNNING
            and job.leased_until is not None
            and job.leased_until < make.at(wall)
        )
    ]
    return sorted(found, key=lambda job: (job.created_at, job.id))
