"""Free functions on a server: those of the modules that its operator names, and of no others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import invalidate_caches
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import loopwright as lw
from loopwright.core.errors import Invalid
from loopwright.data.verbs import append, read
from loopwright.surfaces.http import build_app
from loopwright.workspace import Workspace, load_settings
from tests.surfaces.asking import ask

START = datetime(2026, 3, 1, tzinfo=UTC)
MODULE = "shop_features_of_a_test"
SOURCE = """
import loopwright as lw

@lw.feature_function
def heat(temp: float | None) -> float | None:
    return None if temp is None else temp * 2 + {more}

@lw.feature_function(reads=("w.heat", "distance"))
def effort(heat: float | None, distance: float | None) -> float | None:
    return None if heat is None or distance is None else heat * distance
"""
NAMED = {"feature_modules": (MODULE,)}
ROW = {"shop": "a", "distance": 3.0}
ASKED = {"rows": [ROW], "at": (START + timedelta(hours=9)).isoformat()}


def write(folder: Path, more: int) -> None:
    sys.modules.pop(MODULE, None)
    (folder / f"{MODULE}.py").write_text(SOURCE.format(more=more) + "\n" * more)
    invalidate_caches()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A workspace in which a program published its functions."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    write(tmp_path, 1)
    with Workspace.open(tmp_path / "home") as workspace:
        rows = [{"shop": "ab"[i % 2], "at": START + timedelta(hours=i), "temp": i / 2} for i in range(8)]
        append(workspace.context(), "weather", pa.Table.from_pylist(rows), event_time="at")
        spine = [{"shop": "a", "distance": 3.0, "asked": START + timedelta(hours=9)}]
        append(workspace.context(), "asked", pa.Table.from_pylist(spine), event_time="asked")
        __import__(MODULE)
        own: Any = sys.modules[MODULE]
        lw.feature_view("w", source="weather", entity="shop", features=[own.heat, "temp"], to=workspace)
        lw.feature_service(
            "s", features=["w:*", {"effort": own.effort}], request={"distance": float}, to=workspace
        )
    sys.modules.pop(MODULE, None)
    yield tmp_path / "home"
    sys.modules.pop(MODULE, None)


def opened(home: Path, **given: Any) -> Workspace:
    return Workspace.open(settings=load_settings({"workspace": str(home), **given}, environment={}))


def test_a_named_module_is_computed_and_no_other(home: Path) -> None:
    asked = {"name": "train", "spine": "asked", "service": "s"}
    with opened(home) as workspace:
        with pytest.raises(Invalid, match="not given it"):
            workspace.call("features.materialize", name="w", until=START + timedelta(hours=8))
        with pytest.raises(Invalid, match="not given it"):
            workspace.call("features.training_set", **asked)
        assert MODULE not in sys.modules
    with opened(home, **NAMED) as workspace:
        assert MODULE not in sys.modules, "it is imported where it is asked for"
        workspace.call("features.materialize", name="w", until=START + timedelta(hours=8))
        made = workspace.call("features.training_set", **asked)
        row = read(workspace.context(), str(made.ref)).to_pylist()[0]
        assert (row["x_w.heat"], row["x_effort"]) == (3.0 * 2 + 1, (3.0 * 2 + 1) * 3.0)
        app = build_app(workspace)
        for _ in range(2):
            told = ask(app, "POST", "/api/v1/features/services/s/lookup", value=ASKED).json
            assert dict(zip(told["outputs"], told["rows"][0], strict=True))["effort"] == row["x_effort"]
        app.close()


def test_another_source_of_the_same_name_is_refused(home: Path) -> None:
    write(home.parent, 2)
    with opened(home, **NAMED) as workspace, pytest.raises(Invalid, match="another source"):
        workspace.call("features.materialize", name="w", until=START + timedelta(hours=8))


@pytest.mark.parametrize(
    ("name", "said"), [("no_such_module_there", "ModuleNotFoundError"), ("os; quit", "names no module")]
)
def test_a_module_that_is_none_is_told_when_a_server_starts(tmp_path: Path, name: str, said: str) -> None:
    with opened(tmp_path / "home", feature_modules=(name,)) as workspace:
        with pytest.raises(Invalid, match=said) as caught:
            workspace.start()
        assert caught.value.hint
