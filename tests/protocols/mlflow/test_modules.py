"""PyTorch, in an environment that has it: its packager's suite, and packages that go to MLflow and back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.protocols.mlflow.peers import ROOT, run_as_peer

pytestmark = [pytest.mark.peer, pytest.mark.slow]

PEER, MODULE = "3-torch", "tests.protocols.mlflow.script.modules"
LIBRARIES = str(Path(np.__file__).parents[1])
SOURCES = f"{ROOT}:{ROOT / 'src'}"


def test_the_packager_passes_its_suite_where_pytorch_is(tmp_path: Path) -> None:
    words = [
        "suite",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "Torch",
        str(ROOT / "tests/adapters/test_packagers.py"),
    ]
    printed = run_as_peer(PEER, MODULE, LIBRARIES, *words, folder=tmp_path, PYTHONPATH=SOURCES)
    summary = printed.splitlines()[-1]
    assert " passed" in summary
    assert "skipped" not in summary
    assert int(summary.partition(" passed")[0].split()[-1]) >= 17


def test_modules_go_both_ways(tmp_path: Path) -> None:
    printed = run_as_peer(
        PEER, MODULE, LIBRARIES, "exchange", str(tmp_path), folder=tmp_path, PYTHONPATH=SOURCES
    )
    found = json.loads(printed.splitlines()[-1])
    expected = found.pop("expected")
    several = found.pop("several")
    for name in ("flavor", "ours", "by name"):
        np.testing.assert_allclose(several[name], several["torch"], rtol=1e-6)
    assert several["inputs"] == [["0", [-1, 3]], ["1", [-1, 2]]]
    tensor = {"dtype": "float32", "shape": [-1, 3]}
    for form in ("pt2", "pickle"):
        ours = found["ours"][form]
        np.testing.assert_allclose(ours["function"], expected, rtol=1e-6)
        np.testing.assert_allclose(ours["native"], expected, rtol=1e-6)
        assert json.loads(ours["signature"]["inputs"]) == [{"type": "tensor", "tensor-spec": tensor}]
        assert ours["is_training_still"]
    for name in ("exported", "pickled"):
        np.testing.assert_allclose(found["theirs"][name], expected, rtol=1e-6)
