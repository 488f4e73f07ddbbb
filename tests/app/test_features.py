"""`lw.source`, `lw.feature_view`, `lw.feature_service`, `lw.training_set`, against a twin in plain Python."""

from __future__ import annotations

import math
import random
import runpy
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import loopwright as lw
from loopwright.app.faces import Face
from loopwright.app.feature_services import DefinedService
from loopwright.app.feature_views import DefinedView
from loopwright.app.server import Server
from loopwright.core.errors import Denied, Invalid, LoopwrightError
from loopwright.core.expressions import Scalar, Window
from loopwright.surfaces.http import build_app

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
NOW = START + 60 * HOUR


def observations(seed: int = 1) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    return [
        {
            "origin": chance.choice(["EWR", "JFK", None]),
            "observed_at": (at := START + chance.randrange(48) * HOUR),
            "received_at": chance.choice([None, at + HOUR / 3, at + 4 * HOUR]),
            "temp": chance.choice([None, 10.5, 20.25, 31.0]),
            "gust": chance.choice([None, 3.5, 7.0, 9.25]),
            "seq": number,
        }
        for number in range(160)
    ]


def questions(seed: int = 2) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    return [
        {
            "origin": chance.choice(["EWR", "JFK", "SFO", None]),
            "asked_at": START + chance.randrange(50 * 60) * HOUR / 60,
            "distance": chance.choice([200.0, 1400.0]),
            "late": number % 3 == 0,
        }
        for number in range(60)
    ]


@lw.feature_function
def comfort(temp: float | None, gust: float | None) -> float | None:
    """What is felt."""
    return None if temp is None else temp - 0.7 * (gust or 0.0)


@lw.feature_function(reads=("distance", "weather.gust_max_6h"))
def effort(distance: float, gust: float | None) -> float | None:
    return None if gust is None else distance * gust


def weather(to: Face, features: list[Any] | None = None, **options: Any) -> DefinedView:
    rows = pl.DataFrame(observations(), schema_overrides={"gust": pl.Float32})
    source = lw.source(
        rows,
        name="observations",
        event_time="observed_at",
        known_at="received_at",
        keys="seq",
        order="seq",
        to=to,
    )
    return lw.feature_view(
        "weather",
        source=source,
        entity="origin",
        ttl=timedelta(hours=5),
        features=features
        or [
            lw.col("temp"),
            ("celsius", (lw.col("temp") - 32) / 1.8),
            lw.col("temp").mean("6h"),
            lw.col("gust").max("6h"),
            ("gusts", lw.col("gust").count("1d")),
        ],
        to=to,
        **options,
    )


def twin(origin: str | None, at: datetime) -> dict[str, Any]:
    """The same by looking at every row."""
    mine = [{**row, "known": row["received_at"] or row["observed_at"]} for row in observations()]
    mine = [row for row in mine if origin is not None and row["origin"] == origin and row["known"] <= at]
    there = [row for row in mine if at - 5 * HOUR <= row["observed_at"] <= at]
    newest = max(there, key=lambda row: (row["observed_at"], row["known"], row["seq"]), default=None)
    temp = None if newest is None else newest["temp"]

    def within(column: str, hours: int) -> list[float]:
        rows = [row for row in mine if row["known"] > at - hours * HOUR]
        return [row[column] for row in rows if row[column] is not None]

    return {
        "weather.temp": temp,
        "weather.celsius": None if temp is None else (temp - 32) / 1.8,
        "weather.temp_mean_6h": fmean(within("temp", 6)) if within("temp", 6) else None,
        "weather.gust_max_6h": max(within("gust", 6), default=None),
        "weather.gusts": len(within("gust", 24)),
    }


@pytest.fixture
def here(tmp_path: Path) -> Iterator[lw.Workspace]:
    with lw.Workspace.open(tmp_path / ".loopwright") as workspace:
        yield workspace


@pytest.fixture
def there(here: lw.Workspace) -> Iterator[lw.Client]:
    with Server(build_app(here)) as server, lw.Client(server.url) as client:
        yield client


def check_joined(to: Face) -> None:
    view = weather(to)
    spine = pl.DataFrame(questions())
    train = lw.training_set(spine, features=[view], label="late", time="asked_at", to=to)
    expected = [row | twin(row["origin"], row["asked_at"]) for row in questions()]
    found = train.table().to_pylist()
    assert [row | {"weather.temp_mean_6h": None} for row in found] == [
        row | {"weather.temp_mean_6h": None} for row in expected
    ]
    means = [
        (row["weather.temp_mean_6h"], told["weather.temp_mean_6h"])
        for row, told in zip(found, expected, strict=True)
    ]
    assert all(mine == pytest.approx(theirs) for mine, theirs in means)
    assert sum(row["weather.temp"] is not None for row in found) > 10
    assert train.features == tuple(f"weather.{name}" for name in view.features)
    assert {*train.features} == {*twin("EWR", START)}
    assert train.label == "late"


def test_a_training_set_is_what_looking_at_every_row_gives(here: lw.Workspace) -> None:
    check_joined(here)


def test_a_server_gives_the_same(there: lw.Client) -> None:
    check_joined(there)


def test_the_same_program_again_makes_nothing_new(here: lw.Workspace) -> None:
    made = [
        (weather(here).version, lw.training_set(pl.DataFrame(questions()), ["weather:temp"], to=here).version)
        for _ in range(2)
    ]
    assert made[0] == made[1]
    assert here.call("assets.versions", kind="dataset", name="observations").items[0].number == 1


def test_who_owns_a_view_and_what_it_is_stand_beside_the_definition(here: lw.Workspace) -> None:
    first = weather(here, owners=["ada", "bob"], description="the sky", tags={"team": "ops", "hourly": ""})
    shown = here.call("features.show", name="weather")
    assert (shown.owner, dict(shown.tags)) == ("ada, bob", {"team": "ops", "hourly": ""})
    again = weather(here, owners="eve")
    assert again.version == first.version
    shown = here.call("features.show", name="weather")
    assert (shown.owner, dict(shown.tags)) == ("eve", {"team": "ops", "hourly": ""})
    assert here.call("features.list").items[0].description == "the sky"


def test_a_training_set_says_what_it_was_made_of_and_its_run_too(here: lw.Workspace) -> None:
    with lw.run("train", to=here) as run:
        view = weather(here)
        train = lw.training_set(pl.DataFrame(questions()), features=[view["temp"], "weather:gusts"])
    assert train.features == ("weather.temp", "weather.gusts")
    assert dict(train.facts.definitions) == {str(view.version.ref): view.version.digest}
    assert dict(train.facts.sources) == {str(view.version.ref): "dataset:observations@1"}
    links = here.call("runs.show", run_id=run.id).links
    told = {(link.role.value, str(link.version)) for link in links}
    assert {
        ("input", "dataset:observations@1"),
        ("input", "feature_view:weather@1"),
        ("input", "dataset:training/weather/spine@1"),
        ("output", "dataset:training/weather@1"),
    } <= told


@pytest.mark.slow
def test_splits_are_kept_with_the_set(here: lw.Workspace) -> None:
    view, spine = weather(here), pl.DataFrame(questions())
    shared = lw.training_set(spine, [view], split={"train": 0.5, "test": 0.5}, to=here)
    assert shared.table("train").num_rows + shared.table("test").num_rows == 60
    until = lw.Split(until={"train": START + 30 * HOUR}, rest="later")
    timed = lw.training_set(spine, [view], split=until, name="timed", to=here)
    assert max(timed.table("train")["asked_at"].to_pylist()) < START + 30 * HOUR
    assert min(timed.table("later")["asked_at"].to_pylist()) >= START + 30 * HOUR
    grouped = lw.Split(shares={"train": 0.5, "test": 0.5}, seed=1, group="origin")
    apart = lw.training_set(spine, [view], split=grouped, name="apart", to=here)
    parts = [set(apart.table(part)["origin"].to_pylist()) for part in ("train", "test")]
    assert not parts[0] & parts[1]
    with pytest.raises(Invalid, match="'dev'"):
        timed.table("dev")
    assert here.call("data.show", name="timed").body["facts"]["split"]["rest"] == "later"


def service(to: Face) -> DefinedService:
    return lw.feature_service(
        "delays",
        features=[
            weather(to),
            {
                "per_gust": lw.col("distance") / (lw.col("weather.gust_max_6h") + 1),
                "miles": lw.col("distance"),
            },
            lw.col("origin"),
        ],
        request={"distance": float},
        categorical={"origin": ["EWR", "JFK"]},
        to=to,
    )


def check_served(to: Face) -> None:
    """What a model is given at a request is what it was given in training."""
    made = service(to)
    weather(to).materialize(until=NOW)
    spine = [{**row, "asked_at": NOW} for row in questions()]
    train = lw.training_set(pl.DataFrame(spine), features=made, to=to)
    assert train.features == tuple(f"x_{name}" for name in made.inputs)
    asked = [{"origin": row["origin"], "distance": row["distance"]} for row in spine]
    reply = made.lookup(asked, at=NOW)
    with made.open() as online:
        assert online.lookup(asked, at=NOW) == reply == online.lookup(asked, at=NOW.isoformat())
    offline = train.table().select(list(train.features)).to_pylist()
    nothing = [[None if math.isnan(value) else value for value in row.values()] for row in offline]
    assert [list(row) for row in reply.rows] == nothing
    assert any(value is not None for row in reply.rows for value in row[:4])


def test_values_sent_with_a_request_are_used_as_in_training(here: lw.Workspace) -> None:
    check_served(here)


@pytest.mark.slow
def test_values_sent_with_a_request_to_a_server_are_too(there: lw.Client) -> None:
    check_served(there)


def test_a_service_is_opened_for_a_purpose_and_decided_then(here: lw.Workspace) -> None:
    made = service(here)
    weather(here).materialize(until=NOW)
    asked: list[dict[str, Scalar]] = [{"origin": "EWR", "distance": 1.0}]
    rule = lw.PurposeRule(column="temp", allowed=("planning",))
    here.call(
        "data.set_purposes", name="observations", purposes=lw.Purposes(rules=(rule,), ask="ann@example.org")
    )
    with pytest.raises(Denied, match="'temp' of dataset:observations"), made.open():
        pass
    with made.open(purpose="planning", looked_up=True) as online:
        assert online.lookup(asked, at=NOW) == made.lookup(asked, at=NOW, looked_up=True, purpose="planning")


def test_python_functions_are_computed_here_and_refused_by_a_server(
    here: lw.Workspace, there: lw.Client
) -> None:
    view = weather(here, features=[comfort, lw.col("gust").max("6h")])
    train = lw.training_set(pl.DataFrame(questions()), [view], to=here)
    for row in train.table().to_pylist():
        told = twin(row["origin"], row["asked_at"])
        assert (row["weather.comfort"] is None) == (told["weather.temp"] is None)
    view.materialize(until=NOW)
    made = lw.feature_service(
        "s", features=[view, effort], request={"distance": float}, to=here
    )  # the program that defines them computes both
    rows: list[dict[str, Any]] = [{"origin": "JFK", "distance": 2.0}]
    at = START + 40 * HOUR
    answer = made.lookup(rows, at=NOW).rows[0]
    assert answer[2] == (None if answer[1] is None else 2.0 * answer[1])
    with lw.Workspace.open(here.settings.folder) as other:
        plain = lw.feature_service("plain", features=["weather:*"], to=other)
        assert plain.lookup([{"origin": "JFK"}], at=NOW).rows[0] == answer[:2]
        for refused in (
            lambda: lw.training_set(pl.DataFrame(questions()), ["weather:comfort"], to=other),
            lambda: other.call("features.lookup", name="s", rows=rows, at=at),
            lambda: other.call("features.backfill", name="weather", start=START, end=at),
        ):
            check_refused(refused)
    here.ports.functions.add(comfort.definition.name, "0" * 64, comfort)
    far = weather(there, features=[comfort, lw.col("gust").max("6h")])
    with pytest.raises(Invalid, match="another source"):
        far.materialize()


def check_refused(refused: Callable[[], Any]) -> None:
    with pytest.raises(Invalid, match="not portable"):
        refused()


def test_a_function_stays_a_function_and_says_what_it_is() -> None:
    assert comfort(10.0, None) == 10.0
    assert repr(comfort) == "<feature function tests.app.test_features.comfort, not portable>"
    assert comfort.definition.reads == ("temp", "gust")
    assert effort.definition.reads == ("distance", "weather.gust_max_6h")


def _nothing(temp: float):  # type: ignore[no-untyped-def]  # what is refused
    return temp


def _lists(temp: float) -> list[float]:
    return [temp]


def _many(*temps: float) -> float:
    return sum(temps)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (_nothing, "does not say what it gives"),
        (_lists, "no type of a column"),
        (_many, "do not name columns"),
        (len, "no name"),
        (lambda temp: temp, "no name"),
        (eval("exec('def made(a) -> float: return a') or locals()['made']"), "cannot be read"),
    ],
)
def test_a_function_that_cannot_be_a_feature_is_refused(function: Any, said: str) -> None:
    with pytest.raises(Invalid, match=said) as caught:
        lw.feature_function(function)
    assert caught.value.hint


@pytest.mark.slow
def test_a_file_with_clocks_of_a_zone_becomes_instants(here: lw.Workspace, tmp_path: Path) -> None:
    file = tmp_path / "gates.parquet"
    clocks = [datetime(2026, 3, 8, 1, 30), datetime(2026, 3, 8, 3, 30)]  # noqa: DTZ001 - without a zone
    pq.write_table(
        pa.table({"gate": ["A", "A"], "at": pa.array(clocks, pa.timestamp("us")), "n": [1, 2]}), file
    )
    with pytest.raises(Invalid, match="no zone"):
        lw.source(file, event_time="at", to=here)
    gates = lw.source(file, event_time="at", zone="America/New_York", to=here)
    assert gates.dataset == "gates"
    lw.feature_view("gates", source=gates, entity="gate", features=["n"], to=here)
    spine = [
        {"gate": "A", "asked": datetime(2026, 3, 8, hour, minute, tzinfo=UTC)}
        for hour, minute in ((6, 29), (6, 30), (7, 29), (7, 30))
    ]
    train = lw.training_set(pl.DataFrame(spine), ["gates:n"], to=here)
    assert train.table()["gates.n"].to_pylist() == [None, 1, 1, 2]
    shown_twice = [datetime(2026, 11, 1, 1, 30)]  # noqa: DTZ001 - without a zone
    twice = pa.table({"gate": ["A"], "at": pa.array(shown_twice, pa.timestamp("us"))})
    with pytest.raises(Invalid, match="twice, or never"):
        lw.source(twice, name="g", event_time="at", zone="America/New_York", to=here)


def test_without_a_place_it_goes_to_the_workspace_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WORKSPACE", "URL", "TOKEN", "SPACE"):
        monkeypatch.delenv(f"LOOPWRIGHT_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    observed = lw.dataset("observations", event_time="observed_at", known_at="received_at")
    observed.append(pl.DataFrame(observations()))
    view = lw.feature_view("weather", source=observed, entity="origin", features=[comfort, "temp"])
    asked = lw.dataset("asked", event_time="asked_at")
    asked.append(pl.DataFrame(questions()))
    train = lw.training_set(asked, features=[view], label="late")
    assert train.facts.spine == "dataset:asked@1"
    assert train.pandas()["weather.comfort"].notna().sum() > 10
    done = view.backfill(START, "2026-03-02", every="12h", into="weather_daily")
    assert done.is_done
    with pytest.raises(Invalid, match="not portable"):
        lw.training_set(asked, features=["weather:comfort"])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda to: lw.source("nowhere", to=to), "nowhere"),
        (lambda to: lw.source(pl.DataFrame({"a": [1]}), event_time="a", to=to), "no name"),
        (lambda to: lw.source([1, 2], name="x", event_time="a", to=to), "no table"),
        (lambda to: lw.source("missing.parquet", event_time="a", to=to), "missing.parquet"),
        (lambda to: lw.source("observations", zone="UTC", to=to), "need no zone"),
        (lambda to: weather(to, features=[lw.col("temp") * 2]), "no name"),
        (lambda to: weather(to, features=[lw.col("temp"), ("temp", lw.col("gust"))]), "twice"),
        (lambda to: weather(to, features=[("x", 5)]), "is a int"),
        (lambda to: weather(to)["nope"], "nope"),
        (lambda to: lw.training_set(pl.DataFrame(questions()), ["weather:nope"], to=to), "nope"),
        (lambda to: lw.training_set(pl.DataFrame(questions()), ["weather"], to=to), "names no feature"),
        (lambda to: lw.training_set(pl.DataFrame(questions()), "weather:*", to=to), "a list"),
        (lambda to: lw.training_set(pl.DataFrame(questions()), name="n", to=to), "which features"),
        (lambda to: lw.training_set(pl.DataFrame(questions()), ["weather:*"], label="no", to=to), "'no'"),
        (
            lambda to: lw.training_set(pl.DataFrame(questions()), ["weather:*"], time="late", to=to),
            "no instant",
        ),
        (lambda to: lw.training_set(pl.DataFrame({"origin": ["EWR"]}), ["weather:*"], to=to), "asked about"),
        (lambda to: lw.training_set(pl.DataFrame({"at": [NOW]}), ["weather:*"], to=to), "'origin'"),
        (
            lambda to: lw.training_set(pl.DataFrame({"at": [NOW], "origin": [1]}), ["weather:*"], to=to),
            "is int in the spine",
        ),
        (
            lambda to: lw.feature_service("s", features=[{"m": lw.col("temp").mean("6h")}], to=to),
            "no expression over one request",
        ),
        (lambda to: lw.feature_service("s", features=["weather:*"], request={"d": list}, to=to), "no type"),
        (lambda to: lw.feature_service("s", features=[lw.col("distance")], to=to), "distance"),
    ],
)
def test_what_means_nothing_is_refused_in_words(
    shared: lw.Workspace, make: Callable[[Face], Any], said: str
) -> None:
    with pytest.raises(LoopwrightError, match=said) as caught:
        make(shared)
    assert caught.value.hint


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lw.Workspace]:
    with lw.Workspace.open(tmp_path_factory.mktemp("shared") / ".loopwright") as workspace:
        weather(workspace)
        yield workspace


def test_features_in_a_list_are_named_by_what_they_are(here: lw.Workspace) -> None:
    view = weather(
        here, features=["temp", lw.col("gust").std("1d"), comfort, ("n", lw.col("gust").count("90m"))]
    )
    assert set(view.features) == {"temp", "gust_std_1d", "comfort", "n"}
    kept = here.call("features.show", name="weather").view
    assert kept.windows["gust_std_1d"] == Window(op="std", expr=lw.col("gust"), over="1d")


def test_the_guides_first_program_gives_what_the_guide_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row counts once it was published, and the time to live is inclusive."""
    for name in ("WORKSPACE", "URL", "TOKEN", "SPACE"):
        monkeypatch.delenv(f"LOOPWRIGHT_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "features.md").read_text()
    program = tmp_path / "flights.py"
    program.write_text(guide.partition("```python\n")[2].partition("```\n")[0])
    train = runpy.run_path(str(program))["train"]
    found = train.table().select(["flight", *train.features]).to_pylist()
    assert [list(row.values()) for row in found] == [
        [11, 41.0, 5.0, 18.0, 1],
        [12, 43.0, (43.0 - 32) / 1.8, 18.0, 2],
        [13, 44.5, (44.5 - 32) / 1.8, 22.0, 1],
    ]
    assert "EWR" in capsys.readouterr().out
