"""A feature service that is held open for many lookups: compiled, and let in, once a second at the most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loopwright.app.faces import Face
from loopwright.app.feature_views import Instant, instant_of
from loopwright.core.expressions import Scalar
from loopwright.engine.current import run_at
from loopwright.features.nouns import LookupReply
from loopwright.features.plans import Asker, LookupPlan, LookupPlans
from loopwright.workspace import Workspace

__all__ = ["OpenService"]


class OpenService:
    """What `DefinedService.open` gives. Thread safe.

    In a workspace of this process the service is compiled, and asked whether it may be read for the purpose,
    when it is opened; a new version, rule or grant counts within a second. On a server each lookup is a call.
    """

    def __init__(self, face: Face, name: str, *, purpose: str = "", looked_up: bool = False) -> None:
        self._face = face
        self._name, self._purpose, self._looked_up = name, purpose, looked_up
        self._here = _Held(face, name, purpose, looked_up=looked_up) if isinstance(face, Workspace) else None

    def lookup(self, rows: Sequence[Mapping[str, Scalar]], at: Instant | None = None) -> LookupReply:
        """The model inputs of request rows, as known at an instant (now)."""
        when = None if at is None else instant_of(at)
        if self._here is not None:
            return self._here.plan().reply(rows, when or self._here.now(), looked_up=self._looked_up)
        reply: LookupReply = self._face.call(
            "features.lookup",
            name=self._name,
            rows=list(rows),
            at=when,
            looked_up=self._looked_up,
            purpose=self._purpose,
        )
        return reply


class _Held:
    """The plan of a service in a workspace of this process, looked at again after a second."""

    def __init__(self, workspace: Workspace, name: str, purpose: str, *, looked_up: bool) -> None:
        self._workspace = workspace
        self._plans = LookupPlans()
        settings = workspace.settings
        self._asker = Asker(settings.space, name, settings.principal, purpose, looked_up)
        self.now = workspace.ports.clock.now
        self.plan()

    def plan(self) -> LookupPlan:
        held = self._plans.at_hand(self._asker)
        if held is not None:
            return held
        return self._plans.load(self._workspace.context().under(run_at(self._workspace)), self._asker)
