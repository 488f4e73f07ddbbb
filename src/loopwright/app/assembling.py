"""One server from a workspace: the API with the surfaces that are mounted beside it."""

from __future__ import annotations

from loopwright.core.errors import Invalid
from loopwright.surfaces.http import Application, build_app
from loopwright.surfaces.http.admission import is_loopback
from loopwright.workspace import Settings, Workspace

__all__ = ["assemble", "check_exposure"]


def assemble(workspace: Workspace) -> Application:
    """The whole application of a workspace."""
    return build_app(workspace)


def check_exposure(settings: Settings, *, is_insecure: bool) -> None:
    """`Invalid` when a server would be open to other machines without a token, unless that is wanted."""
    if not is_loopback(settings.host) and not settings.token and not is_insecure:
        raise Invalid(
            f"{settings.host} can be reached from other machines, and no token is set",
            hint="set LOOPWRIGHT_TOKEN, or say --insecure when the network keeps strangers out",
            where="--host",
        )
