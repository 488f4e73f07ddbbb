"""`loopwright reproduce`: a real program done again, as it was and with one thing changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import loopwright
from loopwright.core.errors import Invalid
from loopwright.core.nouns import Run
from loopwright.loops.reproduce import Outcome
from loopwright.workspace import Workspace

SCRIPT = """
import os
import random
import sys

import loopwright as lw
import toylib

seed = os.environ.get("SEED")
chance = random.Random(None if seed == "none" else int(seed or 7))
with lw.run("train", experiment="toy", params={"seed": seed or 7, "rate": sys.argv[1]}) as run:
    rows = [json_row["x"] for json_row in run.face.call("data.rows", name="numbers").items]
    weight = 0.0
    for step in range(20):
        weight += float(sys.argv[1]) * (sum(rows) / len(rows) - weight) + chance.gauss(0, 1e-9)
        run.log({"loss": abs(weight - 2.0) * toylib.FACTOR}, step=step)
    run.keep("weight.txt", repr(round(weight, 6)).encode())
"""


pytestmark = pytest.mark.slow


class Bench:
    """A repository with a program, a library beside it, and a workspace that has some data."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.library = folder / "code", folder / "library"
        self.workspace = folder / ".loopwright"
        (self.folder / "training").mkdir(parents=True)
        (self.folder / "training/train.py").write_text(SCRIPT)
        self.install("1.0", 1.0)
        self.git("init", "-q")
        self.commit("first")
        self.add_rows("x\n1.5\n2.5\n")

    def git(self, *words: str) -> None:
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *who, *words], cwd=self.folder, check=True, capture_output=True)

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def install(self, version: str, factor: float) -> None:
        """A distribution of its own, as an installer would lay it out."""
        self.library.mkdir(exist_ok=True)
        for old in self.library.glob("*.dist-info/METADATA"):
            old.unlink()
            old.parent.rmdir()
        (self.library / "toylib.py").write_text(f"FACTOR = {factor}\n")
        info = self.library / f"toylib-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: toylib\nVersion: {version}\n")

    def add_rows(self, text: str) -> None:
        rows = self.folder.parent / "rows.csv"
        rows.write_text(text)
        self.loopwright("data", "upload", "numbers", str(rows))

    def environment(self, **more: str) -> dict[str, str]:
        source = Path(loopwright.__file__).parents[1]
        mine = {key: value for key, value in os.environ.items() if not key.startswith("LOOPWRIGHT_")}
        path = os.pathsep.join([str(self.library), str(source)])
        ours = {"LOOPWRIGHT_WORKSPACE": str(self.workspace), "PYTHONPATH": path}
        return {**mine, **ours, "PYTHONDONTWRITEBYTECODE": "1", **more}

    def train(self, **more: str) -> Run:
        command = [sys.executable, "train.py", "0.3"]
        subprocess.run(command, cwd=self.folder / "training", env=self.environment(**more), check=True)
        with Workspace.open(self.workspace) as workspace:
            run: Run = workspace.call("runs.list", experiment="toy").items[0]
            return run

    def loopwright(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "loopwright", *words],
            cwd=self.folder,
            env=self.environment(**more),
            text=True,
            capture_output=True,
            check=False,
        )

    def reproduce(self, run: Run, *words: str, **more: str) -> dict[str, Any]:
        done = self.loopwright("reproduce", run.id, "--json", "-", *words, **more)
        assert done.stdout, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == (1 if found["outcome"] == Outcome.DIFFERENT else 0)
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def kinds(found: dict[str, Any]) -> set[str]:
    return {each["kind"] for each in found["changed"]}


def test_a_seeded_program_is_equal_to_the_bit_and_leaves_nothing(bench: Bench) -> None:
    (bench.folder / "training/train.py").write_text(SCRIPT.replace("range(20)", "range(15)"))
    run = bench.train()
    (bench.folder / "training/train.py").write_text("raise SystemExit('this is not what was run')")
    found = bench.reproduce(run)
    assert (found["outcome"], found["changed"]) == ("bit-equal", [])
    assert {each["what"] for each in found["compared"]} == {
        "param rate", "param seed", "metric loss", "file weight.txt"
    }  # fmt: skip
    listed = subprocess.run(
        ["git", "worktree", "list"], cwd=bench.folder, capture_output=True, text=True, check=True
    )
    assert len(listed.stdout.splitlines()) == 1
    with Workspace.open(bench.workspace) as workspace:
        view = workspace.call("runs.show", run_id=found["other"])
    assert view.run.tags["loopwright.reproduces"] == run.id
    assert [str(link.version) for link in view.links] == ["dataset:numbers@1"]


def test_changed_data_is_told(bench: Bench) -> None:
    run = bench.train()
    bench.add_rows("x\n8.0\n")
    found = bench.reproduce(run)
    assert (found["outcome"], kinds(found)) == ("different", {"data"})
    assert found["changed"][0]["what"] == "dataset:numbers"


def test_changed_code_is_told(bench: Bench) -> None:
    run = bench.train()
    (bench.folder / "training/train.py").write_text(SCRIPT.replace("range(20)", "range(10)"))
    assert bench.reproduce(run)["outcome"] == "bit-equal"
    found = bench.reproduce(run, "--code", "here")
    assert (found["outcome"], kinds(found)) == ("different", {"code"})


def test_a_changed_library_is_told_and_may_be_within_tolerance(bench: Bench) -> None:
    run = bench.train()
    bench.install("2.0", 1.0000001)
    found = bench.reproduce(run, "--tolerance", "loss=1e-5")
    assert (found["outcome"], kinds(found)) == ("within tolerance", {"environment"})
    assert found["changed"] == [{"kind": "environment", "what": "toylib", "first": "1.0", "second": "2.0"}]
    assert bench.reproduce(run, "--tolerance", "loss=1e-12")["outcome"] == "different"


def test_a_changed_seed_is_told(bench: Bench) -> None:
    run = bench.train()
    found = bench.reproduce(run, SEED="8")
    assert found["outcome"] == "different"
    assert kinds(found) == {"seed"}


def test_an_unseeded_program_is_different_with_nothing_changed(bench: Bench) -> None:
    run = bench.train(SEED="none")
    found = bench.reproduce(run, SEED="none")
    assert (found["outcome"], found["changed"]) == ("different", [])
    assert "chance" in found["note"]
    assert bench.reproduce(run, "--tolerance", "*=1e-3", SEED="none")["outcome"] == "within tolerance"


def test_a_run_of_another_machine_is_shown_and_not_run_unasked(bench: Bench) -> None:
    run = bench.train()
    with Workspace.open(bench.workspace) as workspace:
        facts = {**run.facts, "machine": {**run.facts["machine"], "name": "elsewhere"}}
        tags = {"was": run.id}
        other = workspace.call(
            "runs.start", name="train", experiment="toy", facts=facts, tags=tags, params=run.params
        )
        before = len(workspace.call("runs.list", experiment="toy").items)
    done = bench.loopwright("reproduce", other.id)
    assert done.returncode == 2
    assert "train.py 0.3" in done.stderr
    assert "elsewhere" in done.stderr
    with Workspace.open(bench.workspace) as workspace:
        assert len(workspace.call("runs.list", experiment="toy").items) == before


def test_what_is_missing_is_named(bench: Bench) -> None:
    run = bench.train()
    done = bench.loopwright("reproduce", "01aaaaaaaaaaaaaaaaaaaaaaaa")
    assert done.returncode == 3
    bench.git("checkout", "-q", "--orphan", "empty")
    bench.git("branch", "-q", "-D", "master") if "master" in _branches(bench) else bench.git(
        "branch", "-D", "main"
    )
    bench.git("reflog", "expire", "--expire=now", "--all")
    bench.git("gc", "-q", "--prune=now")
    done = bench.loopwright("reproduce", run.id, "--workspace", str(bench.workspace))
    assert done.returncode == 3, done.stderr
    assert "no repository here has the commit" in done.stderr
    assert "Traceback" not in done.stderr


def _branches(bench: Bench) -> str:
    return subprocess.run(
        ["git", "branch"], cwd=bench.folder, capture_output=True, text=True, check=True
    ).stdout


def test_runs_that_recorded_too_little_say_what() -> None:
    from datetime import UTC, datetime

    from loopwright.app.reproducing import planned
    from loopwright.core.nouns import RunState

    def of(**facts: Any) -> Run:
        now = datetime.now(UTC)
        return Run(id="r", space="s", kind="run", name="n", state=RunState.FINISHED, created_at=now,
                   created_by="me", facts=facts)  # fmt: skip

    with pytest.raises(Invalid, match="command"):
        planned(of())
    with pytest.raises(Invalid, match="commit"):
        planned(of(command=["python", "x.py"]))
    with pytest.raises(Invalid, match="too large"):
        planned(of(command=["python", "x.py"], code={"commit": "a" * 40, "diff": "b" * 64}))


def test_the_recorded_environment_is_made_by_its_lock(tmp_path: Path) -> None:
    """With a lock of nothing but ourselves, which no index has to give: it is this Loopwright."""
    from loopwright.app.checkouts import with_packages

    python = with_packages(f"loopwright=={loopwright.__version__}\n", tmp_path / "made")
    asked = (
        "import importlib.metadata as m; print(m.version('loopwright'), m.distribution('loopwright').name)"
    )
    done = subprocess.run(
        [str(python), "-c", asked], capture_output=True, text=True, check=True, cwd=tmp_path, env={}
    )
    assert done.stdout.split() == [loopwright.__version__, "loopwright"]
    assert Path(sys.executable) != python
