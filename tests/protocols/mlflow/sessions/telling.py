"""Webhooks by their client: a receiver that checks every signature hears of models and prompts."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import queue
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from typing import Any

from tests.protocols.mlflow.sessions.told import Told, refusal

__all__ = ["session"]

SECRET = "a secret of both sides"
PATIENCE_S = 30
EVENTS = {
    "registered_model": "created",
    "model_version": "created",
    "model_version_tag": "set deleted",
    "model_version_alias": "created deleted",
    "prompt": "created",
    "prompt_version": "created",
    "prompt_tag": "set deleted",
    "prompt_version_tag": "set deleted",
    "prompt_alias": "created deleted",
}


class Receiver:
    """Hears what is posted, as MLflow's documentation says that a receiver should: signed, and of now."""

    def __init__(self) -> None:
        self.heard: queue.Queue[dict[str, Any]] = queue.Queue()
        self.ids: list[str] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.take(self.path, dict(self.headers.items()), body)
                answer = b'{"heard": true}'
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """Check the signature, the instant and the id, and keep what was told."""
        sent_id, at = headers["X-MLflow-Delivery-Id"], headers["X-MLflow-Timestamp"]
        signed = f"{sent_id}.{at}.{body.decode()}".encode()
        digest = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
        said = json.loads(body)
        said.pop("timestamp")
        if str(said["data"].get("key", "")).startswith("_mlflow_"):
            return  # the client's own books, kept by a thread of its own at any time
        self.ids.append(sent_id)
        self.heard.put(
            {
                "path": path,
                "type": headers["Content-Type"],
                "signed": headers.get("X-MLflow-Signature") == f"v1,{digest}",
                "unsigned": "X-MLflow-Signature" not in headers,
                "recent": abs(time.time() - int(at)) < 60,
                "said": said,
            }
        )

    def next(self) -> dict[str, Any]:
        """What is heard next."""
        return self.heard.get(timeout=PATIENCE_S)


def session(mlflow: Any, told: Told) -> None:
    client, event = mlflow.MlflowClient(), import_module("mlflow.entities.webhook").WebhookEvent
    receiver = Receiver()
    told.hide(receiver.url, "receiver")
    names = [f"{what}.{done}" for what, each in EVENTS.items() for done in each.split()]
    made = client.create_webhook(
        "all", f"{receiver.url}/all", [event.from_str(n) for n in names], secret=SECRET
    )
    told.tell("made", [made.name, str(made.status), sorted(map(str, made.events)), made.secret])
    told.tell("read", [client.get_webhook(made.webhook_id).secret, len(client.list_webhooks())])
    done = client.test_webhook(made.webhook_id, event.from_str("model_version_tag.set"))
    told.tell("tested", [done.success, done.response_status, done.response_body])
    heard = receiver.next()
    told.tell("test heard", [heard["signed"], heard["recent"], sorted(heard["said"]["data"])])
    _models(client, told, receiver)
    _prompts(mlflow, told, receiver)
    told.tell("ids differ", len(set(receiver.ids)) == len(receiver.ids))
    _disabled(client, told, receiver, made, event)


def _models(client: Any, told: Told, receiver: Receiver) -> None:
    client.create_registered_model("told model", tags={"team": "blue"}, description="größer")
    told.tell("model", receiver.next())
    source = "s3://bucket/model"
    client.create_model_version("told model", source, tags={"lr": "0.1"}, description="first")
    told.tell("version", receiver.next())
    client.set_model_version_tag("told model", "1", "stage", "tested")
    told.tell("tag", receiver.next())
    client.delete_model_version_tag("told model", "1", "stage")
    told.tell("tag gone", receiver.next())
    client.set_registered_model_alias("told model", "champion", "1")
    told.tell("alias", receiver.next())
    client.delete_registered_model_alias("told model", "champion")
    told.tell("alias gone", receiver.next())
    client.set_registered_model_tag("told model", "untold", "yes")


def _prompts(mlflow: Any, told: Told, receiver: Receiver) -> None:
    genai = mlflow.genai
    genai.register_prompt("told-prompt", "Hello {{name}}", commit_message="first", tags={"lang": "en"})
    both = (receiver.next(), receiver.next())  # made at once, so told in any order
    for name, heard in zip(
        ("prompt", "prompt version"), sorted(both, key=lambda each: str(each["said"]["entity"])), strict=True
    ):
        told.tell(name, heard)
    genai.set_prompt_tag("told-prompt", "team", "red")
    told.tell("prompt tag", receiver.next())
    genai.delete_prompt_tag("told-prompt", "team")
    told.tell("prompt tag gone", receiver.next())
    genai.set_prompt_version_tag("told-prompt", 1, "author", "ann")
    told.tell("prompt version tag", receiver.next())
    genai.delete_prompt_version_tag("told-prompt", 1, "author")
    told.tell("prompt version tag gone", receiver.next())
    genai.set_prompt_alias("told-prompt", "production", 1)
    told.tell("prompt alias", receiver.next())
    genai.delete_prompt_alias("told-prompt", "production")
    told.tell("prompt alias gone", receiver.next())


def _disabled(client: Any, told: Told, receiver: Receiver, made: Any, event: Any) -> None:
    """What is disabled hears nothing; another one, without a secret, hears the next."""
    client.update_webhook(made.webhook_id, status="DISABLED", description="quiet")
    other = client.create_webhook(
        "other", f"{receiver.url}/other", [event.from_str("registered_model.created")]
    )
    client.create_registered_model("told second")
    told.tell("second", receiver.next())
    told.tell("nothing else", receiver.heard.empty())
    client.delete_webhook(made.webhook_id)
    client.delete_webhook(other.webhook_id)
    told.tell("gone", refusal(lambda: client.get_webhook(made.webhook_id)))
    told.tell("none left", len(client.list_webhooks()))
