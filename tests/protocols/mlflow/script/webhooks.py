"""Webhooks: made, read, listed, changed, deleted, and what is refused. Nothing is posted."""

from __future__ import annotations

import time
from typing import Any

from tests.protocols.mlflow.talking import Talk

__all__ = ["webhooks"]

URL = "https://93.184.215.14/hook"
CREATED = {"entity": "REGISTERED_MODEL", "action": "CREATED"}
VERSION = {"entity": "MODEL_VERSION", "action": "CREATED"}
ALIAS = {"entity": "PROMPT_ALIAS", "action": "DELETED"}


def _made(talk: Talk, says: str, name: str, **more: Any) -> str:
    time.sleep(0.005)  # lists are ordered by when each was made
    body = {"name": name, "url": URL, "events": [CREATED], **more}
    return str(talk.post("webhooks", says, body)["webhook"]["webhook_id"])


def webhooks(talk: Talk) -> None:
    talk.get("webhooks", "there are none")
    one = _made(talk, "one of two events", "hook.one", events=[CREATED, VERSION], description="first")
    two = _made(talk, "one that is disabled, with a secret", "hook-two", status="DISABLED", secret="s3cret")
    talk.get(f"webhooks/{one}", "the first")
    talk.get(f"webhooks/{two}", "the second, without its secret")
    talk.get("webhooks", "both")
    page = talk.get("webhooks", "a page of one", {"max_results": 1})
    talk.get("webhooks", "the next", {"max_results": 1, "page_token": page["next_page_token"]})
    talk.patch(f"webhooks/{one}", "another name", {"name": "renamed"})
    talk.patch(f"webhooks/{one}", "other events and a note", {"events": [ALIAS], "description": "other"})
    talk.patch(f"webhooks/{one}", "disabled", {"status": "DISABLED"})
    talk.patch(f"webhooks/{one}", "another address and a secret", {"url": f"{URL}/2", "secret": "new"})
    talk.patch(f"webhooks/{one}", "nothing", {})
    talk.get(f"webhooks/{one}", "as it is now")
    _refused(talk, one)
    talk.delete(f"webhooks/{one}", "the first goes")
    talk.get(f"webhooks/{one}", "it is gone")
    talk.delete(f"webhooks/{one}", "it is gone already")
    talk.patch(f"webhooks/{one}", "and cannot be changed", {"name": "x"})
    talk.post(f"webhooks/{one}/test", "or tested", {})
    talk.get("webhooks", "the second is left")


def _refused(talk: Talk, one: str) -> None:
    for url in (
        "http://example.com/hook",
        "ftp://example.com",
        "https://",
        "example.com",
        "https://127.0.0.1/hook",
        "https://localhost/hook",
        "https://10.0.0.1",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://100.64.0.1/",
        "https://0/",
        "https://no-such-name.invalid/",
    ):
        talk.post("webhooks", f"no address to post to: {url}", {"name": "x", "url": url, "events": [CREATED]})
        talk.patch(f"webhooks/{one}", f"nor to change to: {url}", {"url": url})
    for name in ("", "a" * 64, "-a", "a b", "a/b"):
        talk.post("webhooks", f"no name: {name[:3]!r}", {"name": name, "url": URL, "events": [CREATED]})
    talk.post("webhooks", "no events", {"name": "x", "url": URL, "events": []})
    talk.post("webhooks", "events are needed", {"name": "x", "url": URL})
    for event in (
        {"entity": "REGISTERED_MODEL", "action": "DELETED"},
        {"entity": "NONE", "action": "CREATED"},
        {"entity": "PROMPT"},
    ):
        says, free = f"no event: {event}", "a 5xx would be repeated for minutes"
        talk.post("webhooks", says, {"name": "x", "url": URL, "events": [event]}, free=free)
    talk.get("webhooks", "pages have a size", {"max_results": 0}, free="a page of nothing has no next")
    talk.get("webhooks", "of 1,000 at most", {"max_results": 1001})
