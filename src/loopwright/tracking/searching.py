"""Runs found by what they logged, as clients ask: filters and orders in words, experiments by id."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.nouns import FoundRun, Run
from loopwright.core.queries import Comparison, Field, Lifecycle, RunQuery
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.ports.ledger import Page, PageRequest, Transaction
from loopwright.tracking import experiments
from loopwright.tracking.dialects import RUNS
from loopwright.tracking.grammar import parse_filter, parse_order
from loopwright.tracking.lifecycle import no_run

__all__ = [
    "DatasetSummary",
    "FoundPage",
    "RunCount",
    "check_datasets_asked",
    "count_runs",
    "datasets_of",
    "experiment_id_of",
    "found",
    "search",
    "search_runs",
]

_READ = Comparison(Field("dataset", "name"), "LIKE", "%")
_SUMMARIES = 1_000
_PAGE = 1_000
_EXPERIMENTS = 20
_COUNTED = 100_000


class FoundPage(msgspec.Struct, frozen=True, kw_only=True):
    """Runs of one page, and the ids of the experiments they may belong to, by name."""

    page: Page[FoundRun]
    experiment_ids: dict[str, str]


class DatasetSummary(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A dataset that some run of an experiment read."""

    experiment_id: str
    name: str
    digest: str
    context: str = ""


def found(ctx: Context, run_id: str) -> tuple[FoundRun, str]:
    """A run with its latest metrics, and the id of its experiment; `NotFound` for an id that none has."""
    with ctx.read() as tx:
        try:
            run = tx.runs.latest([run_id])[0]
        except NotFound:
            raise no_run(run_id) from None
        if run.run.space != ctx.space:
            raise no_run(run_id)
        return run, _experiment_id(tx, run.run)


def experiment_id_of(ctx: Context, run: Run) -> str:
    """The id of a run's experiment, that of the default one for a run that has none."""
    told = run.facts.get("experiment_id")
    if isinstance(told, str):
        return told
    with ctx.read() as tx:
        return _experiment_id(tx, run)


def _experiment_id(tx: Transaction, run: Run) -> str:
    told = run.facts.get("experiment_id")
    if isinstance(told, str):
        return told
    asset = None if run.experiment is None else tx.assets.find(run.space, experiments.KIND, run.experiment)
    return experiments.default_id(run.space) if asset is None else asset.id


def check_datasets_asked(experiment_ids: Sequence[str]) -> None:
    """Raise `Invalid` unless the datasets of 1 to 20 experiments are asked for."""
    if not experiment_ids:
        raise Invalid("SearchDatasets request must specify at least one experiment_id.")
    if len(experiment_ids) > _EXPERIMENTS:
        raise Invalid(
            f"SearchDatasets request cannot specify more than {_EXPERIMENTS} experiment_ids. "
            f"Received {len(experiment_ids)} experiment_ids."
        )


def search(
    ctx: Context,
    experiment_ids: Sequence[str],
    text: str | None = None,
    order: Sequence[str] = (),
    *,
    lifecycle: Lifecycle = "active",
    page: PageRequest,
) -> FoundPage:
    """Runs of experiments that a filter is about, in the order asked for; ids that none has are let pass."""
    where, keys = parse_filter(text, RUNS), parse_order(order, RUNS)
    with ctx.read() as tx:
        names = _names(ctx, tx, experiment_ids)
        query = RunQuery(experiments=tuple(names), where=where, order=keys, lifecycle=lifecycle)
        return FoundPage(page=tx.runs.search(ctx.space, query, page), experiment_ids=names)


def _names(ctx: Context, tx: Transaction, experiment_ids: Sequence[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for experiment_id in dict.fromkeys(experiment_ids):
        found = experiments.known(tx, ctx.space, experiment_id)
        if found is not None:
            names[found.name] = found.id
    return names


def datasets_of(ctx: Context, experiment_ids: Sequence[str]) -> list[DatasetSummary]:
    """The datasets that runs of experiments read, each once, at most 1,000."""
    summaries: set[DatasetSummary] = set()
    with ctx.read() as tx:
        names = _names(ctx, tx, experiment_ids)
        query = RunQuery(experiments=tuple(names), where=_READ)
        token = ""
        while len(summaries) < _SUMMARIES:
            page = tx.runs.search(ctx.space, query, PageRequest(limit=_PAGE, token=token))
            summaries |= {each for run in page.items for each in _summaries(run, names)}
            token = page.next_token
            if not token:
                break
    return sorted(summaries)[:_SUMMARIES]


def _summaries(found: FoundRun, ids: dict[str, str]) -> list[DatasetSummary]:
    return [
        DatasetSummary(
            experiment_id=ids[found.run.experiment or ""],
            name=read.get("name", ""),
            digest=read.get("digest", ""),
            context=read.get("context") or "",
        )
        for read in found.run.facts.get("datasets", ())
    ]


class RunCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many runs a search is about."""

    count: int
    is_all: bool
    """whether there are no more: counting ends at a hundred thousand"""


@operation("runs.count", scope="run:read", route="GET /runs:count")
def count_runs(
    ctx: Context,
    *,
    experiment: tuple[str, ...] = (),
    filter: str | None = None,
    lifecycle: Lifecycle = "active",
) -> RunCount:
    """Count the runs that a search would find, as `runs search` asks; at most a hundred thousand."""
    where = parse_filter(filter, RUNS)
    names = experiment or tuple(experiments.names(ctx))
    with ctx.read() as tx:
        query = RunQuery(experiments=names, where=where, lifecycle=lifecycle)
        count = tx.runs.count(ctx.space, query, _COUNTED + 1)
    return RunCount(count=min(count, _COUNTED), is_all=count <= _COUNTED)


@operation("runs.search", scope="run:read", route="GET /runs:search", command="runs search")
def search_runs(
    ctx: Context,
    *,
    experiment: tuple[str, ...] = (),
    filter: str | None = None,
    order: tuple[str, ...] = (),
    lifecycle: Lifecycle = "active",
    limit: int = 100,
    token: str = "",
) -> Page[FoundRun]:
    """Find runs by what they logged: `metrics.auc > 0.7 AND (params.model = 'tree' OR tags.team = 'blue')`.

    Experiments are given by name; without one, runs of all that are not in the trash are looked at.
    """
    if not 1 <= limit <= _PAGE:
        raise Invalid(f"limit {limit} is out of range", hint=f"ask for 1 to {_PAGE} runs")
    where, keys = parse_filter(filter, RUNS), parse_order(order, RUNS)
    names = experiment or tuple(experiments.names(ctx))
    with ctx.read() as tx:
        for name in experiment:
            if tx.assets.find(ctx.space, experiments.KIND, name) is None:
                raise NotFound(f"there is no experiment {name[:100]!r}", hint="loopwright experiments list")
        query = RunQuery(experiments=names, where=where, order=keys, lifecycle=lifecycle)
        return tx.runs.search(ctx.space, query, PageRequest(limit=limit, token=token))
