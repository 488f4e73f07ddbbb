"""Whose file a place means: each run and each logged model has a home, and its files a path in it."""

from __future__ import annotations

import msgspec

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.nouns import Asset, Run
from loopwright.ports.ledger import Transaction
from loopwright.tracking.experiments import default_id
from loopwright.tracking.paths import Checked

__all__ = [
    "OF_VERSION",
    "SCHEME",
    "Home",
    "Spot",
    "at_place",
    "home_of_model",
    "home_of_run",
    "home_of_trace",
    "home_of_version",
    "in_model",
    "in_run",
    "in_trace",
]

SCHEME = "mlflow-artifacts:/"
"""how the address of a home begins whose files are kept here; what follows is a place"""

OF_VERSION = "model_version"
"""the kind of owner a registered version is of files that its origin does not hold any more"""

_FILES = "artifacts"
_MODEL = "logged_model"
_FACT = "artifact_uri"
_TRACE_TAG = "mlflow.artifactLocation"
_TRIES = 3


class Home(msgspec.Struct, frozen=True, kw_only=True):
    """Where the files of one owner are."""

    owner: str
    """`run:<id>` or `logged_model:<id>`: under this the ledger keeps them"""
    address: str
    """what clients are told; one of another scheme is a store of their own, where nothing is kept here"""
    is_deleted: bool
    is_fixed: bool = False
    """whether its files never change"""


class Spot(msgspec.Struct, frozen=True, kw_only=True):
    """A file, a folder or nothing at a path of an owner; the path is checked, and empty for all files."""

    home: Home
    path: str

    def check_file(self) -> None:
        """`Invalid` when the path names the root."""
        if not self.path:
            raise Invalid("Invalid path: it names no file", hint="name a file", where="path")

    def check_open(self) -> None:
        """`Invalid` when the owner takes no files: it was deleted, or its files are kept elsewhere."""
        if self.home.is_deleted:
            raise Invalid(
                f"{self.home.owner} must be in the 'active' state. Current state is deleted.",
                hint="restore it first",
            )
        if self.home.is_fixed:
            raise Invalid(
                "the files of a registered version never change", hint="log them to a run, and register that"
            )
        if not self.home.address.startswith(SCHEME):
            raise Invalid(
                f"the files of {self.home.owner} are in a store of their own", hint="write to that store"
            )


def home_of_run(tx: Transaction, space: str, run_id: str) -> Home:
    """The home of a run; `NotFound` when the space has none of that id."""
    run = tx.runs.get(run_id)
    if run.space != space:
        raise NotFound(f"there is no run:{run_id}", hint="loopwright runs list")
    return Home(owner=f"run:{run.id}", address=_address(tx, run), is_deleted=run.deleted_at is not None)


def _address(tx: Transaction, run: Run) -> str:
    told = run.facts.get(_FACT)
    if isinstance(told, str):
        return told
    experiment: Asset | None = None
    if run.experiment is not None:
        experiment = tx.assets.find(run.space, "experiment", run.experiment)
    home = experiment.id if experiment else default_id(run.space)
    return f"{SCHEME}{home}/{run.id}/{_FILES}"


def home_of_model(tx: Transaction, space: str, model_id: str) -> Home:
    """The home of a logged model; `NotFound` when the space has none of that id."""
    asset = tx.assets.find(space, _MODEL, model_id)
    if asset is None:
        raise NotFound(f"Logged model with ID '{model_id[:100]}' not found", hint="search its experiment's")
    address = str(asset.facts.get(_FACT, ""))
    return Home(owner=f"{_MODEL}:{model_id}", address=address, is_deleted=asset.deleted_at is not None)


def home_of_version(tx: Transaction, space: str, version_id: str) -> Home:
    """The home of a registered version's own files; `NotFound` when the space has none of that id."""
    version = tx.versions.those([version_id])[0]
    if version.space != space or version.deleted_at is not None:
        raise NotFound("there is no such version", hint="it may be in the trash")
    address = f"{SCHEME}versions/{version.id}/{_FILES}"
    return Home(owner=f"{OF_VERSION}:{version.id}", address=address, is_deleted=False, is_fixed=True)


def home_of_trace(tx: Transaction, space: str, trace_id: str) -> Home:
    """The home of a trace, where older clients keep its spans; `NotFound` when there is none of that id."""
    known = tx.traces.those(space, [trace_id])
    if not known:
        raise NotFound(f"Trace with ID '{trace_id[:100]}' is not found.", hint="traces search")
    return Home(owner=f"trace:{trace_id}", address=known[0].tags.get(_TRACE_TAG, ""), is_deleted=False)


def in_trace(tx: Transaction, space: str, trace_id: str, path: Checked) -> Spot:
    """The spot at a path of a trace; `NotFound` without the trace."""
    return Spot(home=home_of_trace(tx, space, trace_id), path=path)


def in_run(tx: Transaction, space: str, run_id: str, path: Checked) -> Spot:
    """The spot at a path of a run; `NotFound` without the run."""
    return Spot(home=home_of_run(tx, space, run_id), path=path)


def in_model(tx: Transaction, space: str, model_id: str, path: Checked) -> Spot:
    """The spot at a path of a logged model; `NotFound` without the model."""
    return Spot(home=home_of_model(tx, space, model_id), path=path)


def at_place(tx: Transaction, space: str, place: Checked) -> Spot:
    """The spot that a whole place means; `NotFound` unless it is in somebody's home."""
    parts = place.split("/")
    ends = [at for at, part in enumerate(parts) if part == _FILES and at > 0][:_TRIES]
    for at in ends:
        home = _home(tx, space, parts, at - 1)
        if home is not None and home.address == SCHEME + "/".join(parts[: at + 1]):
            return Spot(home=home, path="/".join(parts[at + 1 :]))
    raise NotFound(
        "no run and no model keeps files there", hint="ask for <experiment>/<run>/artifacts/<path>"
    )


def _home(tx: Transaction, space: str, parts: list[str], at: int) -> Home | None:
    homes = {"models": home_of_model, "traces": home_of_trace, "versions": home_of_version}
    find = homes.get(parts[at - 1], home_of_run) if at > 0 else home_of_run
    try:
        return find(tx, space, parts[at])
    except NotFound:
        return None
