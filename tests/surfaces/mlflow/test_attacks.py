"""Attacks on files over real HTTP: refused in JSON, no file touched, nothing told of the machine."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import re
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import pytest

from tests.app.processes import server

PROXY = "/api/2.0/mlflow-artifacts/artifacts"
TOLD = re.compile(
    rb"Traceback|File \"|/tmp|/root|/home/|\.loopwright|sqlite|ledger\.db|127\.0\.0\.1|0x[0-9a-f]{6}"
)
LEDGER = re.compile(r"(ledger\.db|online\.db|journal\.heads|logs|marks|.*\.lock)")

PATHS = (
    "../x",
    "..%2fx",
    "..%2Fx",
    "%2e%2e/x",
    "%2e%2e%2fx",
    "%252e%252e/x",
    "%252e%252e%252fx",
    "%25252e%25252e%25252fx",
    "..\\x",
    "..%5cx",
    "..%255cx",
    "x/../../y",
    "x/%2e%2e/%2e%2e/y",
    "../../../../../../etc/passwd",
    "..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    "%2fetc/passwd",
    "/etc/passwd",
    "//etc/passwd",
    "%2f%2fetc/passwd",
    "C:\\x",
    "C:%5cx",
    "c%3a/x",
    "C:x",
    "%5c%5chost%5cshare",
    "file:///etc/passwd",
    "file:%2f%2f%2fetc/passwd",
    "FILE:%2fetc",
    "file%253a%252f%252f%252fetc",
    "http:%2f%2fhost/x",
    "a%00b",
    "a%2500b",
    "a%0d%0aset-cookie:%20x=1",
    "a%e2%80%aegnp.exe",
    ".",
    "%2e",
    "./.",
    "%2e/%2e%2e/x",
    "",
    "/",
    "x//y",
    "x/",
    "x.",
    "x%20",
    "...",
    "..%20/x",
    "%ff",
    "%c0%ae%c0%ae/x",
    "%c0%af",
    "%ed%a0%80",
    "x" * 256,
    "%c3%a4" * 128,
    "/".join(["x" * 100] * 30) + "/" + "y" * 4000,
    "x%23y",
    "%" + "25" * 60 + "2e",
)
FOREIGN = (
    "",
    "{experiment}",
    "{experiment}/{run}",
    "{experiment}/{run}/other/x",
    "{experiment}/00000000000000000000000000000000/artifacts/x",
    "{experiment}/models/m-00000000000000000000000000000000/artifacts/x",
    "{experiment}/models/{run}/artifacts/x",
    "{other}/{run}/artifacts/x",
    "0/{run}/artifacts/x",
    "x/{experiment}/{run}/artifacts/x",
    "{run}/artifacts/x",
    "artifacts/x",
    "ab/abcdef",
    "drafts/x",
    "linked/secret.txt",
    "../objects/linked/secret.txt",
    "keys/x",
)
LOCATIONS = (
    "http:///#/../../etc/",
    "http://h/?../../x",
    "file:///etc",
    "FILE:///etc",
    "file://host/../x",
    "/etc",
    "../x",
    "C:\\x",
    "\\\\host\\share",
    "mlflow-artifacts://h/..%2f",
    "mlflow-artifacts:/a/../../etc",
    "mlflow-artifacts:/a/%252e%252e/b",
    "mlflow-artifacts:/a%00b",
    "s3:/../x",
    "s3://b/a#f/../..",
    "s3://b/a?x=../..",
    "gopher://h/x",
    "javascript:alert(1)",
    "data:text/html,x",
)
SOURCES = (
    *LOCATIONS,
    "models:/attacked/1",
    "models:/none@x",
    "runs:/../x",
    "runs:/{run}/../../x",
    "s3://user:secret@host/x",
    "mlflow-artifacts:/{other}/{run}/artifacts/x/../..",
)


class Victim(NamedTuple):
    """A server, one run in it, and a folder beside its workspace that nothing may touch."""

    process: subprocess.Popen[bytes]
    address: tuple[str, int]
    folder: Path
    names: dict[str, str]

    @property
    def base(self) -> str:
        """Where the run's files are."""
        return f"{PROXY}/{self.names['experiment']}/{self.names['run']}/artifacts"

    def ask(
        self, method: str, target: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
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
            return answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()}
        finally:
            connection.close()

    def post(self, path: str, value: Any) -> tuple[int, bytes, dict[str, str]]:
        """Send JSON to a route of the protocol."""
        target = f"/api/2.0/mlflow/{path}"
        return self.ask("POST", target, json.dumps(value).encode(), content_type="application/json")


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    folder = tmp_path_factory.mktemp("victim")
    beside = folder / "beside"
    beside.mkdir()
    (beside / "secret.txt").write_text("do not read me")
    (beside / "x").write_text("do not write me")
    with server(folder) as (process, said):
        address = urlsplit(said["url"])
        made = Victim(process, (str(address.hostname), int(address.port or 0)), folder, {})
        for name in ("experiment", "other"):
            _, body, _ = made.post("experiments/create", {"name": name})
            made.names[name] = json.loads(body)["experiment_id"]
        _, body, _ = made.post("runs/create", {"experiment_id": made.names["experiment"]})
        made.names["run"] = json.loads(body)["run"]["info"]["run_id"]
        made.post("registered-models/create", {"name": "attacked"})
        made.ask("PUT", f"{made.base}/kept.txt", b"kept")
        (folder / ".loopwright" / "objects" / "linked").symlink_to(beside)
        yield made
        assert process.poll() is None
        assert process.stderr is not None
        os.set_blocking(process.stderr.fileno(), False)
        assert b"Traceback" not in (process.stderr.read() or b"")


def state(victim: Victim) -> dict[str, str]:
    """Every file there is but the ledger, with its content; and what of the run is listed."""
    found = {}
    for path in sorted(victim.folder.rglob("*")):
        name = str(path.relative_to(victim.folder))
        if path.is_file() and not any(LEDGER.match(part) for part in path.relative_to(victim.folder).parts):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    _, body, _ = victim.ask("GET", f"/api/2.0/mlflow/artifacts/list?run_id={victim.names['run']}")
    return {**found, "listed": body.decode()}


def refused(victim: Victim, answer: tuple[int, bytes, dict[str, str]], what: str) -> None:
    """A reason in JSON, a status that no client repeats, and nothing of the machine."""
    status, body, headers = answer
    assert 400 <= status < 500, f"{what}: {status} {body[:300]!r}"
    assert status not in {408, 429}, what
    assert headers["content-type"].startswith("application/json"), what
    if body or not what.startswith("HEAD"):
        told = json.loads(body)
        assert told["message"], what
        assert told.get("error_code") or told.get("code"), what
    for secret in (str(victim.folder), "do not", "secret", victim.folder.name, str(victim.address[1])):
        assert secret.encode() not in body, f"{what}: {body[:400]!r}"
    assert not TOLD.search(body), f"{what}: {body[:400]!r}"


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_leads_out_is_refused_by_every_route(victim: Victim, path: str) -> None:
    before = state(victim)
    for root in ("/api", "/ajax-api"):
        base = victim.base.replace("/api", root, 1)
        for method in ("PUT", "GET", "HEAD", "DELETE"):
            if method == "DELETE" and path == "x/":
                continue  # a folder that is not there
            target = f"{base}/{path}"
            body = b"attack" if method == "PUT" else None
            refused(victim, victim.ask(method, target, body), f"{method} {target[:300]}")
    if path not in {"", "x/"}:
        given = quote(path, safe="")
        run = victim.names["run"]
        for method, target in (
            ("GET", f"{PROXY}?path={quote(victim.base[len(PROXY) + 1 :], safe='')}/{given}"),
            ("GET", f"/api/2.0/mlflow/artifacts/list?run_id={run}&path={given}"),
            ("GET", f"/get-artifact?run_id={run}&path={given}"),
            ("POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path={given}"),
            ("GET", f"/api/v1/runs/{run}/artifacts?path={given}"),
            ("GET", f"/api/v1/runs/{run}/artifacts/content?path={given}"),
        ):
            if path == "/" and ("list" in target or "artifacts?path" in target):
                continue  # the root, which may be listed
            body = b"attack" if method == "POST" else None
            refused(victim, victim.ask(method, target, body), f"{method} {target[:300]}")
    assert state(victim) == before


@pytest.mark.parametrize("place", FOREIGN)
def test_other_peoples_folders_are_refused(victim: Victim, place: str) -> None:
    """Also those of the store itself, and a link in it that leads out."""
    before = state(victim)
    target = f"{PROXY}/{place.format(**victim.names)}"
    for method in ("PUT", "GET", "HEAD", "DELETE"):
        body = b"attack" if method == "PUT" else None
        refused(victim, victim.ask(method, target, body), f"{method} {target}")
    listed = f"{PROXY}?path={quote(place.format(**victim.names), safe='')}"
    refused(victim, victim.ask("GET", listed), f"GET {listed}")
    assert state(victim) == before


@pytest.mark.parametrize("location", LOCATIONS)
def test_an_experiment_is_not_put_anywhere(victim: Victim, location: str) -> None:
    before = state(victim)
    body = {"name": f"at {location}", "artifact_location": location}
    refused(victim, victim.post("experiments/create", body), location)
    assert state(victim) == before


@pytest.mark.parametrize("source", SOURCES)
def test_a_model_is_not_taken_from_anywhere(victim: Victim, source: str) -> None:
    before = state(victim)
    body = {"name": "attacked", "source": source.format(**victim.names)}
    refused(victim, victim.post("model-versions/create", body), source)
    assert state(victim) == before


def evil_archive() -> bytes:
    """A tar whose members lead out: relative, absolute, by a link, and as a device."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name in ("../../beside/x", "/etc/attack", "a/../../x"):
            member = tarfile.TarInfo(name)
            member.size = 6
            tar.addfile(member, io.BytesIO(b"attack"))
        for name, kind in (("link", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("null", tarfile.CHRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
    return packed.getvalue()


def test_archives_are_bytes_and_nothing_else(victim: Victim) -> None:
    """What is in them is never unpacked: one object more, and no other file."""
    before = state(victim)
    content = evil_archive()
    for name, encoding in (("evil.tar.gz", "identity"), ("packed", "gzip")):
        status, _, _ = victim.ask("PUT", f"{victim.base}/{name}", content, content_encoding=encoding)
        assert status == 200
        assert victim.ask("GET", f"{victim.base}/{name}")[1] == content
        assert victim.ask("DELETE", f"{victim.base}/{name}")[0] == 200
    after = state(victim)
    assert {name: after[name] for name in before} == before
    assert [name.split("/")[1] for name in after.keys() - before.keys()] == ["objects"]


@pytest.mark.parametrize("parts", [-1, 0, 1, 10_001, 2**63, "x"])
def test_uploads_in_parts_keep_nothing(victim: Victim, parts: Any) -> None:
    before = state(victim)
    for verb in ("create", "complete", "abort"):
        target = victim.base.replace("/artifacts/", f"/mpu/{verb}/", 1) + "/big"
        body = {
            "path": "../x",
            "num_parts": parts,
            "upload_id": "somebody's",
            "parts": [{"part_number": parts}],
        }
        status, told, _ = victim.ask(
            "POST", target, json.dumps(body).encode(), content_type="application/json"
        )
        assert (status, json.loads(told)["error_code"]) == (501, "NOT_IMPLEMENTED")
    assert state(victim) == before


@pytest.mark.parametrize("sent", [0, 5, 300_000, 2_000_000])
def test_an_upload_that_is_cut_leaves_nothing(victim: Victim, sent: int) -> None:
    before = state(victim)
    with socket.create_connection(victim.address, timeout=30) as line:
        head = f"PUT {victim.base}/cut HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4000000\r\n\r\n"
        line.sendall(head.encode() + b"x" * sent)
    until, quiet = time.monotonic() + 20, 0
    while quiet < 5 and time.monotonic() < until:  # a thread may still begin what is given up
        quiet = quiet + 1 if state(victim) == before else 0
        time.sleep(0.05)
    assert quiet == 5


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: -5\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"Content-Length: 99999999999999999999\r\n\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
        b"Content-Length: 5\r\nOrigin: http://evil.example\r\n\r\nhello",
        b"Content-Length: 5\r\nSec-Fetch-Site: cross-site\r\n\r\nhello",
    ],
)
def test_a_body_or_a_sender_that_is_not_right_keeps_nothing(victim: Victim, head: bytes) -> None:
    before = state(victim)
    with socket.create_connection(victim.address, timeout=30) as line:
        line.sendall(f"PUT {victim.base}/bad HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode() + head)
        line.shutdown(socket.SHUT_WR)
        answer = line.recv(65536)
    assert not answer or 400 <= int(answer.split(b" ")[1]) < 500
    assert state(victim) == before


def test_a_foreign_host_is_refused(victim: Victim) -> None:
    with socket.create_connection(victim.address, timeout=30) as line:
        line.sendall(
            f"GET {victim.base}/kept.txt HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 403")
    assert b'"error_code":"PERMISSION_DENIED"' in answer
