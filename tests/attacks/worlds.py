"""A workspace with one of everything, its application asked without a port, and what no reply may be."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from loopwright.app.assembling import assemble
from loopwright.core.nouns import MetricPoint
from loopwright.data.verbs import append, define_contract
from loopwright.registry import registered, versions
from loopwright.registry.nouns import NewVersion
from loopwright.surfaces.http import Application
from loopwright.tracking import verbs
from loopwright.tracking.artifacts import store
from loopwright.tracking.homes import in_run
from loopwright.tracking.paths import file_path
from loopwright.workspace import Workspace, load_settings
from tests.data.weather import contract, weather
from tests.serving.real import serve
from tests.surfaces.asking import Answer, ask

__all__ = ["TOLD", "World", "answered", "furnished", "peopled"]

TOLD = re.compile(
    rb"Traceback|File \"|/root|/home/|site-packages|\.loopwright|ledger\.db|sqlite3\.|sqlalchemy|psycopg"
    rb"|object at 0x",
    re.IGNORECASE,
)
_AT_US = 1_700_000_000_000_000


class World(NamedTuple):
    """The application, and the ids that requests have to name."""

    workspace: Workspace
    app: Application
    names: Mapping[str, str]

    def ask(self, method: str, target: str, **more: Any) -> Answer:
        """Ask, with `{name}` of the target filled in."""
        for name, value in self.names.items():
            target = target.replace(f"{{{name}}}", value)
        return ask(self.app, method, target, **more)

    def post(self, target: str, value: Any) -> Answer:
        """Send JSON; a route of MLflow's protocol by its short name."""
        path = target if target.startswith("/") else f"/api/2.0/mlflow/{target}"
        return self.ask("POST", path, value=value)


def answered(answer: Answer, what: str) -> None:
    """No fault of ours; a refusal is JSON with a reason; and nothing of the machine in either."""
    assert answer.status < 500 or answer.status == 501, f"{what}: {answer.status} {answer.body[:400]!r}"
    assert not TOLD.search(answer.body), f"{what}: {answer.body[:400]!r}"
    if answer.status < 400:
        return
    if answer.headers["content-type"].startswith("text/html"):
        assert b"Not here" in answer.body, what
        return
    assert answer.headers["content-type"].startswith("application/json"), what
    told = json.loads(answer.body)
    assert told.get("message") or told.get("error"), what


@contextmanager
def furnished(folder: Path, *, is_serving: bool = True) -> Iterator[World]:
    """The world; with two models served unless nothing is to be predicted."""
    found = load_settings({"workspace": str(folder / ".loopwright")}, environment={})
    with Workspace.open(settings=found) as workspace:
        names = peopled(workspace)
        if is_serving:
            serve(workspace.context())
        yield World(workspace, assemble(workspace), names)


def peopled(workspace: Workspace) -> dict[str, str]:
    """Three runs of an experiment, rows of a dataset with some in quarantine, models; the names of them."""
    ctx = workspace.context()
    made = []
    for at in range(3):
        run = verbs.start(
            ctx, "run", f"run {at}", experiment="e", params={"lr": str(at)}, tags={"why": "x" * at}
        )
        points = [
            MetricPoint(key="loss", value=1 / (step + 1), step=step, at_us=_AT_US + step) for step in range(5)
        ]
        verbs.log_points(ctx, run.id, points)
        store(ctx, partial(in_run, space=ctx.space, run_id=run.id, path=file_path("a/b.txt")), b"kept")
        made.append(run.id)
    define_contract(ctx, "weather", contract())
    append(ctx, "weather", weather(24, wind={5: 900.0, 7: 1000.0}))
    registered.create(ctx, "m")
    for _ in range(3):
        versions.create(ctx, "m", NewVersion(source="s3://x/y"))
    versions.set_alias(ctx, "m", "champion", 2)
    experiment = workspace.call("experiments.show", name="e")
    return {
        "run_id": made[0],
        "experiment": "e",
        "experiment_id": experiment.id,
        "kind": "model",
        "name": "weather",
        "endpoint": "delays",
        "address": "model:m@1",
        "version": "1",
        "alias": "champion",
        "key": "loss",
        "path": "a/b.txt",
    }
