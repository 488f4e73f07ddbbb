"""The wheel and the sdist hold everything that the package needs at run time."""

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGE, ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a fresh wheel and sdist."""
    folder = tmp_path_factory.mktemp("dist")
    command = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--wheel",
        "--sdist",
        "--outdir",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def tracked() -> set[str]:
    """Files of the package that git knows, by their path in a wheel."""
    listed = subprocess.run(
        ["git", "ls-files", "src/loopwright"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    return {path.removeprefix("src/") for path in listed if (ROOT / path).exists()}


def vendored() -> set[str]:
    """Files of the UI's libraries, by their path in a wheel."""
    libraries = json.loads((PACKAGE / "surfaces/ui/vendor.lock.json").read_text())["libraries"].values()
    places = {entry["to"] for library in libraries for entry in library["files"].values()}
    return {f"loopwright/surfaces/ui/static/vendor/{place}" for place in places}


def test_the_wheel_is_whole(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    assert (tracked() | vendored()) - names == set()
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_sdist_is_whole(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2].removeprefix("src/") for name in sdist.getnames()}
    assert (tracked() | vendored() | {"hatch_build.py"}) - names == set()


def test_the_wheel_runs_from_an_empty_folder(built: Path, tmp_path: Path) -> None:
    """Unpacked beside the installed libraries, with the checkout out of sight."""
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "unpacked")
    program = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import loopwright; print(loopwright.__file__);"
        "import loopwright.app.server, loopwright.surfaces.ui.site;"
        "from loopwright.app.main import main; main()"
    )
    folder = tmp_path / "empty"
    folder.mkdir()
    command = [sys.executable, "-c", program, str(tmp_path / "unpacked"), "--help"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.stdout.startswith(str(tmp_path / "unpacked")), done.stdout
    assert done.returncode == 0, done.stderr
