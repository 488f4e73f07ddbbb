"""Files by proxy: put, read, listed and deleted under the addresses that MLflow's clients are told."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import parse_qs

import msgspec

from loopwright.core.errors import Invalid
from loopwright.engine.context import Context
from loopwright.ports.ledger import Transaction
from loopwright.surfaces.mlflow.routing import Call, RawRoute, Route
from loopwright.surfaces.mlflow.transfers import Transfers
from loopwright.surfaces.mlflow.wire import Message, Needed
from loopwright.surfaces.senders import Pace
from loopwright.tracking.artifacts import Entry, Find, listed, remove
from loopwright.tracking.homes import Spot, at_place, in_model, in_run
from loopwright.tracking.paths import Checked, file_path, folder_path, name_of

__all__ = ["files_of", "routes"]

_PROXY = "/api/2.0/mlflow-artifacts"
_MODEL = "logged-models/{model_id}/artifacts"
_READ, _WRITE = "run:read", "run:write"
_NO_PARTS = "Multipart {} is not supported for the current artifact repository"
_NO_PRESIGNED = "Presigned {} is not supported for the current artifact repository"


class _Place(Message, frozen=True, kw_only=True):
    place: str


class _InProxy(Message, frozen=True, kw_only=True):
    path: str = ""


class _InRun(Message, frozen=True, kw_only=True):
    run_id: Needed
    path: str = ""


class _File(Message, frozen=True, kw_only=True):
    path: str
    is_dir: bool
    file_size: int = 0


class _Files(Message, frozen=True, kw_only=True):
    files: tuple[_File, ...] = ()
    root_uri: str = ""


class _Refusal(msgspec.Struct, frozen=True):
    message: str
    error_code: str = "NOT_IMPLEMENTED"


def routes(upload_bytes: int, *, pace: Pace | None = None) -> tuple[Route | RawRoute, ...]:
    """The proxy, the lists, what pages of a UI read and write, and the transfers that are not offered."""
    transfers = Transfers(upload_bytes, pace=pace)
    file = f"{_PROXY}/artifacts/{{place...}}"

    async def put(call: Call) -> None:
        await transfers.put(call, _in_place(call.ctx, file_path(call.parts["place"])))

    async def get(call: Call) -> None:
        await transfers.get(call, _in_place(call.ctx, file_path(call.parts["place"])))

    async def get_of_run(call: Call) -> None:
        query = _query(call, "run_id", "path")
        await transfers.get(call, _in_run(call.ctx, query["run_id"], file_path(query["path"])))

    async def get_of_model(call: Call) -> None:
        path = file_path(_query(call, "artifact_file_path")["artifact_file_path"])
        await transfers.get(call, _in_model(call.ctx, call.parts["model_id"], path))

    async def put_of_run(call: Call) -> None:
        query = _query(call, "run_uuid", "path")
        await transfers.put(call, _in_run(call.ctx, query["run_uuid"], file_path(query["path"])))

    return (
        RawRoute(method="PUT", path=file, scope=_WRITE, answer=put),
        RawRoute(method="GET", path=file, scope=_READ, answer=get),
        RawRoute(method="HEAD", path=file, scope=_READ, answer=get),
        RawRoute(method="GET", path="/get-artifact", scope=_READ, answer=get_of_run),
        RawRoute(method="HEAD", path="/get-artifact", scope=_READ, answer=get_of_run),
        RawRoute(method="GET", path=f"{_MODEL}/files", scope=_READ, answer=get_of_model),
        RawRoute(method="POST", path="upload-artifact", scope=_WRITE, answer=put_of_run, versions=("2.0",)),
        Route(method="DELETE", path=file, scope=_WRITE, takes=_Place, answer=_delete),
        Route(method="GET", path=f"{_PROXY}/artifacts", scope=_READ, takes=_InProxy, answer=_list_place),
        Route(method="GET", path="artifacts/list", scope=_READ, takes=_InRun, answer=_list_run),
        *_not_offered(),
    )


def _not_offered() -> tuple[RawRoute, ...]:
    """Uploads in parts and addresses of a store: clients then send and read the file as a whole."""
    upload, download = _NO_PARTS.format("upload"), _NO_PARTS.format("download")
    found = (
        ("POST", f"{_PROXY}/mpu/create/{{place...}}", _WRITE, upload),
        ("POST", f"{_PROXY}/mpu/complete/{{place...}}", _WRITE, upload),
        ("POST", f"{_PROXY}/mpu/abort/{{place...}}", _WRITE, upload),
        ("GET", f"{_PROXY}/presigned/{{place...}}", _READ, download),
        ("POST", "artifacts/presigned-upload-url", _WRITE, _NO_PRESIGNED.format("upload")),
        ("POST", "artifacts/presigned-download-url", _READ, _NO_PRESIGNED.format("download")),
    )
    return tuple(
        RawRoute(method=method, path=path, scope=scope, answer=partial(_refuse, message))
        for method, path, scope, message in found
    )


async def _refuse(message: str, call: Call) -> None:
    body = msgspec.json.encode(_Refusal(message))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await call.send({"type": "http.response.start", "status": 501, "headers": headers})
    await call.send({"type": "http.response.body", "body": body})


def _in_place(ctx: Context, place: Checked) -> Find:
    def find(tx: Transaction) -> Spot:
        return at_place(tx, ctx.space, place)

    return find


def _in_run(ctx: Context, run_id: str, path: Checked) -> Find:
    def find(tx: Transaction) -> Spot:
        return in_run(tx, ctx.space, run_id, path)

    return find


def _in_model(ctx: Context, model_id: str, path: Checked) -> Find:
    def find(tx: Transaction) -> Spot:
        return in_model(tx, ctx.space, model_id, path)

    return find


def _query(call: Call, *names: str) -> dict[str, str]:
    """The values of a query, each of which has to be there; a run's id may have its older name."""
    try:
        given = parse_qs(call.scope["query_string"].decode("ascii"), errors="strict", max_num_fields=100)
    except ValueError as error:
        raise Invalid("the query cannot be read", hint="percent-encode UTF-8") from error
    if "run_uuid" in given:
        given.setdefault("run_id", given["run_uuid"])
    missing = [name for name in names if name not in given]
    if missing:
        raise Invalid(f"Request must specify {missing[0]}.")
    return {name: given[name][-1] for name in names}


def _delete(ctx: Context, asked: _Place) -> None:
    remove(ctx, _in_place(ctx, folder_path(asked.place)))


def _list_place(ctx: Context, asked: _InProxy) -> Any:
    _, items = listed(ctx, _in_place(ctx, folder_path(asked.path)))
    return _Files(files=tuple(_file(each, name_of(each.path)) for each in items))


def _list_run(ctx: Context, asked: _InRun) -> Any:
    return files_of(ctx, _in_run(ctx, asked.run_id, folder_path(asked.path)))


def files_of(ctx: Context, find: Find) -> Any:
    """The files and folders in a folder of an owner, with the address of all its files."""
    spot, items = listed(ctx, find)
    return _Files(files=tuple(_file(each, each.path) for each in items), root_uri=spot.home.address)


def _file(entry: Entry, path: str) -> _File:
    return _File(path=path, is_dir=entry.is_folder, file_size=entry.size_bytes)
