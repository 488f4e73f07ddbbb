"""Carried out by a Python that has PyTorch and MLflow: what we save it loads, and what it saves we load.

The first argument is a folder of libraries that this Python may lack; it comes behind its own. The second is
`suite`, with words for pytest, or `exchange`, with a folder to save in.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from pathlib import Path
from typing import Any

from tests.protocols.mlflow.script.packages import ROWS


def main() -> None:
    libraries, what, *rest = sys.argv[1:]
    sys.path.append(libraries)
    if what == "suite":
        import pytest

        sys.exit(pytest.main(rest))
    warnings.simplefilter("ignore")
    sys.stdout.write(json.dumps(exchange(Path(rest[0]))) + "\n")


def module() -> Any:
    """A module that answers otherwise while it is trained."""
    torch = importlib.import_module("torch")
    torch.manual_seed(3)
    dropping = torch.nn.Dropout(0.5)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), dropping, torch.nn.Linear(4, 2))


def exchange(folder: Path) -> dict[str, Any]:
    """The answers of PyTorch itself, and of every package: ours read by MLflow, MLflow's read by us."""
    import numpy as np

    torch = importlib.import_module("torch")
    rows = np.asarray(ROWS, dtype=np.float32)
    with torch.no_grad():
        expected = module().eval()(torch.from_numpy(rows)).tolist()
    found = {"expected": expected, "ours": _ours(folder, rows), "theirs": _theirs(folder, rows)}
    return {**found, "several": _several(folder, rows)}


def _ours(folder: Path, rows: Any) -> dict[str, Any]:
    """What MLflow says with the packages we save, as a function and by its own flavour."""
    from loopwright.app.packages import save_model
    from loopwright.workspace import Workspace

    torch, flavor = importlib.import_module("torch"), importlib.import_module("mlflow.pytorch")
    pyfunc = importlib.import_module("mlflow.pyfunc")
    found: dict[str, Any] = {}
    with Workspace.open(folder / ".loopwright") as workspace:
        for form in ("pt2", "pickle"):
            trained = module().train()
            place = str(save_model(trained, folder / form, input_example=rows, form=form, to=workspace))
            function = pyfunc.load_model(place)
            with torch.no_grad():
                native = flavor.load_model(place)
                own = (native.module() if hasattr(native, "module") else native)(torch.from_numpy(rows))
            found[form] = {
                "function": function.predict(rows).tolist(),
                "native": own.tolist(),
                "signature": function.metadata.signature.to_dict(),
                "is_training_still": trained.training and trained[2].training,
            }
    return found


def _several(folder: Path, rows: Any) -> dict[str, Any]:
    """A module of two inputs, given by place: what PyTorch, MLflow's flavour and we say of them."""
    import numpy as np

    from loopwright.app.packages import load_model, save_model
    from loopwright.workspace import Workspace

    torch, flavor = importlib.import_module("torch"), importlib.import_module("mlflow.pytorch")
    torch.manual_seed(5)
    model = torch.nn.Bilinear(3, 2, 1).eval()
    pair = (rows, np.ascontiguousarray(rows[:, :2]))
    tensors = [torch.from_numpy(each) for each in pair]
    with Workspace.open(folder / ".loopwright") as workspace:
        place = save_model(model, folder / "several", input_example=tuple(tensors), to=workspace)
        loaded = load_model(place, to=workspace)
        native = flavor.load_model(str(place))
        own = native.module() if hasattr(native, "module") else native
        specs: Any = loaded.signature.inputs if loaded.signature else ()
        with torch.no_grad():
            return {
                "torch": model(*tensors).tolist(),
                "flavor": own(*tensors).tolist(),
                "ours": loaded.predict(pair).tolist(),
                "by name": loaded.predict({"1": pair[1], "0": pair[0]}).tolist(),
                "inputs": [[spec.name, list(spec.shape)] for spec in specs],
            }


def _theirs(folder: Path, rows: Any) -> dict[str, Any]:
    """What we say with the packages that MLflow saves, with trust in that package; without it, nothing."""
    from mlflow.models import infer_signature

    from loopwright.app.packages import load_model
    from loopwright.core.errors import Untrusted
    from loopwright.workspace import Workspace

    flavor = importlib.import_module("mlflow.pytorch")
    signature = infer_signature(rows, rows[:, :2])
    found: dict[str, Any] = {}
    with Workspace.open(folder / ".loopwright") as workspace:
        for name, options in {
            "exported": {"serialization_format": "pt2", "input_example": rows},
            "pickled": {"serialization_format": "pickle"},
        }.items():
            place = folder / name
            flavor.save_model(module().eval(), str(place), signature=signature, **options)
            try:
                load_model(place, to=workspace)
                refused = ""
            except Untrusted as error:
                refused = error.hint
            digest = "blake3:" + refused.rpartition("blake3:")[2][:64]
            found[name] = load_model(place, trust=[digest], to=workspace).predict(rows).tolist()
    return found


if __name__ == "__main__":
    main()
