"""A workspace with tracked runs, served: a sweep, a run that goes on, files, two versions, a prompt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from loopwright.app.assembling import assemble
from loopwright.app.server import Server
from loopwright.core.nouns import MetricPoint
from loopwright.registry import registered, versions
from loopwright.registry.nouns import NewVersion
from loopwright.tracking import verbs
from loopwright.tracking.artifacts import store
from loopwright.tracking.homes import in_run
from loopwright.tracking.lifecycle import PARENT_TAG
from loopwright.tracking.paths import file_path
from loopwright.workspace import Workspace
from tests.ui.showing import HOSTILE

__all__ = ["FILES", "RUNS", "SWEEP", "Tracked", "tracked"]

SWEEP, RUNS = "sweep", 320
_AT_US = 1_700_000_000_000_000
_PAGE = f"<h1>Report</h1><script>parent.document.title = 'owned'</script>{HOSTILE}".encode()
FILES = {
    "notes.txt": HOSTILE.encode(),
    "table.csv": f'name,value\n"a, b",1\n{HOSTILE},2\n'.encode(),
    "config.json": b'{"a":[1,2]}',
    "report.html": _PAGE,
    "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><text>a</text></svg>',
    "deep/code.py": b"x = 1\n",
}


class Tracked(NamedTuple):
    """A server over tracked runs: all ids of the sweep by number, the one that goes on, its parent."""

    workspace: Workspace
    server: Server
    runs: tuple[str, ...]
    going: str

    @property
    def host(self) -> str:
        """The server's name and port."""
        return urlsplit(self.server.url).netloc


def _sweep(workspace: Workspace) -> tuple[str, ...]:
    ctx = workspace.context()
    made: list[str] = []
    for at in range(RUNS):
        params = {"lr": str(at / 1000), "model": ("tree", "line", "net")[at % 3], "seed": "7"}
        under = ctx.under(made[0]) if 0 < at < 4 else ctx
        tags = {PARENT_TAG: made[0]} if 0 < at < 3 else {}
        run = verbs.start(under, "run", f"run-{at:03d}", experiment=SWEEP, params=params, tags=tags)
        verbs.log_points(ctx, run.id, [MetricPoint(key="auc", value=at / RUNS, at_us=_AT_US)])
        verbs.end(ctx, run.id)
        made.append(run.id)
    return tuple(made)


def _going(workspace: Workspace) -> str:
    ctx = workspace.context()
    note = {"mlflow.note.content": HOSTILE, "why": HOSTILE}
    run = verbs.start(ctx, "run", HOSTILE, experiment=HOSTILE, params={HOSTILE: HOSTILE}, tags=note)
    points = [
        MetricPoint(key=key, value=1 / (step + 1), step=step, at_us=_AT_US + step * 1_000_000)
        for key in ("loss", "system/cpu_percent", HOSTILE)
        for step in range(300)
    ]
    verbs.log_points(ctx, run.id, points)
    for path, data in FILES.items():
        store(ctx, partial(in_run, space=ctx.space, run_id=run.id, path=file_path(path)), data)
    return run.id


def _registered(workspace: Workspace) -> None:
    ctx = workspace.context()
    registered.create(ctx, "scorer", description=HOSTILE, tags={"why": HOSTILE})
    for text in ("one\ntwo", f"one\n{HOSTILE}"):
        versions.create(
            ctx, "scorer", NewVersion(source="s3://x/y", description=HOSTILE, tags={"said": text})
        )
    versions.set_alias(ctx, "scorer", "champion", 2)
    is_prompt = {"mlflow.prompt.is_prompt": "true"}
    registered.create(ctx, "summary", tags=is_prompt)
    for text in ("Say it.\nBriefly.", f"Say it.\n{HOSTILE}"):
        versions.create(
            ctx, "summary", NewVersion(source="dummy-source", tags={**is_prompt, "mlflow.prompt.text": text})
        )


@contextmanager
def tracked(folder: Path) -> Iterator[Tracked]:
    """The workspace, served."""
    with Workspace.open(folder) as workspace:
        runs, going = _sweep(workspace), _going(workspace)
        _registered(workspace)
        app = assemble(workspace)
        with Server(app, on_stopping=app.stop_feeds) as server:
            yield Tracked(workspace, server, runs, going)
