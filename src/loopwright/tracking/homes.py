"""Whose file a place means: each run and each logged model has a home, and its files a path in it."""

from __future__ import annotations

import msgspec

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.nouns import Run
from loopwright.ports.ledger import Transaction
from loopwright.tracking.paths import Checked

__all__ = ["SCHEME", "Home", "Spot", "at_place", "home_of_run", "in_run"]

SCHEME = "mlflow-artifacts:/"
"""how addresses of homes begin; what follows is a place"""

_FILES = "artifacts"
_TRIES = 3


class Home(msgspec.Struct, frozen=True, kw_only=True):
    """Where the files of one owner are."""

    owner: str
    """`run:<id>` or `logged_model:<id>`: under this the ledger keeps them"""
    place: str
    """`<experiment>/<run>/artifacts`, or wherever the experiment wants its files"""
    is_deleted: bool

    @property
    def address(self) -> str:
        """What clients are told."""
        return SCHEME + self.place


class Spot(msgspec.Struct, frozen=True, kw_only=True):
    """A file, a folder or nothing at a path of an owner; the path is checked, and empty for all files."""

    home: Home
    path: str

    def check_file(self) -> None:
        """`Invalid` when the path names the root."""
        if not self.path:
            raise Invalid("Invalid path: it names no file", hint="name a file", where="path")

    def check_open(self) -> None:
        """`Invalid` when the owner was deleted: its files stay as they are until it is restored or gone."""
        if self.home.is_deleted:
            raise Invalid(
                f"{self.home.owner} must be in the 'active' state. Current state is deleted",
                hint="restore it first",
            )


def home_of_run(tx: Transaction, space: str, run_id: str) -> Home:
    """The home of a run; `NotFound` when the space has none of that id."""
    run = tx.runs.get(run_id)
    if run.space != space:
        raise NotFound(f"Run with id={run_id} not found", hint="loopwright runs list")
    return Home(owner=f"run:{run.id}", place=_place_of(tx, run), is_deleted=run.deleted_at is not None)


def _place_of(tx: Transaction, run: Run) -> str:
    told = run.facts.get("artifact_uri")
    if isinstance(told, str) and told.startswith(SCHEME):
        return told.removeprefix(SCHEME)
    experiment = None
    if run.experiment is not None:
        experiment = tx.assets.find(run.space, "experiment", run.experiment)
    return f"{experiment.id if experiment else 0}/{run.id}/{_FILES}"


def in_run(tx: Transaction, space: str, run_id: str, path: Checked) -> Spot:
    """The spot at a path of a run; `NotFound` without the run."""
    return Spot(home=home_of_run(tx, space, run_id), path=path)


def at_place(tx: Transaction, space: str, place: Checked) -> Spot:
    """The spot that a whole place means; `NotFound` unless it is in somebody's home."""
    parts = place.split("/")
    ends = [at for at, part in enumerate(parts) if part == _FILES and at > 0][:_TRIES]
    for at in ends:
        home = _home(tx, space, parts[at - 1])
        if home is not None and home.place == "/".join(parts[: at + 1]):
            return Spot(home=home, path="/".join(parts[at + 1 :]))
    raise NotFound(
        "no run and no model keeps files there", hint="ask for <experiment>/<run>/artifacts/<path>"
    )


def _home(tx: Transaction, space: str, owner_id: str) -> Home | None:
    try:
        return home_of_run(tx, space, owner_id)
    except NotFound:
        return None
