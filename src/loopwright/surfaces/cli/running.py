"""Carries a command out: finds whom to call, calls, shows the result in its form."""

from __future__ import annotations

import mimetypes
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec

from loopwright.client.index import Entry
from loopwright.core.addresses import parted
from loopwright.core.errors import Conflict, NotFound
from loopwright.core.nouns import JobState, Json
from loopwright.engine.operation import Blob, Form, Upload
from loopwright.surfaces.cli.calling import Caller, open_caller
from loopwright.surfaces.cli.explored import COMMANDS as EXPLORED
from loopwright.surfaces.cli.explored import tell
from loopwright.surfaces.cli.found import COMMAND as FOUND
from loopwright.surfaces.cli.found import told
from loopwright.surfaces.cli.output import Output, whole_file
from loopwright.surfaces.cli.tree import Options
from loopwright.workspace import load_settings

__all__ = ["run"]

_CHUNK = 1 << 20
_POLL_S = 0.25
_MEDIA_TYPES = {
    ".parquet": "application/vnd.apache.parquet",
    ".ndjson": "application/x-ndjson",
    ".jsonl": "application/x-ndjson",
    ".csv": "text/csv",
}
_ENDED = {JobState.DONE.value, JobState.FAILED.value, JobState.CANCELLED.value}


def run(entry: Entry, arguments: dict[str, Any], options: Options, output: Output) -> int:
    """The exit code of a command; errors are raised."""
    settings = load_settings({"workspace": options.workspace, "url": options.url, "space": options.space})
    name = entry.upload_name
    with open_caller(entry, settings) as caller:
        if name is None:
            return _show(entry, caller, _called(entry, caller, arguments), options, output)
        with _opened(arguments.pop(name)) as (file, media_type):
            upload = Upload(chunks=iter(lambda: file.read(_CHUNK), b""), media_type=media_type)
            result = caller.call(entry.name, upload=upload, **arguments)
            return _show(entry, caller, result, options, output)


def _called(entry: Entry, caller: Caller, arguments: dict[str, Any]) -> Any:
    """What comes of it; where nothing has the name `flights@3`, that is version 3 of `flights`."""
    try:
        return caller.call(entry.name, **arguments)
    except NotFound:
        name, version = parted(str(arguments.get("name", "")))
        takes_version = any(each.name == "version" for each in entry.parameters)
        if not version or not takes_version or arguments.get("version"):
            raise
        return caller.call(entry.name, **{**arguments, "name": name, "version": version})


@contextmanager
def _opened(path: str) -> Iterator[tuple[IO[bytes], str]]:
    """A file to send with its media type; `-` is standard input."""
    guessed = mimetypes.guess_type(path)[0] or "application/octet-stream"
    media_type = _MEDIA_TYPES.get(Path(path).suffix.lower(), guessed)
    if path == "-":
        yield sys.stdin.buffer, media_type
        return
    with Path(path).open("rb") as file:
        yield file, media_type


def _show(entry: Entry, caller: Caller, result: Any, options: Options, output: Output) -> int:
    match entry.form:
        case Form.STREAM:
            return _show_stream(result, output)
        case Form.BLOB:
            return _save(result, options.out, output)
        case Form.JOB:
            return _follow(caller, msgspec.to_builtins(result), output, detach=options.detach)
    plain = msgspec.to_builtins(result)
    if entry.name == FOUND and plain["items"]:
        output.table(*told(plain["items"], options.column))
    elif entry.name in EXPLORED:
        tell(plain, output)
    else:
        output.show(plain)
    if entry.form is Form.PAGE and plain["next_token"]:
        output.note(f"there is more: --token {plain['next_token']}")
    output.document(plain)
    return 1 if isinstance(plain, dict) and plain.get("ok") is False else 0


def _show_stream(items: Iterator[Any], output: Output) -> int:
    kept: list[Any] = []
    for item in items:
        plain = msgspec.to_builtins(item)
        if output.json_to is None:
            output.line(plain)
        else:
            kept.append(plain)
    output.document({"items": kept})
    return 0


def _save(blob: Blob, out: str | None, output: Output) -> int:
    with blob.file:
        if out == "-":
            shutil.copyfileobj(blob.file, sys.stdout.buffer, _CHUNK)
            sys.stdout.buffer.flush()
            return 0
        path = Path(out) if out is not None else Path(Path(blob.filename).name or "download")
        if out is None and path.exists():
            raise Conflict(f"{path} is there already", hint=f"say --out {path} to replace it")
        with whole_file(path) as file:
            shutil.copyfileobj(blob.file, file, _CHUNK)
    output.say(f"{blob.size_bytes:,} bytes in {path}")
    output.document({"path": str(path), "size_bytes": blob.size_bytes, "media_type": blob.media_type})
    return 0


def _follow(caller: Caller, job: Json, output: Output, *, detach: bool) -> int:
    """Wait for a job with a sign of life; 1 when it failed."""
    if detach:
        output.say(f"job:{job['id']} is {job['state']}; `loopwright jobs show {job['id']}` says more")
        output.document(job)
        return 0
    with output.console(sys.stderr).status(f"job {job['id']}: {job['operation']}") as status:
        while job["state"] not in _ENDED:
            caller.advance()
            job = msgspec.to_builtins(caller.call("jobs.show", job_id=job["id"]))
            status.update(f"job {job['id']}: {job['operation']} is {job['state']}, attempt {job['attempt']}")
            if job["state"] not in _ENDED:
                time.sleep(_POLL_S)
    output.show(job["result"] or {"job": job["id"], "state": job["state"]})
    if job["error"]:
        output.note(f"error: job:{job['id']} {job['state']}: {job['error']}")
    output.document(job)
    return 0 if job["state"] == JobState.DONE.value else 1
