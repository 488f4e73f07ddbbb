"""`/metrics` of a real server tells what its endpoints answered."""

from __future__ import annotations

from pathlib import Path

import httpx

from loopwright.app.assembling import assemble
from loopwright.app.server import Server
from loopwright.workspace import Workspace
from tests.serving.real import question, serve
from tests.serving.worlds import ENDPOINT


def scraped(url: str) -> dict[str, float]:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
    }


def test_predictions_are_counted_at_the_metrics(tmp_path: Path) -> None:
    with Workspace.open(tmp_path / ".loopwright") as workspace:
        serve(workspace.context())
        app = assemble(workspace)
        with Server(app, on_stopping=app.stop_feeds) as server:
            assert not any(name.startswith("loopwright_prediction_rows") for name in scraped(server.url))
            for _ in range(3):
                answer = httpx.post(f"{server.url}/v2/models/{ENDPOINT}/infer", json=question())
                assert answer.status_code == 200, answer.text
            found = scraped(server.url)
    label = f'{{endpoint="{ENDPOINT}"}}'
    assert found[f"loopwright_prediction_requests_total{label}"] == 3.0
    assert found[f"loopwright_prediction_rows_total{label}"] == 3.0
    assert found[f"loopwright_prediction_seconds_count{label}"] == 3.0
