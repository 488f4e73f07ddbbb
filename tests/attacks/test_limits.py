"""The table of limits in the guide says what the code keeps, and the code keeps it."""

from __future__ import annotations

from pathlib import Path

import pytest

from loopwright.app.connections import ConnectionLimits
from loopwright.core.nesting import MAX_DEPTH as MAX_JSON
from loopwright.core.nesting import MAX_PARTS
from loopwright.core.plain_yaml import MAX_EVENTS, MAX_LEVELS
from loopwright.registry.mlmodel import MAX_BYTES as MLMODEL_BYTES
from loopwright.surfaces.http.host import limits_of
from loopwright.surfaces.inference.application import BODY_LIMIT as PREDICTION
from loopwright.surfaces.mlflow.evaluation_datasets import RECORDS_PARTS as RECORD_PARTS
from loopwright.surfaces.mlflow.routing import BODY_LIMIT as PROTOCOL
from loopwright.surfaces.mlflow.transfers import UPLOADS
from loopwright.surfaces.otlp.intake import MAX_BYTES, MAX_JSON_BYTES
from loopwright.surfaces.otlp.plain import MAX_PARTS as SPAN_PARTS
from loopwright.tracking.grammar import MAX_CLAUSES, MAX_DEPTH, MAX_LENGTH, MAX_ORDERS, MAX_VALUES
from loopwright.tracking.lexing import MAX_TOKENS
from loopwright.workspace import load_settings

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "operating.md"
LIMITS = limits_of(load_settings({"workspace": "x"}, environment={}, folder=Path("/")))
LINE = ConnectionLimits()
TABLE = {
    "body of a call of the API": f"{LIMITS.body_bytes:,} bytes",
    "body of a call of the MLflow protocol": f"{PROTOCOL:,} bytes, packed or not",
    "body of a prediction": f"{PREDICTION:,} bytes, packed or not",
    "export of traces": f"{MAX_BYTES:,} bytes in protobuf, {MAX_JSON_BYTES:,} in JSON",
    "one file": f"{LIMITS.upload_bytes:,} bytes",
    "path of a request": f"{LIMITS.path_bytes:,} bytes",
    "headers of a request; its query": f"{LIMITS.header_bytes:,} bytes each",
    "line and headers before they are looked at": f"{LINE.head_bytes:,} bytes",
    "time until the line and headers are whole": f"{LINE.head_s:g} s",
    "pace of a body that comes in": f"at least {LINE.pace_bytes:,} bytes/s over {LINE.pace_s:g} s",
    "time a reply waits for its reader": f"{LINE.stall_s:g} s",
    "open connections": f"{LINE.connections:,}, and half of the files the process may open",
    "lists and objects in the JSON of a call; within one another": f"{MAX_PARTS:,}, of spans and of records "
    f"{RECORD_PARTS:,}; {MAX_JSON}",
    "MLmodel file": f"{MLMODEL_BYTES:,} bytes, {MAX_EVENTS:,} parts, {MAX_LEVELS} levels",
    "uploads over 1 MiB at work; waiting": f"{LIMITS.uploads} of the API, {UPLOADS} of the MLflow protocol; "
    f"{LIMITS.uploads_waiting} each",
    "pace of such an upload while another waits": f"at least {LIMITS.upload_pace.each_bytes:,} bytes/s over "
    f"{LIMITS.upload_pace.over_s:g} s",
    "calls of the API at work; waiting": f"{LIMITS.threads}; {LIMITS.waiting}",
    "time of a call of the API; of an upload": f"{LIMITS.deadline_s:,g} s; {LIMITS.upload_deadline_s:,g} s",
    "live feeds of events": f"{LIMITS.listeners}",
    "a search": f"{MAX_LENGTH:,} characters, {MAX_TOKENS:,} words and marks, {MAX_CLAUSES} comparisons, "
    f"{MAX_DEPTH} levels, {MAX_VALUES:,} values in lists, {MAX_ORDERS} keys to order by",
}


def rows() -> dict[str, str]:
    """The table of the guide: what, and how much."""
    part = GUIDE.read_text().partition("\n## Limits\n")[2].partition("\n## ")[0]
    lines = [
        [cell.strip() for cell in line.split("|")] for line in part.splitlines() if line.startswith("| ")
    ]
    return {cells[1]: cells[2] for cells in lines if cells[1] != "What"}


def test_spans_and_records_have_one_limit() -> None:
    assert SPAN_PARTS == RECORD_PARTS


def test_the_guide_names_every_limit() -> None:
    assert set(rows()) == set(TABLE)


@pytest.mark.parametrize("what", TABLE)
def test_the_guide_says_what_is_kept(what: str) -> None:
    assert rows()[what] == TABLE[what]
