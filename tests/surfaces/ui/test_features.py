"""The page of a feature view: its definition with what is not portable, its owner, its backfills."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import loopwright as lw
from loopwright.app.feature_services import DefinedService
from loopwright.core.errors import Denied
from loopwright.core.instants import parse_instant, to_micros
from loopwright.data.appending import append
from loopwright.engine.context import Context
from loopwright.monitoring.usage import InputShares, Shares
from loopwright.ports.predictors import FitResult
from loopwright.registry.nouns import ModelBody
from loopwright.registry.verbs import register
from loopwright.serving.log import Entry, PredictionLog, Sheet
from loopwright.serving.nouns import Variant
from loopwright.serving.verbs import deploy
from loopwright.surfaces.ui import build_site
from loopwright.surfaces.ui.features import drawn
from tests.surfaces.asking import ask


@lw.feature_function
def felt(temp: float) -> float:
    return temp - 1


def test_the_page_says_what_only_a_program_computes_and_what_was_filled_in(tmp_path: Path) -> None:
    with lw.Workspace.open(tmp_path / ".loopwright") as workspace:
        at = parse_instant("2026-03-01")
        rows = pa.table({"origin": ["EWR"], "at": [at], "temp": [10.0]})
        source = lw.source(rows, name="weather", event_time="at", to=workspace)
        view = lw.feature_view(
            "sky",
            source=source,
            entity="origin",
            features=[("celsius", (lw.col("temp") - 32) / 1.8), felt],
            owners=["ada", "<bob>"],
            description="what is above",
            tags={"team": "ops"},
            to=workspace,
        )
        view.backfill("2026-03-01", "2026-03-02", every="12h")
        view.backfill("2026-03-01", "2026-03-02", every="1d", into="kept")
        lw.training_set(rows, ["sky:celsius"], name="asked", to=workspace)
        answer = ask(build_site(workspace), "GET", "/assets/feature_view/sky")
        assert answer.status == 200
        said = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.body.decode()))
    for words in (
        "owned by ada, &lt;bob&gt;",
        "what is above",
        "team: ops",
        "not portable",
        "felt is made by Python functions",
        "((temp - 32) / 1.8)",
        f"Python function {felt.definition.name}(temp) , source {felt.definition.digest[:12]}",
        "Training sets: dataset:asked@1",
        "Backfills",
        "12h online done",
        "1d kept done",
    ):
        assert words in said, words


def test_the_page_names_what_was_served_otherwise_than_it_was_trained(tmp_path: Path) -> None:
    """A row that was known before the requests came, and was in the store only after them."""
    start = parse_instant("2026-03-01")
    with lw.Workspace.open(tmp_path / ".loopwright") as workspace:
        ctx = workspace.context()
        append(ctx, "weather", _weather(start, 10.0, 5.0), event_time="at")
        lw.feature_view(
            "sky", source="weather", entity="origin", features=["temp", "wind"], to=workspace
        ).materialize(start)
        service = lw.feature_service("inputs", features=["sky:*"], to=workspace)
        asked = {"origin": ["EWR"] * 4, "asked_at": [start] * 4, "late": [0.0, 1.0, 0.0, 1.0]}
        trained = lw.training_set(pa.table(asked), service, name="t", time="asked_at", to=workspace)
        body = ModelBody(
            flavor="lightgbm",
            service=str(service.version.ref),
            features=service.inputs,
            categorical={},
            objective="binary",
            params={},
            rounds=1,
            seed=0,
            training_set=str(trained.version.ref),
            trained_until=start,
            code="0" * 64,
            importance={},
        )
        register(ctx, "late", FitResult(flavor="lightgbm", files={}, importance={}), body)
        deploy(ctx, "late", lw.EndpointConfig(model="late", routes=(lw.Route(version=1, percent=100),)))
        _served(ctx, service, start + timedelta(hours=2), [10.0, 5.0])
        append(ctx, "weather", _weather(start + timedelta(hours=1), 12.0, 5.0))
        span = {"start": start, "end": start + timedelta(days=1)}
        workspace.call("monitoring.skew", endpoint="late", **span)
        answer = ask(build_site(workspace), "GET", "/assets/feature_view/sky")
        ruled = lw.Purposes(
            rules=(lw.PurposeRule(column="temp", allowed=("safety",)),), ask="ann@example.org"
        )
        workspace.call("data.set_purposes", name="weather", purposes=ruled)
        (use,) = workspace.call("monitoring.usage", name="sky")
        assert [each.name for each in use.inputs] == ["sky.wind"]
        assert "ask ann@example.org" in use.withheld["sky.temp"]
        assert len(workspace.call("monitoring.usage", name="sky", purpose="safety")[0].inputs) == 2
        origin = workspace.call("loops.why", address="prediction:asked.0")
        assert origin.prediction.inputs == {"sky.wind": 5.0}
        assert "ask ann@example.org" in origin.prediction.withheld["sky.temp"]
        origin = workspace.call("loops.why", address="prediction:asked.0", purpose="safety")
        assert origin.prediction.inputs == {"sky.temp": 10.0, "sky.wind": 5.0}
        kept_back = ask(build_site(workspace), "GET", "/assets/feature_view/sky").body.decode()
        assert "ask ann@example.org" in kept_back
        with pytest.raises(Denied, match="'temp' of dataset:weather"):
            workspace.call("monitoring.skew", endpoint="late", **span)
        assert workspace.call("monitoring.skew", endpoint="late", purpose="safety", **span).mismatches == 3
        said = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.body.decode()))
    assert "50.0 % of 6 sky.temp 3 of 3" in said
    assert "sky.temp 3 of 3 served otherwise" in said
    assert "sky.wind served as replayed" in said


def _weather(at: datetime, temp: float, wind: float) -> pa.Table:
    return pa.table({"origin": ["EWR"], "at": [at], "temp": [temp], "wind": [wind]})


def _served(ctx: Context, service: DefinedService, at: datetime, vector: list[float]) -> None:
    entry = Entry(
        sheet=Sheet("late", service.definition.request, service.inputs),
        request_id="asked",
        positions=range(3),
        at_us=to_micros(at),
        version=1,
        variant=Variant.LIVE,
        rows=[{"origin": "EWR"}] * 3,
        x=np.array([vector] * 3),
        scores=np.zeros(3),
        latency_us=1,
    )
    log = PredictionLog(ctx)
    log.append(entry)
    log.flush()


def test_the_bins_of_a_picture_are_named_with_what_lies_in_them() -> None:
    then = Shares(n=4, bins=(0.25, 0.5, 0.25), missing=0.0, mean=1.0)
    now = Shares(n=2, bins=(0.0, 0.5, 0.5), missing=0.0, mean=2.0)
    shown = drawn(InputShares(name="wind", edges=(0.5, 1.75), training=then, served=now))
    assert [bar.told for bar in shown.bars] == [
        "< 0.5: training 25.0 %, served 0.0 %",
        "0.5 to 1.75: training 50.0 %, served 50.0 %",
        "\u2265 1.75: training 25.0 %, served 50.0 %",
    ]
    assert (shown.ends, shown.apart) == (("< 0.5", "\u2265 1.75"), 0.25)
    assert shown.bars[2].x == 160
