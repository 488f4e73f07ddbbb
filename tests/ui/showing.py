"""A server over a workspace the story was told in, and one over an empty workspace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from loopwright.app.assembling import assemble
from loopwright.app.demo.progress import load_progress
from loopwright.app.demo.story import START
from loopwright.app.server import Server
from loopwright.core.nouns import Signal
from loopwright.core.traces import Span
from loopwright.engine.operation import Upload
from loopwright.engine.publishing import ensure_asset
from loopwright.llm.intake import Sent, log_spans
from loopwright.registry import registered, versions
from loopwright.registry.nouns import NewVersion
from loopwright.surfaces.ui.pages import PAGES
from loopwright.workspace import ReplayClock, Workspace

__all__ = ["EXPERIMENT", "HOSTILE", "MODEL", "MODEL_PATH", "Shown", "empty", "told"]

HOSTILE = "<script>alert(1)</script>"
EXPERIMENT, PROMPT, QUEUE, EXPLORATION = "looked-at", "summary", "gusts", "winds"
EXPLORED = f"""# {HOSTILE}

Winds of *three* airports.

```data
weather = weather
```

```sql by_origin
SELECT origin, avg(wind_speed) AS wind, '{HOSTILE}' AS said FROM weather GROUP BY origin ORDER BY origin
```

```chart bar by_origin
x = origin
y = wind
```
"""
MODEL = "model:arrival-delay@1"
NEVER_EMPTY = ("/models/compare", "/assets/compare", "/experiments", "/explore", "/traces")
"""pages that are about something: two versions, and the experiment that is there as soon as one looks"""
TRACE = f"tr-{1:032x}"
MODEL_PATH = f"/versions/{quote(MODEL, safe='')}"


class Shown(NamedTuple):
    """A server over the story's workspace, and an address of every page."""

    workspace: Workspace
    server: Server
    paths: dict[str, str]

    @property
    def host(self) -> str:
        """The server's name and port."""
        return urlsplit(self.server.url).netloc


def _at_its_instant(workspace: Workspace, clock: ReplayClock) -> None:
    """The clock stands where the story ended."""
    found = load_progress(workspace.context())
    assert found is not None
    assert found.instant is not None
    clock.advance(found.instant)


def _addresses(workspace: Workspace) -> dict[str, str]:
    run = workspace.call("runs.list", kind="training").items[-1]
    incident = workspace.call("incidents.list").items[0]
    decision = workspace.call("decisions.list").items[0]
    of_one = {
        "/assets/model/{name:path}": "/assets/model/arrival-delay",
        "/assets/compare": "/assets/compare?dataset=weather",
        "/assets/dataset/{name:path}": "/assets/dataset/weather",
        "/contracts/{name:path}": "/contracts/weather",
        "/explorations/{name:path}": f"/explorations/{EXPLORATION}",
        "/labels/{name:path}": f"/labels/{QUEUE}",
        "/assets/{kind}/{name:path}": "/assets/endpoint/delays",
        "/assets/feature_view/{name:path}": "/assets/feature_view/origin_weather",
        "/experiments/{name:path}": f"/experiments/{EXPERIMENT}",
        "/compare": f"/compare?run={run.id}",
        "/models/compare": "/models/compare?model=arrival-delay&left=1&right=1",
        "/prompts/{name:path}": f"/prompts/{PROMPT}",
        "/traces/{trace:path}": f"/traces/{TRACE}",
        "/evaluation/{dataset_id}": f"/evaluation/{workspace.call('evaluation.list').items[0].id}",
        "/webhooks/{webhook_id}": f"/webhooks/{workspace.call('webhooks.list').items[0].id}",
        "/versions/{address:path}": MODEL_PATH,
        "/runs/{run_id}": f"/runs/{run.id}",
        "/endpoints/{name:path}": "/endpoints/delays",
        "/monitoring/{name:path}": "/monitoring/delays",
        "/incidents/{incident_id}": f"/incidents/{incident.id}",
        "/decisions/{decision_id}": f"/decisions/{decision.id}",
    }
    return {page.path: of_one.get(page.path, page.path) for page in PAGES}


@contextmanager
def told(folder: Path) -> Iterator[Shown]:
    """A finished story's workspace, served at the instant the story ended."""
    clock = ReplayClock(START)
    with Workspace.open(folder, clock=clock) as workspace:
        _at_its_instant(workspace, clock)
        ctx = workspace.context()
        ctx.write(lambda tx: ensure_asset(ctx, tx, "dataset", HOSTILE, description=HOSTILE))
        _tracked(workspace)
        _judged(workspace)
        app = assemble(workspace)
        with Server(app, on_stopping=app.stop_feeds) as server:
            yield Shown(workspace, server, _addresses(workspace))


def _judged(workspace: Workspace) -> None:
    """Days of two columns held against others, of which so short a story has too few."""
    ctx = workspace.context()
    made = [
        Signal(
            id=ctx.new_id(),
            space=ctx.space,
            subject="endpoint:delays",
            name=f"drift.{column}",
            value=0.3,
            at=ctx.now(),
            window_start=START + timedelta(days=day),
            window_end=START + timedelta(days=day + 1),
            facts={"p_value": 10.0 ** -(2 * day), "drifted": day == 2},
        )
        for column in ("origin", "temp")
        for day in range(3)
    ]
    ctx.write(lambda tx: tx.signals.add(made))


def _tracked(workspace: Workspace) -> None:
    """A run of an experiment, a trace, a prompt, and an evaluation dataset."""
    run = workspace.call("runs.start", name="one", experiment=EXPERIMENT, params={"lr": "0.1"})
    workspace.call("runs.end", run_id=run.id)
    tags = {"mlflow.prompt.is_prompt": "true", "mlflow.prompt.text": "Say it in one sentence."}
    registered.create(workspace.context(), PROMPT, tags=tags)
    versions.create(workspace.context(), PROMPT, NewVersion(source="dummy-source", tags=tags))
    span = Span(trace_id=TRACE, id=f"{1:016x}", name=HOSTILE, start_ns=10**18, end_ns=10**18 + 10**9)
    log_spans(workspace.context(), Sent(experiment_id="0", spans=(span,)))
    dataset = workspace.call("evaluation.create", name=HOSTILE, tags={"team": HOSTILE})
    records = [{"inputs": {"question": HOSTILE}, "expectations": {"answer": HOSTILE}}]
    workspace.call("evaluation.merge", dataset_id=dataset.id, records=records)
    asked = {"dataset": "weather", "question": HOSTILE, "choices": ["yes", HOSTILE], "limit": 5}
    asked["keys"] = ["origin", "observed_at"]
    workspace.call("labels.open", queue=QUEUE, **asked)
    workspace.call("explorations.save", name=EXPLORATION, upload=Upload(chunks=[EXPLORED.encode()]))
    address, events = "https://1.1.1.1/x", ("registered_model.created",)
    workspace.call("webhooks.create", name="ci", address=address, events=events, status="disabled")


@contextmanager
def empty(folder: Path) -> Iterator[Shown]:
    """A workspace in which nothing has happened; the addresses are those of lists."""
    with Workspace.open(folder) as workspace:
        app = assemble(workspace)
        with Server(app, on_stopping=app.stop_feeds) as server:
            yield Shown(
                workspace,
                server,
                {p.path: p.path for p in PAGES if "{" not in p.path and p.path not in NEVER_EMPTY},
            )
