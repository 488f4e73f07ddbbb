"""ONNX: models as their own protobuf, run by ONNX Runtime on the processor; nothing outside is read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loopwright.adapters.frameworks.columns import matrix, scores
from loopwright.core.errors import Corrupt, Invalid
from loopwright.core.nouns import Json
from loopwright.ports.predictors import Grant, OpenedModel, PackedModel

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["OnnxPackager"]

_FILE = "model.onnx"
_EXTERNAL = b"\x0a\x08location\x12"
"""the entry of a tensor that names a file it is kept in: field 1 of StringStringEntryProto, then field 2"""
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


class _Session:
    """A model in a session of its own; thread safe, one thread a call."""

    fast = False

    def __init__(self, native: Any) -> None:
        self.native = native
        self._inputs = native.get_inputs()
        self._outputs = [each.name for each in native.get_outputs()]

    def predict(self, data: pa.Table | NDArray[Any] | Mapping[str, NDArray[Any]]) -> Any:
        """The only output, else all of them by name."""
        found = self._run(self._feeds(data))
        return found[self._outputs[0]] if len(found) == 1 else found

    def score(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The second class' probability where there are probabilities of two, else the first output."""
        found = self._run(self._feeds(x))
        odds = next((found[name] for name in self._outputs if "prob" in name.lower()), None)
        return scores(found[self._outputs[0]] if odds is None else _two_classes(odds), len(x))

    def _feeds(self, data: pa.Table | NDArray[Any] | Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        names = [each.name for each in self._inputs]
        if isinstance(data, np.ndarray):
            given = self._parted(data, names)
        elif isinstance(data, Mapping):
            given = dict(data)
        elif set(names) == set(data.column_names):
            given = {name: data.column(name).to_numpy(zero_copy_only=False).reshape(-1, 1) for name in names}
        else:
            given = self._parted(matrix(data, "the model"), names)
        if set(given) != set(names):
            raise Invalid(
                f"the model has the inputs {', '.join(names)}", hint="give each of them by its name"
            )
        return {each.name: given[each.name].astype(_type_of(each), copy=False) for each in self._inputs}

    def _parted(self, x: NDArray[Any], names: list[str]) -> dict[str, NDArray[Any]]:
        """One tensor for one input; a column each for several."""
        if len(names) == 1:
            return {names[0]: x}
        if x.ndim != 2 or x.shape[1] != len(names):
            raise Invalid(
                f"the model has {len(names)} inputs, not shape {x.shape}", hint=f"give {', '.join(names)}"
            )
        return {name: x[:, at : at + 1] for at, name in enumerate(names)}

    def _run(self, feeds: dict[str, NDArray[Any]]) -> dict[str, Any]:
        from onnxruntime.capi import onnxruntime_pybind11_state as failures

        try:
            found = self.native.run(None, feeds)
        except (failures.InvalidArgument, failures.Fail, failures.RuntimeException, ValueError) as error:
            raise Invalid(
                "the data does not fit the model's inputs",
                hint=", ".join(f"{each.name} is {each.type} {each.shape}" for each in self._inputs),
            ) from error
        return dict(zip(self._outputs, found, strict=True))


def _type_of(wanted: Any) -> type[np.generic]:
    kind = _TYPES.get(wanted.type)
    if kind is None:
        raise Invalid(f"the input {wanted.name!r} is {wanted.type}", hint="ask the session itself: .native")
    return kind


def _two_classes(odds: Any) -> Any:
    """Probabilities `(n, 2)`, also of the list of maps that converters of classifiers make."""
    if isinstance(odds, list) and odds and isinstance(odds[0], dict):
        return [list(each.values()) for each in odds]
    return odds


class OnnxPackager:
    """Models of `onnx`, by their bytes."""

    flavor = "onnx"

    def pack(self, model: Any, *, form: str, example: Any) -> PackedModel:
        """A `ModelProto` that holds all its tensors itself."""
        import onnx

        if form not in {"", "onnx"}:
            raise Invalid(f"ONNX models have no form {form!r}", hint="leave it out")
        if not isinstance(model, onnx.ModelProto):
            raise Invalid(f"a {type(model).__name__} is no ONNX model", hint="give the onnx.ModelProto")
        return PackedModel(
            flavor=self.flavor,
            files={_FILE: model.SerializeToString()},
            settings={
                "code": None,
                "data": _FILE,
                "onnx_version": onnx.__version__,
                "onnx_session_options": None,
                "providers": ["CPUExecutionProvider"],
                "save_as_external_data": False,
            },
            function={"loader_module": "mlflow.onnx", "data": _FILE},
            requirements=("onnx", "onnxruntime", "numpy"),
        )

    def open(self, files: Mapping[str, bytes], settings: Json, grant: Grant) -> OpenedModel:
        """A session on the processor; a model that would read other files is refused."""
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as failures

        file = str(settings.get("data", ""))
        if _EXTERNAL in files[file]:
            raise Invalid(
                "the model keeps tensors in files of its own choice, which are never read",
                hint="save it with its tensors inside: onnx.save_model(..., save_as_external_data=False)",
                where=file,
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = min(os.cpu_count() or 1, 2)
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(files[file], options, providers=["CPUExecutionProvider"])
        except (failures.InvalidProtobuf, failures.InvalidGraph, failures.Fail, failures.InvalidArgument,
                failures.NotImplemented, failures.RuntimeException, ValueError) as error:  # fmt: skip
            raise Corrupt(f"{file} is not a model that can be run here", hint="save it again") from error
        return _Session(session)
