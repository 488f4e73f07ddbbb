"""Where the files of a version come from, as callers write it: what is ours, what is kept, what is refused.

Nothing is ever fetched from a source. One that lies in our own artifacts is looked up by the id of its owner;
an address in a store of others is kept as it is for those who can read that store. Pure.
"""

from __future__ import annotations

import re

import msgspec

from loopwright.core.errors import Invalid
from loopwright.tracking.paths import decoded, folder_path

__all__ = ["PLACEHOLDERS", "Elsewhere", "ModelFiles", "OtherVersion", "RunFiles", "Source", "read_source"]

PLACEHOLDERS = frozenset({"dummy-source", "prompt-template"})
"""what prompts have for a source"""
_STORES = frozenset(
    {"s3", "s3a", "s3n", "gs", "wasb", "wasbs", "abfs", "abfss", "adl", "azureml", "r2", "b2", "oci", "oss"}
    | {"minio", "hdfs", "viewfs", "dbfs", "hf"}
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_MODEL_ID = re.compile(r"m-[0-9a-f]{32}\Z")
_LIMIT = 2_000


class RunFiles(msgspec.Struct, frozen=True):
    """A folder (or a file) of a run's artifacts; `home` is the experiment where the address names one."""

    run_id: str
    folder: str
    home: str = ""


class ModelFiles(msgspec.Struct, frozen=True):
    """A folder of a logged model's files, all of them for an empty one."""

    model_id: str
    folder: str = ""


class OtherVersion(msgspec.Struct, frozen=True):
    """Another registered version, by its number, an alias, a stage, or the newest (`latest`)."""

    name: str
    selector: str
    is_alias: bool = False


class Elsewhere(msgspec.Struct, frozen=True):
    """An address in a store of others, never read by us."""

    uri: str


Source = RunFiles | ModelFiles | OtherVersion | Elsewhere


def read_source(text: str) -> Source:
    """What a source means; `Invalid` for what is no place for a model, in whatever spelling.

    Refused are paths of a file system, web addresses, other servers, parts `.` and `..`, backslashes, control
    characters, queries, fragments and passwords, each looked for in the text as it is when decoded until
    nothing changes.
    """
    found = _SCHEME.match(text)
    scheme = found[1].lower() if found else ""
    _check(text, scheme)
    if scheme in _STORES:
        return Elsewhere(text)
    rest = decoded(text.encode()).partition(":")[2]
    if rest.startswith("//"):
        raise _refused("names a server", "leave the server out: runs:/<run>/<path>")
    parts = [part for part in rest.split("/") if part]
    readers = {"runs": _run, "models": _model, "mlflow-artifacts": _proxied}
    return readers[scheme](parts)


def _check(text: str, scheme: str) -> None:
    if not text.strip() or len(text) > _LIMIT:
        raise _refused(f"has 1 to {_LIMIT} characters", "name the place of the files")
    if scheme in {"http", "https"}:
        raise Invalid(
            "'source' cannot use the http or https scheme: nothing is fetched from the web",
            hint="log the files to a run and register runs:/<run>/<path>",
            where="source",
        )
    if scheme not in _STORES | {"runs", "models", "mlflow-artifacts"}:
        raise _refused(
            "is neither an artifact of a run or model nor in a store we know of",
            "write runs:/<run>/<path>, models:/<model>, or the address in a store: s3://bucket/path",
        )
    try:
        plain = decoded(text.encode())
    except UnicodeEncodeError as error:
        raise _refused("is no Unicode", "write it in UTF-8") from error
    if not plain.isprintable() or any(mark in plain for mark in "\\?#"):
        raise _refused("has a backslash, a query, a fragment or control characters", "leave them out")
    if {".", ".."} & set(plain.partition(":")[2].split("/")):
        raise _refused("has a relative part", "write an absolute address")
    if any(":" in _user(each) for each in (text, plain)):
        raise _refused("holds a password", "leave it out: whoever reads the files has his own")


def _user(text: str) -> str:
    """What stands before the `@` of an authority."""
    return text.partition("://")[2].partition("/")[0].rpartition("@")[0]


def _run(parts: list[str]) -> RunFiles:
    if len(parts) < 2:
        raise _refused("names no folder of a run", "write runs:/<run>/<path>")
    return RunFiles(parts[0], folder_path("/".join(parts[1:])))


def _model(parts: list[str]) -> ModelFiles | OtherVersion:
    match parts:
        case [head, *rest] if _MODEL_ID.match(head):
            return ModelFiles(head, folder_path("/".join(rest)))
        case [name, selector]:
            return OtherVersion(name, selector)
        case [named] if "@" in named.strip("@"):
            name, _, alias = named.rpartition("@")
            return OtherVersion(name, alias, is_alias=True)
    hint = "write models:/m-<id>, models:/<name>/<version> or models:/<name>@<alias>"
    raise _refused("names no model", hint)


def _proxied(parts: list[str]) -> RunFiles | ModelFiles:
    match parts:
        case [_, "models", model_id, "artifacts", *rest] if _MODEL_ID.match(model_id):
            return ModelFiles(model_id, folder_path("/".join(rest)))
        case [home, run_id, "artifacts", *rest]:
            return RunFiles(run_id, folder_path("/".join(rest)), home)
    raise _refused("is in no run and in no model", "write runs:/<run>/<path> or models:/m-<id>")


def _refused(why: str, hint: str) -> Invalid:
    """The source itself is not repeated: it may hold a secret, or be an attack on whoever reads the error."""
    return Invalid(f"Invalid model version source: it {why}.", hint=hint, where="source")
