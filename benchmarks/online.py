"""How long pushing to and reading from the online store takes, on a year of made-up flights. Prints JSON."""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from loopwright.adapters.online import SqliteOnline
from loopwright.core.expressions import Scalar, Window, col
from loopwright.core.instants import duration
from loopwright.ports.online import OnlineRow, OnlineView

MINUTE = 60_000_000
CLOCK = time.process_time
"""seconds of this process's work: other work on the machine does not count, waiting for the disk neither"""
START = 1_356_998_400_000_000


def windows(*spans: str) -> dict[str, Window]:
    found: dict[str, Window] = {}
    for span in spans:
        found[f"count_{span}"] = col("delay").count(span)
        found[f"mean_{span}"] = col("delay").mean(span)
    return found


ROLLING: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "origin": (("origin",), ("1h", "3h", "1d")),
    "carrier": (("carrier",), ("2h", "6h", "7d")),
    "origin_carrier": (("origin", "carrier"), ("2h", "6h")),
    "plane": (("tailnum",), ("12h",)),
    "dest_arrivals": (("dest",), ("3h", "1d", "7d")),
    "origin_arrivals": (("origin",), ("2h",)),
    "plane_arrivals": (("tailnum",), ("12h",)),
}
WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib")


def flights(count: int, seed: int) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    found = []
    for i in range(count):
        at = START + i * MINUTE * 65_360 // 170_618
        found.append(
            {
                "at": at // MINUTE * MINUTE,
                "known": at + chance.randrange(1, 300) * MINUTE,
                "origin": chance.choice(["EWR", "JFK", "LGA"]),
                "carrier": f"C{chance.randrange(16)}",
                "dest": f"D{chance.randrange(105)}",
                "tailnum": f"N{chance.randrange(4000)}",
                "delay": chance.randrange(-20, 300),
            }
        )
    return found


def rows_of(flight: dict[str, Any], number: int) -> list[tuple[str, OnlineRow]]:
    values = {"delay": flight["delay"]}
    return [
        (
            name,
            OnlineRow(
                key=tuple(flight[part] for part in entity),
                event_us=flight["at"],
                known_us=flight["known"],
                values=values,
                row_id=str(number),
            ),
        )
        for name, (entity, _) in ROLLING.items()
    ]


def measure(count: int) -> dict[str, float]:
    """Push every view's row when it is known and read all features of each flight, minute by minute."""
    chance = random.Random(2)
    asked = flights(count, 1)
    queue = sorted(
        ((row.known_us, name, row) for i, flight in enumerate(asked) for name, row in rows_of(flight, i)),
        key=lambda item: item[0],
    )
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteOnline(Path(folder) / "online.db")
        for name, (_, spans) in ROLLING.items():
            store.define(OnlineView(name=name, windows=windows(*spans)))
        store.define(OnlineView(name="weather", ttl=duration("3h"), latest=WEATHER))
        found = _replay(store, asked, queue, chance)
        found["file_mb"] = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
        start = CLOCK()
        store.close()
        found["close_s"] = CLOCK() - start
        start = CLOCK()
        SqliteOnline(Path(folder) / "online.db").close()
        found["open_s"] = CLOCK() - start
    return found


def _replay(
    store: SqliteOnline,
    asked: list[dict[str, Any]],
    queue: list[tuple[int, str, OnlineRow]],
    chance: random.Random,
) -> dict[str, float]:
    pushing = reading = flushing = 0.0
    pushed = hour = day = at = 0
    for flight in asked:
        now = flight["at"]
        begun = CLOCK()
        while pushed < len(queue) and queue[pushed][0] <= now:
            store.push(queue[pushed][1], (queue[pushed][2],))
            pushed += 1
        pushing += CLOCK() - begun
        if now // (60 * MINUTE) != hour:
            hour = now // (60 * MINUTE)
            known = hour * 60 * MINUTE
            for origin in ("EWR", "JFK", "LGA"):
                values: dict[str, Scalar] = {name: chance.random() for name in WEATHER}
                weather = OnlineRow(
                    key=(origin,),
                    event_us=known - 60 * MINUTE,
                    known_us=known,
                    values=values,
                    row_id=f"{known}",
                )
                store.push("weather", [weather])
        if now // (1440 * MINUTE) != day:
            day = now // (1440 * MINUTE)
            begun = CLOCK()
            store.flush(now)
            flushing += CLOCK() - begun
        begun = CLOCK()
        for name, (entity, _) in ROLLING.items():
            store.read(name, [tuple(flight[part] for part in entity)], now)
        store.read("weather", [(flight["origin"],)], now)
        reading += CLOCK() - begun
        at += 1
    return {
        "flights": at,
        "rows": pushed,
        "push_us_per_row": pushing / pushed * 1e6,
        "push_s": pushing,
        "read_us_per_flight": reading / at * 1e6,
        "read_s": reading,
        "features": sum(2 * len(spans) for _, spans in ROLLING.values()) + len(WEATHER),
        "flush_ms_per_day": flushing / (at / 930) * 1e3,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def bulk(keys: int) -> dict[str, float]:
    """Ten features for many keys: push, flush, size, and reads of 1 and of 100 keys."""
    names = tuple(f"f{i}" for i in range(10))
    chance = random.Random(3)
    rows = [
        OnlineRow(
            key=(i,),
            event_us=START,
            known_us=START,
            values={name: chance.random() for name in names},
            row_id=str(i),
        )
        for i in range(keys)
    ]
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteOnline(Path(folder) / "online.db")
        store.define(OnlineView(name="v", latest=names))
        begun = CLOCK()
        store.push("v", rows)
        store.flush(START)
        written = CLOCK() - begun
        store.close()
        size = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
        begun = CLOCK()
        store = SqliteOnline(Path(folder) / "online.db")
        opened = CLOCK() - begun
        ones = [[(chance.randrange(keys),)] for _ in range(3000)]
        hundreds = [[(chance.randrange(keys),) for _ in range(100)] for _ in range(300)]
        found = {"keys": keys, "materialize_s": written, "file_mb": size, "open_s": opened}
        found.update({f"read_1_{name}_ms": value for name, value in _percentiles(store, ones).items()})
        found.update({f"read_100_{name}_ms": value for name, value in _percentiles(store, hundreds).items()})
        store.close()
        return found


def _percentiles(store: SqliteOnline, asked: list[list[tuple[int]]]) -> dict[str, float]:
    times = []
    for keys in asked:
        begun = CLOCK()
        store.read("v", keys, START)
        times.append((CLOCK() - begun) * 1e3)
    times.sort()
    return {"p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flights", type=int, default=170_618)
    parser.add_argument("--keys", type=int, default=100_000)
    given = parser.parse_args()
    json.dump({"replay": measure(given.flights), "bulk": bulk(given.keys)}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
