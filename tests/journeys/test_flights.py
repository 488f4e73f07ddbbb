"""Three days of the story, told by the command, against counts made by other means."""

from __future__ import annotations

import json
import re
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.schedule import asked_by
from tests.journeys.telling import DAYS, Told, command, copied, finished, run

KEYS = {
    "auc",
    "auc_all",
    "predictions",
    "labelled",
    "quarantined",
    "incidents",
    "retrainings",
    "refusals",
    "promotions",
    "journal_ok",
    "seconds",
    "peak_mb",
}
SWITCHED = datetime.fromisoformat("2013-07-02T00:00:00+00:00")


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    return finished(tmp_path_factory)


def a_prediction() -> str:
    """The first answer to the request of the last scheduled minute."""
    last = max(flight.scheduled for flight in asked_by(DAYS))
    return f"prediction:flights-{last:%Y-%m-%dT%H:%M:%SZ}.0"


def refused(told: Told, action: str) -> list[dict[str, Any]]:
    return [one for one in told.summary["refusals"] if one["action"] == action]


def test_it_ends_well_and_writes_what_was_promised(told: Told) -> None:
    assert told.code == 0, told.said
    assert set(told.summary) >= KEYS
    assert set(told.summary["auc"]) == set(told.summary["auc_all"]) == {"frozen", "loop"}
    assert told.summary["journal_ok"] is True
    assert told.summary["seconds"] > 0
    assert 0 < told.summary["peak_mb"] <= 2048


def test_every_flight_of_these_days_was_asked_about_once(told: Told) -> None:
    asked = asked_by(DAYS)
    assert told.summary["predictions"] == len(asked)
    assert told.summary["labelled"] == sum(1 for flight in asked if flight.landed is not None)


def test_online_vectors_are_the_offline_join(told: Told) -> None:
    assert told.summary["skew"]["mismatches"] == 0
    assert told.summary["skew"]["rows"] == told.summary["predictions"]
    assert told.summary["skew"]["values"] > told.summary["skew"]["rows"]


def test_the_answers_tell_late_flights_from_others_without_a_leak(told: Told) -> None:
    """The schedule alone gives 0.654 over the half year; far above 0.80 would be the future, seen."""
    assert 0.68 < told.summary["auc_all"]["frozen"] < 0.83


def test_the_broken_wind_reading_is_kept_with_its_reason(told: Told) -> None:
    assert told.summary["quarantined"] == 1
    kept = json.loads(run(told.folder, "data", "quarantine", "weather", "--json").stdout)
    assert "1048" in json.dumps(kept)
    assert "wind_speed" in json.dumps(kept)


def test_the_changed_feed_is_found_within_a_day(told: Told) -> None:
    (incident,) = told.summary["incidents"]
    since, found = (datetime.fromisoformat(incident[name]) for name in ("since", "detected_at"))
    assert incident["subject"] == "dataset:weather"
    assert "wind_speed" in incident["columns"]
    assert SWITCHED <= since <= found <= SWITCHED + timedelta(days=1)
    assert datetime.fromisoformat(incident["until"]) <= SWITCHED + timedelta(days=2)


def test_no_retraining_on_poisoned_data(told: Told) -> None:
    (incident,) = told.summary["incidents"]
    (one,) = refused(told, "retrain")
    assert "open incidents" in one["reason"]
    at = datetime.fromisoformat(one["at"])
    opened, closed = (datetime.fromisoformat(incident[name]) for name in ("detected_at", "until"))
    assert opened <= at < closed
    assert told.summary["retrainings"] == 0


def test_the_worse_candidate_is_refused_and_one_champion_was_made(told: Told) -> None:
    (one,) = refused(told, "promote")
    assert one["subject"] == "model:arrival-delay@2"
    assert "against champion" in one["reason"]
    assert [(move["to"], move["from"]) for move in told.summary["promotions"]] == [(1, None)]


def test_a_prediction_says_what_it_came_from(told: Told) -> None:
    done = run(told.folder, "why", a_prediction(), "--json")
    assert done.returncode == 0, done.stderr
    origin = json.loads(done.stdout)
    assert f"prediction:{origin['prediction']['id']}" == a_prediction()
    assert (origin["model"]["name"], origin["model"]["number"]) == ("arrival-delay", 1)
    assert re.fullmatch(r"run:[0-9a-z]{26}", origin["run"])
    assert re.fullmatch(r"[0-9a-f]{64}", origin["code"])
    assert len(origin["views"]) == 9
    assert {"landings", "departures", "weather", "planes"} <= {one["name"] for one in origin["datasets"]}
    assert ("promote", "allow") in {(one["action"], one["verdict"]) for one in origin["decisions"]}
    assert json.loads(run(told.folder, "runs", "show", origin["run"][4:], "--json").stdout)


def test_why_is_told_to_people_too_and_of_nothing_unknown(told: Told) -> None:
    done = run(told.folder, "why", a_prediction())
    assert done.returncode == 0, done.stderr
    assert "arrival-delay" in done.stdout
    missing = run(told.folder, "why", "prediction:flights-1999-01-01T00:00:00Z.0")
    assert (missing.returncode, "hint: " in missing.stderr) == (3, True)
    assert run(told.folder, "why", "model:arrival-delay@1").returncode == 2


def test_an_edited_line_of_the_journal_is_named(told: Told, tmp_path: Path) -> None:
    folder = copied(told, tmp_path)
    assert run(folder, "journal", "verify").returncode == 0
    with sqlite3.connect(folder / ".loopwright" / "ledger.db") as ledger:
        changed = ledger.execute(
            "update journal set payload = replace(payload, 'allow', 'allou') where seq = "
            "(select min(seq) from journal where kind = 'decision.made' and payload like '%allow%') "
            "returning seq"
        ).fetchone()[0]
    ledger.close()
    done = run(folder, "journal", "verify", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["first_bad"] == changed


def test_telling_it_again_asks_nothing_twice(told: Told, tmp_path: Path) -> None:
    folder = copied(told, tmp_path)
    done = run(folder, *command(DAYS))
    assert done.returncode == 0, done.stderr
    again = json.loads((folder / "told.json").read_text())
    lasting = KEYS - {"seconds", "peak_mb"}
    assert {name: again[name] for name in lasting} == {name: told.summary[name] for name in lasting}
    lines = [journal_lines(path) for path in (folder, told.folder)]
    assert lines[0] == lines[1]


def journal_lines(folder: Path) -> int:
    return int(json.loads(run(folder, "journal", "verify", "--json").stdout)["lines"])
