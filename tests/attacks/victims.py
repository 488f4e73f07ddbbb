"""A server to be attacked, beside a folder nothing may touch; and what every attack has to leave behind."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.app.processes import server

__all__ = ["SECRET", "Reply", "Victim", "attacked", "raw", "refused", "silent"]

SECRET = "s3cr3t-of-the-canary"
TOLD = re.compile(
    rb"Traceback|File \"|/root|/home/|site-packages|\.loopwright|ledger\.db|sqlite3?\.|psycopg|0x[0-9a-f]{8}",
    re.IGNORECASE,
)
_GROWING = re.compile(r"(ledger\.db|online\.db|journal\.heads|logs|marks|.*\.lock)")
_REPEATED = {408, 429, 500, 502, 503, 504}
"""statuses at which clients ask again and again"""


class Reply(NamedTuple):
    """What came back."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Victim(NamedTuple):
    """A server in a process of its own, and its surroundings."""

    process: subprocess.Popen[bytes]
    address: tuple[str, int]
    folder: Path
    log: list[bytes]
    token: str = ""

    def ask(self, method: str, target: str, body: bytes | None = None, **headers: str) -> Reply:
        """Send exactly this target."""
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            if body is not None:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return Reply(answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()})
        finally:
            connection.close()

    def post(self, target: str, value: Any) -> Reply:
        """Send JSON; a route of MLflow's protocol by its short name."""
        path = target if target.startswith("/") else f"/api/2.0/mlflow/{target}"
        return self.ask("POST", path, json.dumps(value).encode(), content_type="application/json")

    def files(self) -> dict[str, str]:
        """Every file there is, in the workspace and beside it, but those that grow with each call."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            parts = path.relative_to(self.folder).parts
            if path.is_file() and not any(_GROWING.match(part) for part in parts):
                found["/".join(parts)] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def said(self) -> bytes:
        """All it has logged so far."""
        assert self.process.stderr is not None
        os.set_blocking(self.process.stderr.fileno(), False)
        self.log.append(self.process.stderr.read() or b"")
        return b"".join(self.log)

    def is_well(self) -> None:
        """It runs, answers, and has logged neither a traceback nor a secret."""
        assert self.process.poll() is None
        assert self.ask("GET", "/healthz").json == {"status": "ok"}
        known = {"authorization": f"Bearer {self.token}"} if self.token else {}
        assert self.ask("GET", "/health", None, **known).body == b"OK"
        log = self.said()
        assert b"Traceback" not in log, log[-4000:].decode(errors="replace")
        assert SECRET.encode() not in log


@contextmanager
def attacked(folder: Path, *args: str, **environment: str) -> Iterator[Victim]:
    """The victim; at the end it is well, and what lies beside its workspace is as it was."""
    (folder / "beside").mkdir()
    (folder / "beside" / "canary.txt").write_text(SECRET)
    with server(folder, *args, **environment) as (process, said):
        address = urlsplit(said["url"])
        found = Victim(
            process,
            (str(address.hostname), int(address.port or 0)),
            folder,
            [],
            environment.get("LOOPWRIGHT_TOKEN", ""),
        )
        before = set(os.listdir(folder))
        found.is_well()
        yield found
        assert set(os.listdir(folder)) == before
        assert os.listdir(folder / "beside") == ["canary.txt"]
        assert (folder / "beside" / "canary.txt").read_text() == SECRET
        found.is_well()


def refused(victim: Victim, reply: Reply, what: str) -> None:
    """A reason in JSON at a status no client repeats, and nothing of the machine."""
    assert 400 <= reply.status < 500, f"{what}: {reply.status} {reply.body[:300]!r}"
    assert reply.status not in _REPEATED, what
    assert reply.headers["content-type"].startswith("application/json"), what
    told = reply.json
    if set(told) != {"error"}:  # the inference protocol's form has a text and no more
        assert told["message"], what
        assert told.get("error_code") or told.get("code"), what
    silent(victim, reply, what)


def silent(victim: Victim, reply: Reply, what: str) -> None:
    """The reply says nothing of the machine."""
    for secret in (str(victim.folder), SECRET):
        assert secret.encode() not in reply.body, f"{what}: {reply.body[:400]!r}"
    assert not TOLD.search(reply.body), f"{what}: {reply.body[:400]!r}"


def raw(address: tuple[str, int], sent: bytes, *, timeout: float = 3.0) -> bytes:
    """All that comes back on a connection of its own for these bytes, until it is closed or rests."""
    found = b""
    with socket.create_connection(address, timeout=timeout) as line, suppress(ConnectionError, TimeoutError):
        line.sendall(sent)
        while piece := line.recv(65_536):
            found += piece
    return found
