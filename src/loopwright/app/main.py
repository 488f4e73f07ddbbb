"""The console script: all commands, their errors and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

import loopwright
from loopwright.client.index import load_index
from loopwright.surfaces.cli import LazyVerb, build_tree, carry_out

__all__ = ["NOUNS", "VERBS", "command_tree", "main"]

VERBS = {
    "up": LazyVerb(
        target="loopwright.app.up:command",
        summary="Start the server: UI, API, scheduler and controller in one process.",
    ),
    "worker": LazyVerb(
        target="loopwright.app.worker:command",
        summary="Carry out jobs, reactions and schedules beside a server, without a port.",
    ),
    "doctor": LazyVerb(
        target="loopwright.app.doctor:command",
        summary="Say what is installed, reachable, migrated and writable, and what to do about the rest.",
    ),
    "db upgrade": LazyVerb(
        target="loopwright.app.upgrading:command",
        summary="Bring the ledger to this version's schema, after a copy.",
    ),
    "import mlflow": LazyVerb(
        target="loopwright.app.moving:import_command",
        summary="Bring an MLflow history in: a server, a database or a folder; goes on where it stopped.",
    ),
    "export mlflow": LazyVerb(
        target="loopwright.app.moving:export_command",
        summary="Write everything as a fresh MLflow store, and compare.",
    ),
    "reproduce": LazyVerb(
        target="loopwright.app.reproducing:command",
        summary="Do a run again from what it recorded, and say how near it came, and what changed.",
    ),
    "demo": LazyVerb(
        target="loopwright.app.demo.command:command",
        summary="Replay half a year of real flights through the whole loop, then open the UI.",
    ),
}
"""commands that are no operations, by their words; each module is imported when its command is called"""

NOUNS = {
    "assets": "Named things: datasets, features, models, endpoints, policies.",
    "data": "Datasets: versions, contracts, quarantine, branches, erasure.",
    "db": "The ledger's schema: check and upgrade it.",
    "decisions": "Recorded verdicts with their evidence.",
    "evaluation": "Evaluation datasets: questions with what is expected of the answers.",
    "experiments": "Experiments: what runs belong to, and how long they are kept.",
    "export": "Our history, as others keep theirs.",
    "explore": "Documents of words, queries and charts over pinned versions.",
    "features": "Feature views and services, looked up as known at an instant.",
    "gate": "What a model must hold before it is promoted.",
    "import": "Histories that others kept.",
    "imports": "What `import` hands over: parcels, files, and marks of what is here.",
    "incidents": "What went wrong, since when, and how it ended.",
    "jobs": "Durable requests and what became of them.",
    "journal": "The hash-chained journal of every change.",
    "labels": "Queues of rows that people label, and what they agreed on.",
    "lineage": "What was made from what.",
    "loop": "The closed loops: what they watch and what they last did.",
    "models": "Models: who may move them, requests to do so, and their history.",
    "monitoring": "Watched endpoints and feeds.",
    "registry": "Models and their versions: log, register, promote, roll back.",
    "runs": "Trainings, trials, evaluations and what they measured.",
    "serving": "Endpoints and their traffic.",
    "signals": "Timed measurements.",
    "traces": "Traces of applications: their spans, and what was said of them.",
    "trash": "What was deleted and can still come back.",
    "versions": "Immutable versions of assets.",
    "views": "Kept views of tables of runs.",
    "webhooks": "Addresses outside that are told of events.",
}


def command_tree() -> click.Group:
    """Every command there is."""
    root = build_tree(load_index(), VERBS, NOUNS)
    root.params.append(
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_version,
            help="Show the version and exit.",
        )
    )
    return root


def _show_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"loopwright {loopwright.__version__}")
        ctx.exit(0)


def main(args: Sequence[str] | None = None) -> None:
    """Run a command line and exit with its code."""
    sys.exit(carry_out(command_tree(), sys.argv[1:] if args is None else args))
