"""PyTorch: modules as exported programs or pickles; loading either runs code, so it takes trust."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loopwright.adapters.frameworks.columns import matrix, scores
from loopwright.core.errors import Corrupt, Invalid, Untrusted
from loopwright.core.nouns import Json
from loopwright.ports.predictors import Grant, OpenedModel, PackedModel

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["TorchPackager"]

_FOLDER = "data"
_EXPORTED, _PICKLED = f"{_FOLDER}/model.pt2", f"{_FOLDER}/model.pth"
_MODULE_INFO = f"{_FOLDER}/pickle_module_info.txt"
_BROKEN = (RuntimeError, ValueError, LookupError, TypeError, AttributeError, ImportError, EOFError, OSError)


class _Module:
    """A module in its mode for predicting."""

    fast = False

    def __init__(self, native: Any, dtype: Any) -> None:
        self.native = native
        self._dtype = dtype

    def predict(self, data: pa.Table | NDArray[Any] | Mapping[str, NDArray[Any]]) -> Any:
        """What the module says of tensors, as arrays; numbers become those of its weights' type.

        Several are given by name: by those of `forward`'s parameters, by place (`"0"`, `"1"`), or else they
        are the one mapping that the module takes.
        """
        import torch

        places, names = _call(self.native, data, self._dtype)
        try:
            with torch.no_grad():
                found = self.native(*places, **names)
        except (RuntimeError, ValueError, TypeError, LookupError, AssertionError) as error:
            raise Invalid(
                f"the data of shape {_shape(data)} does not fit the module",
                hint="give tensors as in the example",
            ) from error
        return _arrays(found)

    def score(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the module says, where it is one number a row."""
        return scores(self.predict(x), len(x))


def _call(
    model: Any, data: pa.Table | NDArray[Any] | Mapping[str, NDArray[Any]], dtype: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the module is called with: tensors by place, and by name."""
    if not isinstance(data, Mapping):
        return (_tensor(matrix(data, "the module"), dtype),), {}
    given = {name: _tensor(array, dtype) for name, array in data.items()}
    if given.keys() == {str(at) for at in range(len(given))}:
        return tuple(given[str(at)] for at in range(len(given))), {}
    return ((), given) if given.keys() <= _parameters(model) else ((given,), {})


def _tensor(array: NDArray[Any], dtype: Any) -> Any:
    import torch

    found = torch.from_numpy(np.ascontiguousarray(array))
    return found.to(dtype) if dtype is not None and found.is_floating_point() else found


def _parameters(model: Any) -> set[str]:
    """The names that the module's `forward` takes, a script's too."""
    schema = getattr(model.forward, "schema", None)
    if schema is not None:
        return {each.name for each in schema.arguments}
    return set(inspect.signature(model.forward).parameters)


def _shape(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {name[:60]: array.shape for name, array in data.items()}
    return data.shape


def _weights_type(model: Any) -> Any:
    first = next(iter(model.parameters()), None)
    return None if first is None else first.dtype


def _arrays(found: Any) -> Any:
    """What a module gives with arrays in the place of its tensors."""
    import torch

    match found:
        case torch.Tensor():
            return (found.float() if found.dtype is torch.bfloat16 else found).cpu().numpy()
        case Mapping():
            return {str(name): _arrays(each) for name, each in found.items()}
        case list() | tuple():
            return [_arrays(each) for each in found]
        case _:
            return found


class TorchPackager:
    """Modules, exported with an example or pickled; those of TorchScript as they are."""

    flavor = "pytorch"

    def pack(self, model: Any, *, form: str, example: Any) -> PackedModel:
        """A module; forms are `pt2` (the default where tensors are given as example) and `pickle`.

        It is packed as it predicts, on the processor, and left in its own mode (training or not).
        """
        import torch

        if not isinstance(model, torch.nn.Module):
            raise Invalid(
                f"a {type(model).__name__} of PyTorch is no module", hint="save the torch.nn.Module"
            )
        is_script = isinstance(model, torch.jit.ScriptModule)
        form = form or ("pt2" if _are_tensors(example) and not is_script else "pickle")
        if form not in {"pt2", "pickle"}:
            raise Invalid(f"PyTorch models have no form {form!r}", hint="choose pt2 or pickle")
        with _predicting(model) as still:
            data = _exported(still, example) if form == "pt2" else _pickled(still, is_script=is_script)
        files = {_EXPORTED: data} if form == "pt2" else {_PICKLED: data, _MODULE_INFO: b"pickle"}
        return PackedModel(
            flavor=self.flavor,
            files=files,
            settings={"code": None, "model_data": _FOLDER, "pytorch_version": str(torch.__version__)},
            function={
                "loader_module": "mlflow.pytorch",
                "data": _FOLDER,
                "pickle_module_name": "pickle",
                "config": {"device": None},
            },
            requirements=("torch", "numpy", "cloudpickle"),
            runs_code=True,
        )

    def open(self, files: Mapping[str, bytes], settings: Json, grant: Grant) -> OpenedModel:
        """A module, for those who trust who made it: PyTorch unpickles parts of both forms."""
        folder = str(settings.get("model_data", _FOLDER))
        file = next((name for name in (f"{folder}/model.pt2", f"{folder}/model.pth") if name in files), "")
        if not file:
            raise Invalid(f"the package has no model in {folder[:100]!r}", hint="save the module again")
        if not grant.code:
            raise Untrusted(
                "PyTorch runs code from the files of a model when it loads them",
                hint="load it only from who you trust: trust=['ed25519:...'], or trust=['blake3:...']",
                where=file,
            )
        try:
            return _opened(files[file], is_exported=file.endswith(".pt2"))
        except (*_BROKEN, pickle.UnpicklingError, zipfile.BadZipFile) as error:
            raise Corrupt(
                f"{file} cannot be loaded here: {type(error).__name__}",
                hint="install what the package's requirements name",
            ) from error


@contextmanager
def _predicting(model: Any) -> Iterator[Any]:
    """The module in its mode for predicting, a copy where it is on another device; afterwards as it was."""
    modes = [(each, each.training) for each in model.modules()]
    is_elsewhere = any(each.device.type != "cpu" for each in model.parameters())
    try:
        yield (copy.deepcopy(model).cpu() if is_elsewhere else model).eval()
    finally:
        for each, was in modes:
            each.training = was


def _opened(data: bytes, *, is_exported: bool) -> _Module:
    import torch

    if is_exported:
        native = torch.export.load(io.BytesIO(data)).module()
    else:
        native = torch.load(io.BytesIO(data), map_location="cpu", weights_only=False)
        native.eval()
    return _Module(native, _weights_type(native))


def _are_tensors(example: Any) -> bool:
    return isinstance(example, np.ndarray | Mapping)


def _several(array: NDArray[Any]) -> NDArray[Any]:
    """Two rows for one, which would be taken for all."""
    return np.repeat(array, 2, axis=0) if len(array) == 1 else array


def _exported(model: Any, example: Any) -> bytes:
    """The program that the module is for tensors like the example, of any number of rows."""
    import torch

    if not _are_tensors(example):
        raise Invalid(
            "a module is exported with an example",
            hint="give input_example=, an array, a tuple of them or arrays by name, or form='pickle'",
        )
    several = (
        {name: _several(array) for name, array in example.items()}
        if isinstance(example, Mapping)
        else _several(example)
    )
    places, names = _call(model, several, _weights_type(model))
    rows = {0: torch.export.Dim.AUTO}
    is_one_mapping = bool(places) and isinstance(places[0], Mapping)
    shapes: Any = (dict.fromkeys(places[0], rows),) if is_one_mapping else (rows,) * len(places)
    buffer = io.BytesIO()
    try:
        program = torch.export.export(
            model, places, names, dynamic_shapes=dict.fromkeys(names, rows) or shapes
        )
        torch.export.save(program, buffer)
    except (RuntimeError, ValueError, TypeError) as error:
        raise Invalid(
            f"the module cannot be exported: {type(error).__name__}", hint="save it with form='pickle'"
        ) from error
    return buffer.getvalue()


def _pickled(model: Any, *, is_script: bool) -> bytes:
    import cloudpickle
    import torch

    buffer = io.BytesIO()
    try:
        if is_script:
            torch.jit.save(model, buffer)
        else:
            torch.save(model, buffer, pickle_module=cloudpickle)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise Invalid(
            f"the module cannot be pickled: {error}", hint="leave open files and locks out"
        ) from error
    return buffer.getvalue()
