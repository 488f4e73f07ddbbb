"""Everything that reads the bytes of strangers: drawn at random, and searched by coverage with atheris."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.attacks.fuzzing.environment import ROOT, tools
from tests.attacks.fuzzing.targets import SEEDS, TARGETS, asked

EXAMPLES = settings().max_examples
RUNS_PER_EXAMPLE = 200
"""what atheris tries of each for an example of hypothesis: 10,000, or 100,000 in `make fuzz`"""
MARKS = st.sampled_from(
    [b"\0", b"..", b"%2e", b"'", b'"', b"`", b"(", b"[", b"{", b":", b"\xff", b"9" * 30, b"\\"]
)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=EXAMPLES // 4)
@given(st.data())
def test_bytes_drawn_at_random_are_read_or_refused(name: str, data: st.DataObject) -> None:
    """Of nothing known, and of what is right with a piece put in or taken away."""
    seed = data.draw(st.sampled_from([b"", *SEEDS[name.partition(" ")[0]]]))
    start, end = sorted((data.draw(st.integers(0, len(seed))), data.draw(st.integers(0, len(seed)))))
    asked(TARGETS[name], seed[:start] + data.draw(MARKS | st.binary(max_size=30)) + seed[end:])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="atheris has no build")
def test_bytes_that_reach_new_places_are_read_or_refused(tmp_path: Path) -> None:
    packages = next((tools() / "lib").glob("python*/site-packages"))
    runs = RUNS_PER_EXAMPLE * EXAMPLES
    told = {**os.environ, "PYTHONPATH": str(ROOT), "FUZZING_PACKAGES": str(packages)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.attacks.fuzzing", f"-runs={runs}", "-timeout=20", "-max_len=2048"],
        cwd=tmp_path,
        env=told,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-4000:]
    assert f"searched {len(TARGETS)}, broken: none" in said
    searched = [int(count) for count in re.findall(r"Done (\d+) runs in", said)]
    assert len(searched) == len(TARGETS), searched
    assert min(searched) >= runs, searched
