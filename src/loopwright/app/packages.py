"""`lw.save_model`, `lw.load_model`, `lw.register`: models as packages, on this machine and on a server."""

from __future__ import annotations

import os
import platform
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from loopwright.app.capturing import code_state, environment_lock
from loopwright.app.connecting import connect
from loopwright.app.model_folders import read_folder, write_folder
from loopwright.client import Client
from loopwright.core.digests import digest_bytes
from loopwright.core.errors import Corrupt, Invalid, Unavailable, Untrusted
from loopwright.core.nouns import Json, Version
from loopwright.engine.context import Ports
from loopwright.engine.operation import Upload
from loopwright.ports.predictors import Grant, OpenedModel, Packager
from loopwright.registry.fitting import as_rows, fitted
from loopwright.registry.framing import MEDIA_TYPE, framed
from loopwright.registry.nouns import LoggedModel
from loopwright.registry.packages import Package, PackageMeta, read_package, sealed
from loopwright.registry.packing import Surroundings, flavor_of, package_files
from loopwright.registry.signatures import ModelSignature, infer
from loopwright.registry.trust import advised, granted
from loopwright.workspace import Workspace, load_settings
from loopwright.workspace.catalogue import Assembly

__all__ = [
    "LoadedModel",
    "Savable",
    "load_model",
    "log_model",
    "packed",
    "ports_of",
    "register",
    "save_model",
]

Face = Workspace | Client
Savable = Any
"""an estimator of scikit-learn, a booster or wrapper of LightGBM or XGBoost, a module of PyTorch, a model of
ONNX, or any object with a `predict`"""
_ADDRESSES = ("model:", "models:/", "runs:/")
_EXTRAS = {"pytorch": "torch", "python_function": "python"}


class LoadedModel:
    """A model out of a package. `native` is the framework's own object, `signature` what goes in and out."""

    def __init__(self, package: Package, opened: OpenedModel, source: str) -> None:
        self._package = package
        self._opened = opened
        self.source = source
        self.native: Any = opened.native
        self.flavor = package.section.name
        self.signature: ModelSignature | None = package.signature
        self.signer = package.signer
        """the public key it is signed by; empty for one that is not signed"""
        self.digest = package.digest
        self.meta: PackageMeta | None = package.meta

    def __repr__(self) -> str:
        return f"<model {self.source} ({self.flavor})>"

    def predict(self, data: Any) -> Any:
        """What the model says of rows: a data frame, an Arrow table, an array, a list of objects by column.

        They are held against its signature first: `Invalid` names the column that does not fit.
        """
        return self._opened.predict(self._package.fitted(data))


def save_model(
    model: Savable,
    path: str | Path,
    *,
    input_example: Any = None,
    signature: ModelSignature | None = None,
    form: str = "",
    metadata: Json | None = None,
    to: Face | None = None,
) -> Path:
    """Save a model as a new folder that MLflow loads too; gives the folder.

    With `input_example`, some rows as the model takes them, the saved model is opened again and asked about
    them, and its signature is what went in and came out. `form` is one of the framework's own: scikit-learn
    has `skops` (the default: loading runs no code) and `cloudpickle` (which MLflow 2 needs). It is signed by
    the workspace of this machine, or of `to`.
    """
    folder = Path(path)
    files = packed(
        model,
        input_example=input_example,
        signature=signature,
        form=form,
        metadata=metadata,
        ports=ports_of(to),
    )
    write_folder(folder, files)
    return folder


def packed(
    model: Savable,
    *,
    input_example: Any,
    signature: ModelSignature | None,
    form: str,
    metadata: Json | None,
    ports: Ports,
) -> dict[str, bytes]:
    """The files of a signed package."""
    flavor = flavor_of(model)
    packager = _packager(ports.packagers, flavor)
    rows = None if input_example is None else as_rows(input_example)
    made = packager.pack(model, form=form, example=rows)
    if rows is not None:
        signature = signature or infer(rows)
        answer = packager.open(made.files, made.settings, Grant(code=True)).predict(fitted(signature, rows))
        if not signature.outputs:
            signature = ModelSignature(
                inputs=signature.inputs, outputs=infer(rows, answer).outputs, params=signature.params
            )
    around = _surroundings()
    files = package_files(made, around, signature=signature, example=rows, metadata=metadata)
    meta = PackageMeta(
        made_at=around.at,
        made_with=around.product,
        flavor=flavor,
        python=around.python,
        environment=digest_bytes(around.lock.encode()),
        code=around.code,
        files={},
    )
    return sealed(files, meta, ports.signer)


def _packager(known: Mapping[str, Packager], flavor: str) -> Packager:
    try:
        return known[flavor]
    except ImportError as error:
        extra = _EXTRAS.get(flavor, flavor)
        raise Unavailable(
            f"{error.name} is not installed, and models of {flavor} need it",
            hint=f'pip install "loopwright[{extra}]"',
        ) from error


def _surroundings() -> Surroundings:
    return Surroundings(
        at=datetime.now(UTC),
        uuid=uuid.uuid4().hex,
        product=version("loopwright"),
        python=platform.python_version(),
        lock=environment_lock(),
        code=code_state(),
    )


def ports_of(to: Face | None) -> Ports:
    """Where keys and frameworks come from: a workspace, else that of this machine, which is not opened."""
    return to.ports if isinstance(to, Workspace) else Assembly(load_settings())


def load_model(source: str | Path, *, trust: Iterable[str] = (), to: Face | None = None) -> LoadedModel:
    """Load a model that we or MLflow saved: a folder, `model:NAME@3`, `models:/NAME@ALIAS`, `runs:/RUN/PATH`.

    Code from a package runs only when it is signed by this workspace or by somebody named in `trust` or in
    the setting `trusted_signers`: `ed25519:<public key>`, `blake3:<digest of the package>`, or, for the types
    in a skops archive, `type:<module.Class>`. Else `Untrusted` is raised before anything of it runs.
    """
    ports = ports_of(to)
    files = read_folder(Path(source)) if _is_folder(source) else _fetched(str(source), to)
    package = read_package(files, ports.packagers, ports.signer)
    given = (trust,) if isinstance(trust, str) else tuple(trust)
    grant = granted(package, ports.signer.public_key, (*ports.trusted, *given))
    packager = _packager(ports.packagers, package.section.name)
    try:
        return LoadedModel(package, package.open(packager, grant), str(source))
    except Untrusted as error:
        raise advised(error, package) from error
    except ImportError as error:
        raise Unavailable(
            f"{error.name} is not installed, and this model needs it",
            hint=f'pip install "loopwright[{_EXTRAS.get(package.section.name, package.section.name)}]"',
        ) from error


def _is_folder(source: str | Path) -> bool:
    return isinstance(source, os.PathLike) or not source.startswith(_ADDRESSES)


def _fetched(source: str, to: Face | None) -> dict[str, bytes]:
    """The files of a model behind an address, each held against its digest."""
    face = to or connect()
    try:
        files = {}
        for entry in face.call("registry.folder", source=source).files:
            with face.call("registry.download", source=source, path=entry.path).file as opened:
                files[entry.path] = opened.read()
            if digest_bytes(files[entry.path]) != entry.digest:
                raise Corrupt(f"the file {entry.path!r} did not arrive as it was kept", hint="try again")
        return files
    finally:
        if to is None:
            face.close()


def log_model(face: Face, files: Mapping[str, bytes], name: str, *, run_id: str | None) -> LoggedModel:
    """Keep the files of a package where `face` leads, as a model of a run or of none."""
    upload = Upload(chunks=framed(files), media_type=MEDIA_TYPE)
    found: LoggedModel = face.call("registry.log", name=name, run_id=run_id, upload=upload)
    return found


def register(
    name: str,
    source: str | Path,
    *,
    description: str = "",
    tags: Mapping[str, str] | None = None,
    to: Face | None = None,
) -> Version:
    """Make the next version of a model of a saved folder, or of `models:/m-ID`, `runs:/RUN/PATH`."""
    face = to or connect()
    try:
        place = str(source)
        if _is_folder(source):
            place = f"models:/{log_model(face, read_folder(Path(source)), _plain(name), run_id=None).id}"
        elif place.startswith("model:"):
            raise Invalid(f"{place} is a version already", hint="promote it, or register another folder")
        found: Version = face.call(
            "registry.register", name=name, source=place, description=description, tags=dict(tags or {})
        )
        return found
    finally:
        if to is None:
            face.close()


def _plain(name: str) -> str:
    """A name that may be a path's part."""
    return "".join(char if char.isalnum() or char in "._-" else "-" for char in name).strip(".-") or "model"
