"""A workspace with runs, behind MLflow's protocol, asked without a port."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from loopwright.surfaces.http import Application, build_app
from loopwright.surfaces.mlflow.application import build_mlflow
from loopwright.tracking.verbs import start
from loopwright.workspace import Workspace, load_settings
from tests.surfaces.asking import Answer, ask

__all__ = ["PROXY", "Place", "placed"]

PROXY = "/api/2.0/mlflow-artifacts/artifacts"


class Place(NamedTuple):
    """A server and one of its runs."""

    workspace: Workspace
    app: Application
    run_id: str
    home: str

    def ask(self, method: str, path: str, body: bytes | list[bytes] = b"", **headers: str) -> Answer:
        """Ask for a path of the run's files."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return ask(self.app, method, f"{PROXY}/{self.home}/{path}", body=body, headers=named)

    def files(self, folder: str = "") -> list[tuple[str, bool, int]]:
        """What is listed in a folder of the run."""
        target = f"/api/2.0/mlflow/artifacts/list?run_id={self.run_id}&path={folder}"
        found = ask(self.app, "GET", target).json.get("files", [])
        return [(each["path"], each["is_dir"], each.get("file_size", 0)) for each in found]


@contextmanager
def placed(folder: Path, *, upload_mb: int = 4) -> Iterator[Place]:
    """A new workspace, with an experiment and a run in it."""
    given = {"workspace": str(folder / ".loopwright"), "max_upload_mb": upload_mb}
    with Workspace.open(settings=load_settings(given, environment={})) as workspace:
        protocol = build_mlflow(workspace)
        paths = ("/api", "/ajax-api", "/get-artifact")
        app = build_app(workspace, mounts=[(path, protocol) for path in paths], protocols=(protocol,))
        ctx = workspace.context()
        run = start(ctx, "run", "first", experiment="files")
        with ctx.read() as tx:
            experiment = tx.assets.find(ctx.space, "experiment", "files")
        assert experiment is not None
        yield Place(workspace, app, run.id, f"{experiment.id}/{run.id}/artifacts")
