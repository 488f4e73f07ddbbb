"""`lw.save_model`, `lw.load_model`, `lw.register`: the same answers back, here and on a server."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from loopwright.app.packages import load_model, register, save_model
from loopwright.app.recording import run
from loopwright.app.server import Server
from loopwright.client import Client
from loopwright.core.errors import Conflict, Corrupt, Invalid, LoopwrightError, NotFound, TooLarge, Untrusted
from loopwright.core.nouns import LinkRole
from loopwright.registry.fitting import as_rows
from loopwright.surfaces.http import build_app
from loopwright.workspace import Workspace

ROWS = [{"length": float(at), "width": at % 3} for at in range(30)]
TABLE = as_rows(ROWS)
CLASSES = np.array([0] * 15 + [1] * 15)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.open(tmp_path / "ours") as opened:
        yield opened


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.open(tmp_path / "theirs") as opened:
        yield opened


def classifier() -> Any:
    return LogisticRegression().fit(np.array([[r["length"], r["width"]] for r in ROWS]), CLASSES)


class Touching:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.mark),))


# -- saved and loaded --------------------------------------------------------------------


def test_a_saved_model_says_what_it_takes_and_answers_the_same(workspace: Workspace, tmp_path: Path) -> None:
    model = xgboost.XGBClassifier(n_estimators=3, n_jobs=1).fit(
        np.array([[r["length"], r["width"]] for r in ROWS]), CLASSES
    )
    folder = save_model(model, tmp_path / "saved", input_example=ROWS, to=workspace)
    loaded = load_model(folder, to=workspace)
    assert loaded.flavor == "xgboost"
    assert loaded.signature is not None
    assert [(spec.name, spec.type) for spec in loaded.signature.inputs] == [  # type: ignore[union-attr]  # columns
        ("length", "double"),
        ("width", "long"),
    ]
    expected = model.predict(np.array([[r["length"], r["width"]] for r in ROWS]))
    for given in (ROWS, TABLE, TABLE.to_pandas(), {"width": TABLE["width"], "length": TABLE["length"]}):
        np.testing.assert_array_equal(loaded.predict(given), expected)
    assert loaded.signer == workspace.ports.signer.public_key
    assert loaded.meta is not None
    assert "numpy==" in (folder / "environment.lock.txt").read_text()


def test_what_does_not_fit_is_named_by_column_and_row_and_never_by_value(
    workspace: Workspace, tmp_path: Path
) -> None:
    loaded = load_model(
        save_model(classifier(), tmp_path / "m", input_example=ROWS, to=workspace), to=workspace
    )
    with pytest.raises(Invalid, match="'width' are missing") as missing:
        loaded.predict([{"length": 1.0}])
    with pytest.raises(Invalid, match="'length' is string") as wrong:
        loaded.predict([{"length": "secret-value", "width": 1}])
    with pytest.raises(Invalid, match="'width' has no value in row 1"):
        loaded.predict([{"length": 1.0, "width": 1}, {"length": 1.0, "width": None}])
    with pytest.raises(Invalid, match="2 columns"):
        loaded.predict(np.zeros((3, 5)))
    assert "secret-value" not in str(wrong.value) + str(missing.value)


def test_a_folder_that_is_there_is_not_written_over(workspace: Workspace, tmp_path: Path) -> None:
    save_model(classifier(), tmp_path / "m", to=workspace)
    with pytest.raises(Conflict):
        save_model(classifier(), tmp_path / "m", to=workspace)
    assert not list(tmp_path.glob(".m.*"))


def test_a_python_object_goes_round_where_its_maker_is_trusted(
    workspace: Workspace, stranger: Workspace, tmp_path: Path
) -> None:
    factor = 3.0

    class Times:
        def predict(self, rows: Any) -> Any:
            return np.asarray(rows)[:, 0] * factor

    folder = save_model(Times(), tmp_path / "m", input_example=np.ones((2, 1)), to=workspace)
    np.testing.assert_array_equal(load_model(folder, to=workspace).predict(np.array([[2.0]])), [6.0])
    with pytest.raises(Untrusted, match="ed25519:"):
        load_model(folder, to=stranger)
    for trust in (workspace.ports.signer.public_key, f"blake3:{load_digest(folder, workspace)}"):
        assert load_model(folder, trust=[trust], to=stranger).predict(np.array([[2.0]])) == [6.0]


def load_digest(folder: Path, workspace: Workspace) -> str:
    return load_model(folder, to=workspace).digest


# -- in runs, registered, on a server ----------------------------------------------------


@pytest.fixture(params=["here", "server"])
def face(request: pytest.FixtureRequest, workspace: Workspace) -> Iterator[Workspace | Client]:
    if request.param == "here":
        yield workspace
        return
    with Server(build_app(workspace)) as server, Client(server.url) as client:
        yield client


def test_a_model_of_a_run_is_registered_found_and_linked(
    face: Workspace | Client, workspace: Workspace
) -> None:
    model = classifier()
    with run("train", to=face) as training:
        version = training.log_model(model, "classifier", input_example=ROWS, register="flowers")
    assert str(version.ref) == "model:flowers@1"  # type: ignore[union-attr]  # registered
    face.call("registry.promote", name="flowers", alias="champion", version=1)
    with run("use", to=face) as using:
        addresses = (
            "model:flowers@1",
            "model:flowers@champion",
            "models:/flowers@champion",
            "models:/flowers/1",
        )
        for address in (*addresses, f"runs:/{training.id}/classifier"):
            loaded = load_model(address, trust=[_key(face)], to=face)
            np.testing.assert_array_equal(loaded.predict(ROWS), model.predict(TABLE.to_pandas().to_numpy()))
    links = {(link.role, str(link.version)) for link in face.call("runs.show", run_id=using.id).links}
    assert links == {(LinkRole.INPUT, "model:flowers@1")}
    with pytest.raises(NotFound):
        load_model("model:flowers@7", to=face)


def test_a_model_logged_again_takes_the_place_of_the_first(workspace: Workspace) -> None:
    trees = xgboost.XGBClassifier(n_estimators=2, n_jobs=1).fit(TABLE.to_pandas().to_numpy(), CLASSES)
    with run("train", to=workspace) as training:
        training.log_model(classifier(), input_example=ROWS)
        training.log_model(trees, input_example=ROWS)
        assert load_model(f"runs:/{training.id}/model", to=workspace).flavor == "xgboost"


def _key(face: Workspace | Client) -> str:
    """The key this test's programs sign with: the workspace's, or that of the folder they run in."""
    from loopwright.app.packages import ports_of

    return ports_of(face).signer.public_key


def test_a_folder_is_registered(face: Workspace | Client, workspace: Workspace, tmp_path: Path) -> None:
    folder = save_model(classifier(), tmp_path / "m", input_example=ROWS, to=workspace)
    assert register("flowers", folder, to=face, description="first").number == 1
    assert register("flowers", folder, to=face).number == 2
    detail = face.call("registry.folder", source="model:flowers@2")
    assert {entry.path for entry in detail.files} >= {"MLmodel", "model.skops", "loopwright.sig"}


# -- what may not get in -----------------------------------------------------------------


def changed(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)


def test_a_changed_file_is_found_whatever_it_is(workspace: Workspace, tmp_path: Path) -> None:
    folder = save_model(classifier(), tmp_path / "m", input_example=ROWS, to=workspace)
    for file in sorted(folder.iterdir()):
        before = file.read_bytes()
        file.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        with pytest.raises(Untrusted, match="changed after it was signed"):
            load_model(folder, to=workspace)
        file.unlink()
        with pytest.raises((Untrusted, Invalid)):
            load_model(folder, to=workspace)
        file.write_bytes(before)
    load_model(folder, to=workspace)
    (folder / "extra.pkl").write_bytes(b"x")
    with pytest.raises(Untrusted, match="was added"):
        load_model(folder, to=workspace)


def test_a_signature_of_another_package_is_none_of_this(workspace: Workspace, tmp_path: Path) -> None:
    mark = tmp_path / "touched"
    good = save_model(classifier(), tmp_path / "good", to=workspace)
    evil = evil_folder(tmp_path / "evil", mark)
    for name in ("loopwright.json", "loopwright.sig"):
        shutil.copy(good / name, evil / name)
    with pytest.raises(Untrusted):
        load_model(evil, to=workspace)
    (evil / "loopwright.json").write_bytes(
        (good / "loopwright.json").read_bytes().replace(b"skops", b"pickl")
    )
    with pytest.raises(Untrusted):
        load_model(evil, to=workspace)
    assert not mark.exists()


def evil_folder(folder: Path, mark: Path, **settings: Any) -> Path:
    folder.mkdir()
    (folder / "model.pkl").write_bytes(pickle.dumps(Touching(mark)))
    section = {"pickled_model": "model.pkl", "serialization_format": "cloudpickle", "code": None, **settings}
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": {"sklearn": section}}))
    return folder


@pytest.mark.parametrize("form", ["pickle", "cloudpickle", "joblib", None])
def test_an_unsigned_pickle_never_runs(workspace: Workspace, tmp_path: Path, form: str | None) -> None:
    mark = tmp_path / "touched"
    folder = evil_folder(tmp_path / "evil", mark, serialization_format=form)
    with pytest.raises(Untrusted, match="not signed") as refused:
        load_model(folder, to=workspace)
    assert "blake3:" in refused.value.hint
    assert not mark.exists()
    pin = "blake3:" + refused.value.hint.rpartition("blake3:")[2][:64]
    with contextlib.suppress(LoopwrightError):
        load_model(folder, trust=[pin], to=workspace)
    assert mark.exists(), "pinned by its digest, it is loaded: the payload is one that runs"


def test_a_stranger_s_signature_gives_no_trust(
    workspace: Workspace, stranger: Workspace, tmp_path: Path
) -> None:
    mark = tmp_path / "touched"

    class Evil:
        def predict(self, rows: Any) -> Any:
            return rows

        def __reduce__(self) -> Any:
            return (os.mkdir, (str(mark),))

    folder = save_model(Evil(), tmp_path / "evil", to=stranger)
    with pytest.raises(Untrusted, match=stranger.ports.signer.public_key):
        load_model(folder, to=workspace)
    assert not mark.exists()


@pytest.mark.parametrize(
    "place",
    ["../secret.pkl", "/etc/passwd", "a/../../secret.pkl", "..%2fsecret.pkl", "..\\secret.pkl", "file:///x"],
)
@pytest.mark.parametrize("field", ["pickled_model", "data", "model_path"])
def test_places_outside_of_the_folder_are_refused(
    workspace: Workspace, tmp_path: Path, place: str, field: str
) -> None:
    folder = evil_folder(tmp_path / "evil", tmp_path / "touched", **{field: place})
    (tmp_path / "secret.pkl").write_bytes(b"secret")
    with pytest.raises(Invalid, match="MLmodel"):
        load_model(folder, trust=["type:x.y"], to=workspace)


def test_links_devices_and_pipes_are_refused(workspace: Workspace, tmp_path: Path) -> None:
    mark = tmp_path / "touched"
    outside = tmp_path / "outside.pkl"
    outside.write_bytes(pickle.dumps(Touching(mark)))
    folder = evil_folder(tmp_path / "evil", mark)
    (folder / "model.pkl").unlink()
    (folder / "model.pkl").symlink_to(outside)
    with pytest.raises(Invalid, match="link"):
        load_model(folder, to=workspace)
    (folder / "model.pkl").unlink()
    os.mkfifo(folder / "model.pkl")
    with pytest.raises(LoopwrightError, match="no file"):
        load_model(folder, to=workspace)
    (folder / "model.pkl").unlink()
    (folder / "model.pkl").symlink_to("/dev")
    with pytest.raises(Invalid, match="link"):
        load_model(folder, to=workspace)
    assert not mark.exists()


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.mkdir ['{mark}']",
        "flavors: !!python/object/apply:os.mkdir ['{mark}']",
        "flavors: {{sklearn: !!python/object/new:os.mkdir ['{mark}']}}",
        "a: &a [x, x]\nb: &b [*a, *a]\nflavors: {{sklearn: *b}}",
        "flavors: [" * 3000,
        "flavors: {{}}",
        "- 1",
        "\x00",
        "flavors: {{sklearn: [1]}}",
    ],
)
def test_yaml_makes_no_objects(workspace: Workspace, tmp_path: Path, text: str) -> None:
    mark = tmp_path / "touched"
    folder = evil_folder(tmp_path / "evil", mark)
    (folder / "MLmodel").write_text(text.replace("{mark}", str(mark)).replace("{{", "{").replace("}}", "}"))
    with pytest.raises(Invalid, match="MLmodel"):
        load_model(folder, to=workspace)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"loader_module": "evil_module", "data": "model.pkl"}, "evil_module"),
        ({"loader_module": "mlflow.pyfunc.model", "python_model": "model.pkl", "code": "code"}, "never run"),
        ({"loader_module": "mlflow.pyfunc.model", "model_code_path": "evil_module.py"}, "never run"),
        (
            {"loader_module": "mlflow.pyfunc.model", "python_model": "model.pkl", "artifacts": {"a": {}}},
            "artifacts",
        ),
    ],
)
def test_code_that_comes_along_is_never_imported(
    workspace: Workspace, tmp_path: Path, section: dict[str, Any], words: str
) -> None:
    mark = tmp_path / "touched"
    folder = evil_folder(tmp_path / "evil", mark)
    for place in (folder, folder / "code"):
        place.mkdir(exist_ok=True)
        (place / "evil_module.py").write_text(f"import os; os.mkdir({str(mark)!r})")
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": {"python_function": section}}))
    with pytest.raises(LoopwrightError, match=words):
        load_model(folder, to=workspace)
    assert not mark.exists()
    assert "evil_module" not in sys.modules


def test_flavors_without_a_loader_are_named(workspace: Workspace, tmp_path: Path) -> None:
    folder = evil_folder(tmp_path / "evil", tmp_path / "touched")
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": {"tensorflow": {"data": "model.pkl"}}}))
    with pytest.raises(Invalid, match="tensorflow"):
        load_model(folder, to=workspace)


def skops_folder(folder: Path, model: Any, *, told: list[str] | None = None) -> Path:
    import skops.io

    folder.mkdir()
    (folder / "model.skops").write_bytes(skops.io.dumps(model))
    section = {"pickled_model": "model.skops", "serialization_format": "skops", "skops_trusted_types": told}
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": {"sklearn": section}}))
    return folder


def test_types_in_a_skops_archive_are_trusted_by_the_loader_alone(
    workspace: Workspace, tmp_path: Path
) -> None:
    """The archive calls a function when it predicts: the list in MLmodel counts for nothing."""
    model = FunctionTransformer(os.path.exists)
    folder = skops_folder(
        tmp_path / "m", model, told=["genericpath.exists", "posixpath.exists", "os.path.exists"]
    )
    with pytest.raises(Untrusted, match=r"genericpath\.exists"):
        load_model(folder, to=workspace)
    assert load_model(folder, trust=["type:genericpath.exists"], to=workspace).flavor == "sklearn"


def test_a_skops_archive_that_would_fill_the_memory_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    folder = skops_folder(tmp_path / "m", LogisticRegression())
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", "{}")
        archive.writestr("1.npy", bytes(200 << 20))
    (folder / "model.skops").write_bytes(packed.getvalue())
    with pytest.raises(TooLarge, match="unpack"):
        load_model(folder, to=workspace)
    (folder / "model.skops").write_bytes(b"PK\x03\x04nothing")
    with pytest.raises(Corrupt):
        load_model(folder, to=workspace)


def test_a_skops_archive_that_names_modules_imports_none(workspace: Workspace, tmp_path: Path) -> None:
    mark = tmp_path / "touched"
    folder = skops_folder(tmp_path / "m", LogisticRegression())
    (tmp_path / "evil_skops.py").write_text(f"import os; os.mkdir({str(mark)!r})\nclass Model: pass\n")
    with zipfile.ZipFile(folder / "model.skops") as archive:
        schema = json.loads(archive.read("schema.json"))
    schema |= {"__module__": "evil_skops", "__class__": "Model"}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
    (folder / "model.skops").write_bytes(packed.getvalue())
    sys.path.insert(0, str(tmp_path))
    try:
        with pytest.raises(LoopwrightError):
            load_model(folder, to=workspace)
    finally:
        sys.path.remove(str(tmp_path))
    assert not mark.exists()


def test_a_changed_package_is_not_taken_in(
    face: Workspace | Client, workspace: Workspace, tmp_path: Path
) -> None:
    folder = save_model(classifier(), tmp_path / "m", input_example=ROWS, to=workspace)
    changed(folder, "model.skops", (folder / "model.skops").read_bytes() + b"x")
    with pytest.raises(Untrusted):
        register("flowers", folder, to=face)
    (tmp_path / "empty").mkdir()
    with pytest.raises(Invalid, match="MLmodel"):
        register("flowers", tmp_path / "empty", to=face)


def test_trust_that_names_nobody_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    folder = save_model(classifier(), tmp_path / "m", to=workspace)
    for trust in ("me", "ed25519:abc", "*", "type:"):
        with pytest.raises(Invalid, match="nobody"):
            load_model(folder, trust=[trust], to=workspace)
