"""`lw.autolog()`: MLflow's own autologgers, writing to where we write."""

from __future__ import annotations

import atexit
import importlib
from typing import Any

from loopwright.app.assembling import assemble
from loopwright.app.connecting import connect
from loopwright.app.server import Server
from loopwright.client import Client
from loopwright.core.errors import Unavailable
from loopwright.workspace import Workspace

__all__ = ["autolog"]


def autolog(*, experiment: str | None = None, to: Workspace | Client | None = None, **options: Any) -> str:
    """Log fits of scikit-learn, LightGBM, XGBoost and others by MLflow's autologgers; gives the address.

    `options` are those of `mlflow.autolog` (`log_models=False`, `disable=True`). Without a server, the
    workspace of this machine listens on a free port of the loopback from now until the program ends: call it
    once.
    `Unavailable` when MLflow is not installed.
    """
    try:
        mlflow = importlib.import_module("mlflow")
    except ModuleNotFoundError as error:
        raise Unavailable(
            "autologging is done by MLflow's own autologgers, and MLflow is not installed",
            hint='pip install "loopwright[mlflow]"; the server needs nothing of it',
        ) from error
    if options.get("disable"):
        mlflow.autolog(**options)
        return str(mlflow.get_tracking_uri())
    url = _reachable(to or connect())
    mlflow.set_tracking_uri(url)
    mlflow.set_registry_uri(url)
    if experiment is not None:
        mlflow.set_experiment(experiment)
    mlflow.autolog(**options)
    return url


def _reachable(face: Workspace | Client) -> str:
    """The address of the server, or of the workspace's protocol on a port of its own."""
    if isinstance(face, Client):
        return face.url
    app = assemble(face)
    server = Server(app, on_stopping=app.stop_feeds)
    server.start()
    atexit.register(server.stop)
    return server.url
