"""Where a program's calls go: to a server when there is an address, else to the workspace of this machine."""

from __future__ import annotations

from loopwright.client import Client
from loopwright.workspace import Workspace, load_settings

__all__ = ["connect"]


def connect(
    url: str | None = None,
    *,
    token: str | None = None,
    workspace: str | None = None,
    space: str | None = None,
) -> Workspace | Client:
    """Whoever carries operations out, by `.call("assets.list", kind="model")` on either.

    What is not given comes from LOOPWRIGHT_* in the environment, then from loopwright.toml. A given
    `workspace` goes before an address that is only configured.
    """
    settings = load_settings({"url": url, "token": token, "workspace": workspace, "space": space})
    if settings.url and (url is not None or workspace is None):
        return Client(settings.url, settings.token, space=settings.space)
    return Workspace.open(settings=settings)
