"""Records what a real MLflow server answers: `python -m tests.protocols.mlflow.recording [GROUP...]`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.protocols.mlflow.groups import SCRIPTS
from tests.protocols.mlflow.keeping import keep
from tests.protocols.mlflow.names import Namer
from tests.protocols.mlflow.peers import mlflow_server
from tests.protocols.mlflow.talking import Talk
from tests.protocols.mlflow.wire import Exchange, Reply, Sender, sender, shortened

__all__ = ["record"]

HINT = 16


def record(group: str, send: Sender) -> list[Exchange]:
    """Send a group's script and write down what came back, with names for what the server chose."""
    talk = Talk(send)
    SCRIPTS[group](talk)
    namer = Namer()
    return [_written(each, namer) for each in talk.exchanges]


def _written(exchange: Exchange, namer: Namer) -> Exchange:
    asked, reply = exchange.request, exchange.reply
    namer.learn(reply.json)
    request = replace(
        asked,
        path=shortened(namer.named(asked.path)),
        query=shortened(namer.named(list(asked.query))),
        json=namer.named(asked.json),
        text=shortened(namer.named(asked.text)),
        headers=namer.named(dict(asked.headers)),
    )
    body, text = (
        shortened(namer.named(_bare(reply.json, whole=exchange.wording))),
        shortened(namer.named(_bare(reply.text, whole=True))),
    )
    return replace(
        exchange,
        request=request,
        reply=Reply(status=reply.status, headers=reply.headers, json=body, text=text),
    )


def _bare(body: Any, *, whole: bool) -> Any:
    """A reply without what is compared nowhere: pages for people, an error's further names and words."""
    if isinstance(body, str):
        return "" if body.startswith("<!doctype html>") else body
    if isinstance(body, dict) and "error_code" in body:
        message = body["message"] if whole else body["message"][:HINT]
        return {"error_code": body["error_code"], "message": message}
    return body


def main(groups: list[str]) -> None:
    """Record the named groups, or all."""
    with mlflow_server("3") as peer:
        for group in groups or list(SCRIPTS):
            path = keep(group, peer.name, record(group, sender(peer.url)))
            sys.stderr.write(f"{path.relative_to(Path.cwd())}: {path.stat().st_size} bytes\n")


if __name__ == "__main__":
    main(sys.argv[1:])
