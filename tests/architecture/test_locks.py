"""What is installed is pinned by version and hash, from no named address, and covers all that is declared."""

import base64
import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.sources import PACKAGE, ROOT

REQUIREMENTS = (ROOT / "requirements.lock").read_text()
VENDOR_LOCK = PACKAGE / "surfaces/ui/vendor.lock.json"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)", re.MULTILINE)


def pins() -> dict[str, list[str]]:
    """Versions in requirements.lock by name; more than one where they differ by Python's version."""
    found: dict[str, list[str]] = {}
    for pin in PIN.finditer(REQUIREMENTS):
        found.setdefault(canonicalize_name(pin["name"]), []).append(pin["version"])
    return found


BESIDE = {"mlflow", "presidio", "torch", "xgboost"}
"""extras that are not in `all`: gigabytes, or with pins that fight ours; each is installed by who uses it"""


def declared() -> list[str]:
    """Every requirement of pyproject.toml: base, extras, development and build."""
    project = PROJECT["project"]
    groups = project["optional-dependencies"].items()
    extras = [line for name, lines in groups for line in lines if name not in BESIDE]
    lines = [
        *project["dependencies"],
        *extras,
        *PROJECT["dependency-groups"]["dev"],
        *PROJECT["build-system"]["requires"],
    ]
    return sorted({line for line in lines if Requirement(line).name != "loopwright"})


@pytest.mark.parametrize("line", declared())
def test_what_is_declared_is_locked(line: str) -> None:
    """A dependency that the lock does not hold would come from wherever, in whatever version."""
    requirement = Requirement(line)
    versions = pins().get(canonicalize_name(requirement.name), [])
    assert versions, f"{line}: run `make lock`"
    assert all(requirement.specifier.contains(version, prereleases=True) for version in versions), versions


def test_every_pin_has_hashes() -> None:
    """An entry without a hash would let the registry decide what is run."""
    entries = re.split(r"\n(?=[A-Za-z0-9])", REQUIREMENTS.strip())
    assert len(entries) == len(PIN.findall(REQUIREMENTS))
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("path", [ROOT / "requirements.lock", VENDOR_LOCK], ids=lambda path: path.name)
def test_no_lock_holds_an_address(path: Path) -> None:
    """Where packages come from is for each machine to say."""
    assert "://" not in path.read_text()


def test_each_vendored_file_has_its_hash() -> None:
    """Browsers' and npm's own form: sha512 in base 64."""
    libraries = json.loads(VENDOR_LOCK.read_text())["libraries"]
    entries = [
        *libraries.values(),
        *(entry for library in libraries.values() for entry in library["files"].values()),
    ]
    digests = [
        base64.b64decode(entry["integrity"].removeprefix("sha512-"), validate=True) for entry in entries
    ]
    assert {len(digest) for digest in digests} == {64}


def test_each_vendored_library_brings_its_licence() -> None:
    """Their licences ask that the text goes with the code."""
    libraries = json.loads(VENDOR_LOCK.read_text())["libraries"]
    without = [name for name, library in libraries.items() if "LICENSE" not in library["files"]]
    assert without == []
