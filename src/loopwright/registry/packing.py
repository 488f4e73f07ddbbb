"""Makes the files of a package: MLmodel, example, environment and metadata around a framework's own files."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.nouns import Json
from loopwright.ports.predictors import PackedModel
from loopwright.registry.mlmodel import MLMODEL, write_yaml
from loopwright.registry.signatures import ModelSignature, written

__all__ = ["LOCK", "Surroundings", "example_file", "flavor_of", "package_files"]

LOCK = "environment.lock.txt"
_EXAMPLE = "input_example.json"
_EXAMPLE_ROWS = 100
_FLAVORS = {
    "lightgbm": "lightgbm",
    "onnx": "onnx",
    "sklearn": "sklearn",
    "torch": "pytorch",
    "xgboost": "xgboost",
}
"""the flavour of a model by the package its class, or the nearest class it is made of, comes from"""


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a model was made in, as it was."""

    at: datetime
    uuid: str
    """32 hex digits"""
    product: str
    python: str
    lock: str
    """every installed distribution with its version, a line each"""
    code: Json = {}


def flavor_of(model: Any) -> str:
    """The flavour a model is packed in, by where its classes come from; nothing is imported."""
    for kind in type(model).__mro__:
        flavor = _FLAVORS.get(kind.__module__.partition(".")[0])
        if flavor is not None:
            return flavor
    return "python_function"


def package_files(
    packed: PackedModel,
    around: Surroundings,
    *,
    signature: ModelSignature | None,
    example: Any = None,
    metadata: Json | None = None,
) -> dict[str, bytes]:
    """All files of a package but our own metadata, by path."""
    files = dict(packed.files)
    told: Json = {}
    if example is not None:
        files[_EXAMPLE], told = example_file(example)
    pins = _pins(packed.requirements, around.lock)
    files[MLMODEL] = write_yaml(_mlmodel(packed, around, signature, told, metadata))
    files["requirements.txt"] = "".join(f"{pin}\n" for pin in pins).encode()
    files["python_env.yaml"] = write_yaml(
        {"python": around.python, "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]}
    )
    files["conda.yaml"] = write_yaml(_conda(around, pins))
    files[LOCK] = around.lock.encode()
    return files


def _mlmodel(
    packed: PackedModel,
    around: Surroundings,
    signature: ModelSignature | None,
    example: Json,
    metadata: Json | None,
) -> Json:
    env = {"conda": "conda.yaml", "virtualenv": "python_env.yaml"}
    function = {"env": env, "python_version": around.python, **packed.function}
    flavors: Json = {"python_function": function}
    if packed.flavor != "python_function":
        flavors[packed.flavor] = dict(packed.settings)
    content: Json = {
        "flavors": flavors,
        "model_uuid": around.uuid,
        "utc_time_created": around.at.strftime("%Y-%m-%d %H:%M:%S.%f"),
        "model_size_bytes": sum(map(len, packed.files.values())),
    }
    if signature is not None:
        content["signature"] = written(signature)
    if example:
        content["saved_input_example_info"] = example
    if metadata:
        content["metadata"] = metadata
    return content


def _pins(wanted: tuple[str, ...], lock: str) -> list[str]:
    """The requirements with the versions of the lock, those of them that are in it."""
    versions = {line.partition("==")[0].lower(): line for line in lock.splitlines()}
    builds = {"xgboost": "xgboost-cpu"}
    found = (versions.get(name) or versions.get(builds.get(name, "")) for name in wanted)
    return [pin for pin in found if pin]


def _conda(around: Surroundings, pins: list[str]) -> Json:
    packages = [f"python={around.python}", "pip", {"pip": pins}]
    return {"name": "model", "channels": ["conda-forge"], "dependencies": packages}


def example_file(example: Any) -> tuple[bytes, Json]:
    """An example's first rows as MLflow keeps them, and what MLmodel says of the file."""
    import numpy as np
    import pyarrow as pa

    if isinstance(example, pa.Table):
        head = example.slice(0, _EXAMPLE_ROWS)
        rows = [list(row.values()) for row in head.to_pylist()]
        content: Any = {"columns": head.column_names, "data": rows}
        told: Json = {"type": "dataframe", "pandas_orient": "split"}
    elif isinstance(example, Mapping):
        content = {name: np.asarray(value)[:_EXAMPLE_ROWS].tolist() for name, value in example.items()}
        told = {"type": "ndarray"}
    else:
        content, told = example[:_EXAMPLE_ROWS].tolist(), {"type": "ndarray"}
    try:
        text = json.dumps(content, default=_plain)
    except (TypeError, ValueError) as error:
        raise Invalid(
            "the example has values that JSON has no form for", hint="leave those columns out"
        ) from error
    return text.encode(), {"artifact_path": _EXAMPLE, **told}


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"no JSON for {type(value).__name__}")
