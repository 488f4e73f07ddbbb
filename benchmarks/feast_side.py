"""The work of `features.py` by Feast, in an environment of its own in the user's cache: its part of `--peer`.

Its default file store for joins, its SQLite store online, its local server. One row a feature and key is what
that store keeps. A join that loses rows is told: `rows` beside `asked`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["by_feast"]

FEAST = "feast==0.67.0"
PROGRAM = """
import json, os, resource, statistics, sys, time
from datetime import timedelta, datetime, timezone
begun = time.perf_counter()
import pandas as pd
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float64, Int64
from feast.value_type import ValueType
what, folder = sys.argv[1], sys.argv[2]
home = os.path.join(folder, "feast")
os.makedirs(home, exist_ok=True)
config = RepoConfig(
    project="p", provider="local", registry=os.path.join(home, "registry.db"),
    online_store={"type": "sqlite", "path": os.path.join(home, "online.db")},
    offline_store={"type": "file"}, entity_key_serialization_version=3,
)
store = FeatureStore(config=config)
key = Entity(name="k", join_keys=["k"], value_type=ValueType.INT64)
view = FeatureView(
    name="v", entities=[key], ttl=timedelta(days=0 if what in ("materialize", "online") else 30),
    schema=[
        Field(name="k", dtype=Int64),
        *(Field(name=f"f{i}", dtype=Float64 if i < 7 else Int64) for i in range(10)),
    ],
    source=FileSource(path=os.path.join(folder, "view"), timestamp_field="event"),
)
store.apply([key, view])
names = [f"v:f{i}" for i in range(10)]
found = {}
if what.startswith("join"):
    asked = pq.read_table(os.path.join(folder, what.removeprefix("join_"))).to_pandas()
    asked = asked.rename(columns={"asked": "event_timestamp"})
    table = store.get_historical_features(entity_df=asked, features=names).to_arrow()
    found = {"asked": len(asked), "rows": table.num_rows}
elif what == "materialize":
    store.materialize(datetime(1969, 12, 1, tzinfo=timezone.utc), datetime(1971, 1, 2, tzinfo=timezone.utc))
    found = {"file_mb": round(os.path.getsize(os.path.join(home, "online.db")) / 1e6, 2)}
else:
    import random
    chance = random.Random(0)
    for count, calls in ((1, 1000), (100, 100)):
        times = []
        for _ in range(calls):
            rows = [{"k": chance.randrange(100_000)} for _ in range(count)]
            start = time.perf_counter()
            store.get_online_features(features=names, entity_rows=rows).to_dict()
            times.append((time.perf_counter() - start) * 1e3)
        times.sort()
        middle, late = times[calls // 2], times[calls * 99 // 100]
        found |= {f"{count}_p50_ms": round(middle, 3), f"{count}_p99_ms": round(late, 3)}
print(json.dumps({
    "s": round(time.perf_counter() - begun, 2),
    "cpu_s": round(time.process_time(), 2),
    "mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    **found,
}))
"""


def peer_python() -> Path:
    """The Python of an environment with Feast."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "loopwright" / "peers"
    folder = cache / FEAST.replace("==", "-")
    if not (folder / "made").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(folder / "bin/python"), "-m", "pip", "install", "-q", FEAST], check=True)
        (folder / "made").touch()
    return folder / "bin/python"


def by_feast(folder: Path, what: str) -> dict[str, object]:
    """`join_100k`, `join_1m`, `materialize` or `online` (which comes after it) on the files of a folder."""
    command = [str(peer_python()), "-c", PROGRAM, what, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_quiet())
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1][:300]}
    told: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return {**told, "load": os.getloadavg()[0]}


def _quiet() -> dict[str, str]:
    return {**os.environ, "FEAST_USAGE": "False"}
