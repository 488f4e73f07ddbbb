"""A server that can be emptied: only where it was asked for, only for this machine, and all of it."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.app.processes import loopwright, server

RESET = "/api/v1/testing/reset"


def _experiments(url: str) -> list[dict[str, Any]]:
    found = httpx.post(f"{url}/api/2.0/mlflow/experiments/search", json={"max_results": 100}).json()
    return list(found["experiments"])


def _fill(url: str) -> None:
    mlflow = f"{url}/api/2.0/mlflow"
    made = httpx.post(f"{mlflow}/experiments/create", json={"name": "flights"}).json()
    info = {"experiment_id": made["experiment_id"], "run_name": "one"}
    run = httpx.post(f"{mlflow}/runs/create", json=info).json()["run"]["info"]
    for step in range(3):
        point = {"run_id": run["run_id"], "key": "loss", "value": 0.5, "timestamp": 7, "step": step}
        assert httpx.post(f"{mlflow}/runs/log-metric", json=point).status_code == 200
    place = f"{url}/api/2.0/mlflow-artifacts/artifacts/{run['artifact_uri'].partition(':/')[2]}/a.txt"
    assert httpx.put(place, content=b"hello").status_code == 200
    assert httpx.post(f"{mlflow}/registered-models/create", json={"name": "delay"}).status_code == 200


def test_a_reset_empties_everything_and_the_server_goes_on(tmp_path: Path) -> None:
    with server(tmp_path, "--testing") as (process, said):
        url = said["url"]
        objects = Path(said["workspace"]) / "objects"
        for _ in range(3):
            _fill(url)
            assert [path for path in objects.rglob("*") if path.is_file()]
            assert httpx.post(f"{url}{RESET}").json() == {"state": "empty"}
            assert [each["experiment_id"] for each in _experiments(url)] in ([], ["0"])
            default = httpx.get(f"{url}/api/2.0/mlflow/experiments/get", params={"experiment_id": "0"})
            assert default.json()["experiment"]["name"] == "Default"
            models = httpx.get(f"{url}/api/2.0/mlflow/registered-models/search").json()
            assert models == {}
            assert not [path for path in objects.rglob("*") if path.is_file()]
            checked = httpx.get(f"{url}/api/v1/journal/verify").json()
            assert checked["ok"], checked
        process.terminate()
        assert process.wait(20) == 0


@pytest.mark.slow
def test_requests_meanwhile_wait_and_resets_at_once_all_end(tmp_path: Path) -> None:
    """Whatever comes while others reset is answered before or after, never by a half-closed store."""
    statuses: list[int] = []

    def ask(method: str, path: str) -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            for n in range(8):
                body = {"name": f"{threading.get_ident()}-{n}"} if "create" in path else {}
                statuses.append(client.request(method, path, json=body).status_code)

    with server(tmp_path, "--testing") as (_, said):
        url = said["url"]
        asked = [("POST", RESET)] * 2 + [("POST", "/api/2.0/mlflow/experiments/create")] * 3
        threads = [threading.Thread(target=ask, args=each) for each in asked]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert set(statuses) == {200}
    assert len(statuses) == 8 * len(asked)


def test_the_route_is_there_only_where_it_was_asked_for(tmp_path: Path) -> None:
    with server(tmp_path, LOOPWRIGHT_TESTING="1", LOOPWRIGHT_UP_TESTING="1") as (_, said):
        _fill(said["url"])
        assert httpx.post(f"{said['url']}{RESET}").status_code == 404
        assert len(_experiments(said["url"])) == 2


def test_it_is_said_loudly_and_strangers_are_refused(tmp_path: Path) -> None:
    with server(tmp_path, "--testing", LOOPWRIGHT_TOKEN="s3cret") as (process, said):
        reset = f"{said['url']}{RESET}"
        own = {"authorization": "Bearer s3cret"}
        assert httpx.post(reset).status_code == 401
        assert httpx.post(reset, headers={**own, "host": "evil.example"}).status_code == 403
        assert httpx.post(reset, headers={**own, "origin": "http://evil.example"}).status_code == 403
        assert httpx.get(reset, headers=own).status_code == 405
        assert httpx.post(f"{reset}/x", headers=own).status_code == 404
        assert httpx.post(reset, headers=own).status_code == 200
        process.terminate()
        assert process.stderr is not None
        assert b"TESTING" in process.stderr.read()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_it_listens_to_this_machine_alone(tmp_path: Path, host: str) -> None:
    done = loopwright(tmp_path, "up", "--testing", "--insecure", "--host", host, "--port", "0")
    assert (done.returncode, "--testing" in done.stderr) == (2, True)
    assert not (tmp_path / ".loopwright").exists()


@pytest.mark.slow
def test_a_workspace_that_holds_something_is_not_taken(tmp_path: Path) -> None:
    """One that was begun by `--testing` is taken again, whatever it holds."""
    with server(tmp_path) as (_, said):
        _fill(said["url"])
    done = loopwright(tmp_path, "up", "--testing", "--port", "0")
    assert (done.returncode, "--workspace" in done.stderr) == (2, True)
    listed = loopwright(tmp_path, "experiments", "list", "--json")
    assert len(json.loads(listed.stdout)["items"]) == 2
    for _ in range(2):
        with server(tmp_path, "--testing", "--workspace", "other") as (_, said):
            _fill(said["url"])
            assert httpx.post(f"{said['url']}{RESET}").status_code == 200
            _fill(said["url"])
            assert httpx.post(f"{said['url']}{RESET}").status_code == 200
            _fill(said["url"])
            httpx.post(f"{said['url']}{RESET}")


@pytest.mark.slow
def test_another_process_in_the_workspace_keeps_it(tmp_path: Path) -> None:
    with server(tmp_path, "--testing") as (_, one):
        _fill(one["url"])
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        with server(elsewhere, "--workspace", one["workspace"]) as (_, two):
            refused = httpx.post(f"{one['url']}{RESET}")
            assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
            assert len(_experiments(one["url"])) == len(_experiments(two["url"])) == 2
        assert httpx.post(f"{one['url']}{RESET}").status_code == 200
