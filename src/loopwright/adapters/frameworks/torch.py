"""PyTorch: modules as exported programs or pickles; loading either runs code, so it takes trust."""

from __future__ import annotations

import copy
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
        """What the module says of one tensor, as an array; numbers become those of its weights' type."""
        import torch

        given = torch.from_numpy(np.ascontiguousarray(matrix(data, "the module")))
        if self._dtype is not None and given.is_floating_point():
            given = given.to(self._dtype)
        try:
            with torch.no_grad():
                found = self.native(given)
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            raise Invalid(
                f"the data of shape {tuple(given.shape)} does not fit the module",
                hint="give a tensor as in the example",
            ) from error
        return _arrays(found)

    def score(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the module says, where it is one number a row."""
        return scores(self.predict(x), len(x))


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
        """A module; forms are `pt2` (the default where a tensor is given as example) and `pickle`.

        It is packed as it predicts, on the processor, and left in its own mode (training or not).
        """
        import torch

        if not isinstance(model, torch.nn.Module):
            raise Invalid(
                f"a {type(model).__name__} of PyTorch is no module", hint="save the torch.nn.Module"
            )
        is_script = isinstance(model, torch.jit.ScriptModule)
        form = form or ("pt2" if isinstance(example, np.ndarray) and not is_script else "pickle")
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
    first = next(iter(native.parameters()), None)
    return _Module(native, None if first is None else first.dtype)


def _exported(model: Any, example: Any) -> bytes:
    """The program that the module is for tensors like the example, of any number of rows."""
    import torch

    if not isinstance(example, np.ndarray):
        raise Invalid(
            "a module is exported with an example", hint="give input_example=, an array, or form='pickle'"
        )
    several = (
        np.repeat(example, 2, axis=0) if len(example) == 1 else example
    )  # one row would be taken for all
    given = torch.from_numpy(np.ascontiguousarray(several))
    first = next(iter(model.parameters()), None)
    if first is not None and given.is_floating_point():
        given = given.to(first.dtype)
    buffer = io.BytesIO()
    try:
        rows = {0: torch.export.Dim.AUTO}
        torch.export.save(torch.export.export(model, (given,), dynamic_shapes=[rows]), buffer)
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
