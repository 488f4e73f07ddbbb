from __future__ import annotations

import json
import signal
import socket
import sqlite3
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.app.processes import loopwright, server


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_answers_and_ends_when_told(tmp_path: Path, number: signal.Signals) -> None:
    with server(tmp_path) as (process, said):
        url = said["url"]
        assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}
        assert httpx.get(f"{url}/readyz").json()["status"] == "ready"
        assert httpx.get(f"{url}/api/v1/assets").json() == {"items": [], "next_token": ""}
        assert "loopwright_requests" in httpx.get(f"{url}/metrics").text
        assert len(httpx.get(f"{url}/api/v1/openapi.json").json()["paths"]) > 40
        with httpx.stream("GET", f"{url}/api/v1/events") as feed:
            next(feed.iter_text())
            process.send_signal(number)
            assert process.wait(timeout=20) == 0
    assert said["workspace"] == str(tmp_path / ".loopwright")


def test_commands_reach_a_server_by_its_address(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with server(tmp_path, LOOPWRIGHT_TOKEN="s3cret") as (_, said):
        address = {"LOOPWRIGHT_URL": said["url"]}
        done = loopwright(elsewhere, "assets", "list", "--json", LOOPWRIGHT_TOKEN="s3cret", **address)
        assert (done.returncode, json.loads(done.stdout)["items"]) == (0, [])
        missing = loopwright(
            elsewhere, "assets", "show", "model", "a/b", LOOPWRIGHT_TOKEN="s3cret", **address
        )
        assert (missing.returncode, "hint: " in missing.stderr) == (3, True)
        assert loopwright(elsewhere, "assets", "list", **address).returncode == 5
    assert loopwright(elsewhere, "assets", "list", **address).returncode == 6
    assert not (elsewhere / ".loopwright").exists()


def test_a_taken_port_is_told_with_the_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = loopwright(tmp_path, "up", "--port", str(port))
    assert done.returncode == 6
    assert f"port {port} of 127.0.0.1 is taken" in done.stderr
    assert f"--port {port + 1}" in done.stderr
    assert "Traceback" not in done.stderr


def test_other_machines_are_let_in_only_with_a_token_or_on_demand(tmp_path: Path) -> None:
    done = loopwright(tmp_path, "up", "--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 2
    assert "LOOPWRIGHT_TOKEN" in done.stderr
    assert "--insecure" in done.stderr
    with server(tmp_path, "--host", "0.0.0.0", "--insecure") as (_, said):
        assert httpx.get(f"{said['url']}/api/v1/assets").status_code == 200
        foreign = httpx.get(f"{said['url']}/api/v1/assets", headers={"host": "evil.example"})
        assert foreign.status_code == 403


def test_an_address_that_is_not_ours_is_told(tmp_path: Path) -> None:
    done = loopwright(tmp_path, "up", "--host", "192.0.2.1", "--port", "0", "--insecure")
    assert (done.returncode, "Traceback" in done.stderr) == (6, False)


def test_a_second_signal_ends_it_without_a_traceback(tmp_path: Path) -> None:
    with server(tmp_path) as (process, _):
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


def _append(url: str, rows: range) -> None:
    for number in rows:
        sent = httpx.post(
            f"{url}/api/v1/datasets/shared/rows",
            content=f"id\n{number}\n",
            headers={"content-type": "text/csv"},
            timeout=60,
        )
        assert sent.status_code == 200, sent.text


def test_two_servers_and_a_command_write_one_workspace_and_lose_nothing(tmp_path: Path) -> None:
    with server(tmp_path) as (_, first), server(tmp_path) as (_, second), ThreadPoolExecutor(3) as pool:
        assert first["url"] != second["url"]
        work: list[Future[object]] = [
            pool.submit(_append, first["url"], range(20)),
            pool.submit(_append, second["url"], range(20, 40)),
            pool.submit(loopwright, tmp_path, "data", "upload", "shared", "-", stdin=b"id\n40\n"),
        ]
        for each in work:
            each.result()
        for said in (first, second):
            newest = httpx.get(f"{said['url']}/api/v1/assets/dataset/shared").json()["newest"]
            assert newest["facts"]["rows"] == 41
            assert httpx.get(f"{said['url']}/api/v1/journal/verify").json()["ok"]
        rows = httpx.get(f"{first['url']}/api/v1/datasets/shared/rows", params={"limit": 100}).json()
        assert sorted(row["id"] for row in rows["items"]) == list(range(41))
    ledger = sqlite3.connect(tmp_path / ".loopwright" / "ledger.db")
    leases = ledger.execute("SELECT count(*) FROM documents WHERE collection = 'leases'").fetchone()
    ledger.close()
    assert leases == (1,)
