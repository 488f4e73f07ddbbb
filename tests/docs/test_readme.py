"""The lines that the README shows, run as they stand there."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from lightgbm import LGBMClassifier
from sklearn.metrics import roc_auc_score

import loopwright as lw

README = Path(__file__).parents[2] / "README.md"
START = datetime(2013, 7, 1, tzinfo=UTC)


def departures(rows: int) -> pl.DataFrame:
    chance = np.random.default_rng(1)
    minutes = np.sort(chance.integers(0, 20_000, rows)).tolist()
    frame = pl.DataFrame(
        {
            "carrier": chance.choice(["AA", "DL", "UA"], rows),
            "dep_delay": chance.normal(10, 20, rows),
            "scheduled_at": [START + timedelta(minutes=minute) for minute in minutes],
        }
    )
    return frame.with_columns(known_at=pl.col("scheduled_at") + pl.duration(hours=1))


def test_the_lines_that_matter_do_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPWRIGHT_WORKSPACE", str(tmp_path / ".loopwright"))
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    frame = departures(600)
    asked = frame.select("carrier", "scheduled_at", late=(pl.col("dep_delay") > 15).cast(pl.Int64))
    frame[3, "dep_delay"] = -1048.0
    there: dict[str, Any] = {
        "datetime": datetime,
        "frame": frame,
        "asked": asked,
        "LGBMClassifier": LGBMClassifier,
        "roc_auc_score": roc_auc_score,
    }
    exec(compile(block, str(README), "exec", dont_inherit=True), there)
    assert [row.values["dep_delay"] for row in there["flights"].quarantine()] == [-1048.0]
    with lw.connect() as face:
        version = face.call("versions.show", address="model:arrival-delay")
        view = face.call("runs.show", run_id=there["run"].id)
    assert version.version.run_id == view.run.id
    assert {link.version.name for link in view.links} >= {str(there["known"].version.name), "arrival-delay"}
