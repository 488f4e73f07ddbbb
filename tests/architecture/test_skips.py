"""A test that is left out in CI fails there, and says why; what is expected to be left out does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.skips import MAY_BE_LEFT_OUT

_ROOT = Path(__file__).parents[2]
_KINDS = """
import pytest

@pytest.fixture
def disk():
    pytest.skip("no mount here")

def test_by_a_fixture(disk): ...

def test_in_the_middle():
    pytest.skip("no other user here")

@pytest.mark.skipif(True, reason="not today")
def test_by_a_mark(): ...

@pytest.mark.xfail(reason="known")
def test_known():
    assert False

def test_sound(): ...
"""


def _outcomes(folder: Path, ci: str) -> str:
    (folder / "test_kinds.py").write_text(_KINDS)
    (folder / "test_module.py").write_text("import pytest\npytest.importorskip('no_such_package_here')\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.skips",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
    ]
    done = subprocess.run(
        [*command, "-c", os.devnull, "--rootdir", folder, "--continue-on-collection-errors", "-rA", folder],
        capture_output=True,
        text=True,
        check=False,
        cwd=_ROOT,
        env={**os.environ, "CI": ci, "PYTEST_ADDOPTS": "", "PYTHONPATH": f"{_ROOT}"},
    )
    return done.stdout


def test_in_ci_every_kind_of_skip_fails_with_its_reason(tmp_path: Path) -> None:
    told = _outcomes(tmp_path, "true")
    assert "1 failed, 1 passed, 1 xfailed, 3 errors" in told
    for reason in ("no mount here", "no other user here", "not today", "could not import 'no_such_package"):
        assert f"was left out in CI: Skipped: {reason}" in told


def test_elsewhere_they_are_left_out(tmp_path: Path) -> None:
    assert "1 passed, 4 skipped, 1 xfailed" in _outcomes(tmp_path, "")


@pytest.mark.parametrize("name", MAY_BE_LEFT_OUT)
def test_what_may_be_left_out_is_there(name: str) -> None:
    path, _, test = name.partition("::")
    assert test in (_ROOT / path).read_text()
