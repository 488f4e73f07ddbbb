"""Artifacts by proxy: put, read, listed, deleted; and paths that lead out."""

from __future__ import annotations

from tests.protocols.mlflow.talking import Talk
from tests.protocols.mlflow.wire import Request

__all__ = ["artifacts"]

ROOT = "/api/2.0/mlflow-artifacts/artifacts"


RANGE = "several ranges and other units may be passed over and the whole file sent (RFC 9110, 14.2)"
WINDOWS = "backslashes, drives and NUL are refused, whatever the system"
NORMAL = "a path that is not in its normal form is refused before anything is looked for"
OURS = {
    "..%5cup": WINDOWS,
    "C:%5cx": WINDOWS,
    "a%00b": WINDOWS,
    "%2fetc/passwd": NORMAL,
    "file:%2f%2f%2fetc/passwd": NORMAL,
    "{x*300}": "a name longer than a file may have is refused",
}


def artifacts(talk: Talk) -> None:
    home = talk.experiment("files-home")
    run = talk.run(home, "files")
    base = f"{ROOT}/{home}/{run}/artifacts"
    talk.get("artifacts/list", "nothing yet", {"run_id": run})
    talk.put(f"{base}/a.txt", "a text", "hello")
    talk.put(f"{base}/sub/deep/b.json", "in folders", '{"b": 1}', **{"Content-Type": "application/json"})
    talk.put(f"{base}/empty.bin", "nothing in it", "")
    talk.put(f"{base}/page.html", "a page", "<script>alert(1)</script>")
    talk.put(f"{base}/with%20blank%20%C3%A4.txt", "an odd name", "odd")
    talk.put(f"{base}/a.txt", "written over", "hello again")
    for name in ("a.txt", "empty.bin", "with%20blank%20%C3%A4.txt"):
        talk.get(f"{base}/{name}", f"read {name}")
    for part in ("bytes=1-3", "bytes=-4", "bytes=3-", "bytes=99-", "bytes=0-0,2-3", "lines=1-2"):
        asked = Request(method="GET", path=f"{base}/a.txt", headers={"Range": part})
        talk.ask(f"a part: {part}", asked, free=RANGE if "," in part or "lines" in part else "")
    talk.get(f"/ajax-api/2.0/mlflow-artifacts/artifacts/{home}/{run}/artifacts/a.txt", "for browsers too")
    talk.get(f"{base}/none.txt", "none there")
    talk.get(f"{base}/sub", "a folder is no file")
    _lists(talk, home, run)
    _outside(talk, f"{ROOT}/{home}/{talk.run(home, 'outside')}/artifacts")
    _deletes(talk, base, home, run)


def _lists(talk: Talk, home: str, run: str) -> None:
    place = f"{home}/{run}/artifacts"
    talk.get(ROOT, "a list by the proxy", {"path": place})
    talk.get(ROOT, "of a folder", {"path": f"{place}/sub"})
    talk.get(ROOT, "of a folder in it", {"path": f"{place}/sub/deep"})
    talk.get(ROOT, "of a file", {"path": f"{place}/a.txt"})
    talk.get(ROOT, "of what is not there", {"path": f"{place}/none"})
    talk.get("artifacts/list", "by the run", {"run_id": run})
    talk.get("artifacts/list", "by the run, a folder", {"run_id": run, "path": "sub"})
    talk.get("artifacts/list", "by the run, a file", {"run_id": run, "path": "a.txt"})
    talk.get("artifacts/list", "by the run, not there", {"run_id": run, "path": "none"})
    talk.get("artifacts/list", "leading out", {"run_id": run, "path": "../.."})
    talk.get("artifacts/list", "from the root", {"run_id": run, "path": "/etc"})
    talk.get("artifacts/list", "of no run", {"run_id": "0" * 32})
    talk.get("artifacts/list", "without a run", wording=True)


def _outside(talk: Talk, base: str) -> None:
    paths = (
        "../up",
        "..%2fup",
        "%2e%2e/up",
        "%252e%252e/up",
        "..%5cup",
        "sub/../../up",
        "%2fetc/passwd",
        "C:%5cx",
        "file:%2f%2f%2fetc/passwd",
        "a%00b",
        "",
        "%2e",
        "%2e/%2e%2e/x",
        "{x*300}",
    )
    for path in paths:
        for method, text in (("PUT", "x"), ("GET", None), ("DELETE", None)):
            if method == "DELETE" and path in ("", "%2e"):
                continue
            says = f"{method} of a path that is none: {path}"
            talk.ask(says, Request(method=method, path=f"{base}/{path}", text=text), free=OURS.get(path, ""))
    for path in ("../..", "..%2f", "/etc", "C:\\x", "file:///etc", "a\x00b"):
        talk.get(ROOT, f"a list of a path that is none: {path!r}", {"path": path}, free=NORMAL)


def _deletes(talk: Talk, base: str, home: str, run: str) -> None:
    talk.delete(f"{base}/a.txt", "a file goes")
    talk.get(f"{base}/a.txt", "is gone")
    talk.delete(f"{base}/a.txt", "a second time")
    talk.delete(f"{base}/sub", "a folder goes")
    talk.get(ROOT, "what is left", {"path": f"{home}/{run}/artifacts"})
    gone = talk.run(home, "gone")
    talk.post("runs/delete", "a run is deleted", {"run_id": gone})
    talk.get("artifacts/list", "its list can be read", {"run_id": gone})
    create = f"/api/2.0/mlflow-artifacts/mpu/create/{home}/{run}/artifacts/big.bin"
    talk.post(create, "an upload in parts", {"path": "big.bin", "num_parts": 2})
    talk.get(
        f"/api/2.0/mlflow-artifacts/presigned/{home}/{run}/artifacts/page.html", "an address to read from"
    )
