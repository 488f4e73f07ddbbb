"""Scripts stored in every name, note and value: in a browser no page runs one, or loads what is foreign."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Browser, Page

from loopwright.app.assembling import assemble
from loopwright.app.server import Server
from loopwright.core.nouns import MetricPoint
from loopwright.data.verbs import append, define_contract
from loopwright.engine.publishing import ensure_asset
from loopwright.registry import registered, versions
from loopwright.registry.nouns import NewVersion
from loopwright.surfaces.ui.pages import PAGES
from loopwright.tracking import verbs
from loopwright.tracking.artifacts import store
from loopwright.tracking.homes import in_run
from loopwright.tracking.paths import file_path
from loopwright.workspace import Workspace, load_settings
from tests.data.weather import contract, weather
from tests.surfaces.asking import ask
from tests.ui.browsing import Watch, browser

OWN = "window.owned = (window.owned || 0) + 1"
SCRIPTS = (
    f"<script>{OWN}</script>",
    f'"><img src=x onerror="{OWN}">',
    f"'-({OWN})-'",
    f"</script><script>{OWN}</script>",
    f"<svg onload={quote(OWN)}>",
    f"javascript:{OWN}//",
    f"]]><script>{OWN}</script>",
    "{{constructor.constructor('window.owned=1')()}}",
    f"</textarea></title></style><iframe srcdoc='<script>parent.{OWN}</script>'>",
    "<b onmouseover=owned=1>x</b><a href=javascript:owned=1>y</a><base href=//evil.example>",
)
ALL = " ".join(SCRIPTS)
NAMES = tuple(text.replace("/", "").replace("\\", "")[:200] for text in SCRIPTS)
_AT_US = 1_700_000_000_000_000
FILES = {
    "page.html": f"<h1>x</h1><script>parent.{OWN};{OWN}</script><form action=//evil.example>"
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "drawing.svg": f'<svg xmlns="http://www.w3.org/2000/svg" onload="{OWN}"><script>{OWN}</script></svg>',
    "notes.md": f"[x](javascript:{OWN}) {ALL}",
    "table.csv": f"a,b\n=1+1,{ALL}\n",
    "book.ipynb": json.dumps({"cells": [{"cell_type": "markdown", "source": [ALL]}], "nbformat": 4}),
    "data.json": json.dumps({ALL: ALL}),
    "code.js": OWN,
}


class Told(NamedTuple):
    """A server over a workspace full of scripts, and addresses of its pages."""

    workspace: Workspace
    server: Server
    run: str
    addresses: tuple[str, ...]


def _runs(workspace: Workspace, experiment: str) -> str:
    ctx = workspace.context()
    made = ""
    for name in NAMES:
        tags = {"mlflow.note.content": ALL, name: ALL, "mlflow.source.name": ALL, "mlflow.user": ALL}
        run = verbs.start(ctx, "run", name, experiment=experiment, params={name: ALL}, tags=tags)
        points = [MetricPoint(key=name, value=step / 7, step=step, at_us=_AT_US + step) for step in range(4)]
        verbs.log_points(ctx, run.id, points)
        made = run.id
    for path, text in FILES.items():
        find = partial(in_run, space=ctx.space, run_id=made, path=file_path(path))
        store(ctx, find, text.encode())
    return made


def _protocol(workspace: Workspace, run: str) -> None:
    """What MLflow's clients log: datasets that a run read, and a prompt."""
    app = assemble(workspace)
    dataset = {"name": NAMES[0], "digest": NAMES[1][:36], "source": ALL, "source_type": NAMES[2][:36]}
    body = {"run_id": run, "datasets": [{"dataset": {**dataset, "schema": ALL}, "tags": []}]}
    assert ask(app, "POST", "/api/2.0/mlflow/runs/log-inputs", value=body).status == 200


def _registered(workspace: Workspace) -> str:
    ctx = workspace.context()
    for prompt in (False, True):
        tags = {"mlflow.prompt.is_prompt": "true", "mlflow.prompt.text": ALL} if prompt else {"why": ALL}
        name = f"{'prompt' if prompt else 'model'} {SCRIPTS[1].replace('/', '')}"
        registered.create(ctx, name, description=ALL, tags=tags)
        for _ in range(2):
            source = "dummy-source" if prompt else "s3://x/y"
            versions.create(ctx, name, NewVersion(source=source, description=ALL, tags=tags))
        versions.set_alias(ctx, name, "champion", 1)
    return f"model {SCRIPTS[1].replace('/', '')}"


def _data(workspace: Workspace) -> None:
    ctx = workspace.context()
    for kind in ("dataset", "feature_view", "endpoint", "monitor"):
        text = SCRIPTS[0].replace("/", "")
        ctx.write(lambda tx, kind=kind, text=text: ensure_asset(ctx, tx, kind, text, description=ALL))  # type: ignore[misc]  # bound at once
    define_contract(ctx, "weather", contract())
    append(ctx, "weather", weather(3, wind={1: 900.0}))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder: Path = tmp_path_factory.mktemp("scripts")
    settings = load_settings({"workspace": str(folder / ".loopwright")}, environment={})
    with Workspace.open(settings=settings) as workspace:
        experiment = SCRIPTS[1].replace("/", "")
        run = _runs(workspace, experiment)
        _protocol(workspace, run)
        model = _registered(workspace)
        _data(workspace)
        app = assemble(workspace)
        with Server(app, on_stopping=app.stop_feeds) as server:
            yield Told(workspace, server, run, tuple(_addresses(workspace, experiment, run, model)))


def _addresses(workspace: Workspace, experiment: str, run: str, model: str) -> Iterator[str]:
    named = {
        "/assets/model/{name:path}": f"/assets/model/{quote(model, safe='')}",
        "/experiments/{name:path}": f"/experiments/{quote(experiment, safe='')}",
        "/runs/{run_id}": f"/runs/{run}",
        "/prompts/{name:path}": f"/prompts/{quote(model.replace('model', 'prompt', 1), safe='')}",
    }
    runs = [each.id for each in workspace.call("runs.list", limit=10).items]
    yield from named.values()
    yield "/compare?" + "&".join(f"run={each}" for each in runs)
    yield f"/models/compare?model={quote(model, safe='')}&left=1&right=2"
    yield f"/versions/{quote('model:' + quote(model, safe='') + '@1', safe='')}"
    yield f"/assets/dataset/{quote(SCRIPTS[0].replace('/', ''), safe='')}"
    for page in PAGES:
        if "{" in page.path:
            yield re.sub(r"\{[^}]*\}", lambda _: quote(SCRIPTS[0], safe=""), page.path)
        else:
            yield page.path
            for name in ("filter", "name", "kind", "subject", "run", "model", "token", "group", "column"):
                yield f"{page.path}?{name}={quote(ALL, safe='')}"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture
def page(chromium: Browser, told: Told) -> Iterator[Page]:
    context = chromium.new_context(base_url=told.server.url)
    context.set_default_timeout(20_000)
    yield context.new_page()
    context.close()


def quiet(page: Page, watch: Watch, where: str) -> None:
    """Nothing ran, nothing foreign was asked for; what the policy stopped had no business being there."""
    assert page.evaluate("window.owned || 0") == 0, where
    for frame in page.frames:
        if frame.url.startswith("http"):
            assert urlsplit(frame.url).netloc == urlsplit(page.url).netloc, frame.url
    wrong = [each for each in watch.faults if "status of 40" not in each and "sandbox" not in each]
    assert not wrong, f"{where}: {wrong}"


@pytest.mark.browser
def test_no_page_runs_what_was_stored(page: Page, told: Told) -> None:
    watch = Watch(page, urlsplit(told.server.url).netloc)
    for address in told.addresses[:8]:
        page.goto(address, wait_until="load")
        page.wait_for_timeout(100)
        quiet(page, watch, address)


@pytest.mark.browser
@pytest.mark.slow
def test_no_page_runs_what_stands_in_its_address(page: Page, told: Told) -> None:
    watch = Watch(page, urlsplit(told.server.url).netloc)
    for address in told.addresses[8:]:
        page.goto(address, wait_until="load")
        quiet(page, watch, address)


@pytest.mark.browser
def test_no_logged_file_runs_where_it_is_shown(page: Page, told: Told) -> None:
    watch = Watch(page, urlsplit(told.server.url).netloc)
    page.goto(f"/runs/{told.run}")
    for name in FILES:
        page.get_by_role("treeitem", name=name).click()
        page.wait_for_timeout(150)
        quiet(page, watch, name)


@pytest.mark.browser
def test_a_script_that_does_run_would_be_seen(page: Page, told: Told) -> None:
    """The look itself: a page that is allowed to run scripts is found out."""
    page.goto(f"{told.server.url}/experiments")
    page.evaluate(OWN)
    with pytest.raises(AssertionError):
        quiet(page, Watch(page, urlsplit(told.server.url).netloc), "a page that runs it")


def test_a_logged_page_is_shown_within_its_run_alone(told: Told) -> None:
    """By itself it could pass for one of ours, or lead away."""
    app = assemble(told.workspace)
    for name in ("page.html", "drawing.svg"):
        target = f"/runs/{told.run}/frame?path={name}"
        assert ask(app, "GET", target, headers={"sec-fetch-dest": "document"}).status == 400
        shown = ask(app, "GET", target, headers={"sec-fetch-dest": "iframe"})
        policy = shown.headers["content-security-policy"]
        assert policy.startswith("sandbox;")
        assert "allow-" not in policy
        assert "script-src" not in policy
        assert shown.headers["x-content-type-options"] == "nosniff"
    assert ask(app, "GET", f"/runs/{told.run}/frame?path=code.js").status == 400


def test_every_logged_file_is_an_attachment_in_a_sandbox(told: Told) -> None:
    app = assemble(told.workspace)
    run = told.workspace.call("runs.show", run_id=told.run).run
    home = str(run.facts.get("artifact_uri", "")).removeprefix("mlflow-artifacts:/")
    proxied = f"/api/2.0/mlflow-artifacts/artifacts/{home}/" if home else None
    for name in FILES:
        targets = [f"/get-artifact?run_id={told.run}&path={name}"]
        targets.append(f"/api/v1/runs/{told.run}/artifacts/content?path={name}")
        targets += [proxied + name, proxied.replace("/api/", "/ajax-api/", 1) + name] if proxied else []
        for target in targets:
            answer = ask(app, "GET", target)
            assert answer.status == 200, target
            assert answer.headers["content-disposition"].startswith("attachment"), target
            assert answer.headers["x-content-type-options"] == "nosniff", target
            assert answer.headers["content-security-policy"].startswith("sandbox;"), target
