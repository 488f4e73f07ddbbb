"""What a script of requests speaks through: short calls, each with a line that says what it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.protocols.mlflow.wire import Exchange, Request, Sender, path_of

__all__ = ["Talk"]

Query = Mapping[str, Any] | Sequence[tuple[str, Any]]


class Talk:
    """Sends what a script says and keeps every exchange; `wording` and `free` as in an `Exchange`."""

    def __init__(self, send: Sender) -> None:
        self._send = send
        self.exchanges: list[Exchange] = []

    def ask(self, says: str, request: Request, *, wording: bool = False, free: str = "") -> Any:
        """Send one request; the reply's JSON, or its text."""
        reply = self._send(request)
        self.exchanges.append(Exchange(says=says, request=request, reply=reply, wording=wording, free=free))
        return reply.text if reply.json is None else reply.json

    def get(self, path: str, says: str, query: Query = (), **more: Any) -> Any:
        """GET with a query."""
        listed = query.items() if isinstance(query, Mapping) else query
        pairs = [(name, str(value)) for name, value in listed]
        return self.ask(says, Request(method="GET", path=path_of(path), query=pairs), **more)

    def post(self, path: str, says: str, json: Any, **more: Any) -> Any:
        """POST with a JSON body."""
        return self.ask(says, Request(method="POST", path=path_of(path), json=json), **more)

    def patch(self, path: str, says: str, json: Any, **more: Any) -> Any:
        """PATCH with a JSON body."""
        return self.ask(says, Request(method="PATCH", path=path_of(path), json=json), **more)

    def delete(self, path: str, says: str, json: Any = None, **more: Any) -> Any:
        """DELETE with a JSON body, or none."""
        return self.ask(says, Request(method="DELETE", path=path_of(path), json=json), **more)

    def put(self, path: str, says: str, text: str, **headers: str) -> Any:
        """PUT of a file."""
        return self.ask(says, Request(method="PUT", path=path_of(path), text=text, headers=headers))

    # The two things that nearly every script begins with.

    def experiment(self, name: str) -> str:
        """A new experiment's id."""
        made = self.post("experiments/create", f"an experiment {name}", {"name": name})
        return str(made["experiment_id"])

    def run(self, experiment: str, name: str, start: int = 1_700_000_000_000, **more: Any) -> str:
        """A new run's id."""
        body = {"experiment_id": experiment, "run_name": name, "start_time": start, **more}
        return str(self.post("runs/create", f"a run {name}", body)["run"]["info"]["run_id"])
