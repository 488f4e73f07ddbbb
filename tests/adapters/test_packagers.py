"""Every packager passes the suite; models are made by the frameworks themselves."""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from numpy.typing import NDArray
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from loopwright.adapters.frameworks.lightgbm_text import LightGBMPackager
from loopwright.adapters.frameworks.onnx import OnnxPackager
from loopwright.adapters.frameworks.python import PythonPackager
from loopwright.adapters.frameworks.sklearn import SklearnPackager
from loopwright.adapters.frameworks.torch import TorchPackager
from loopwright.adapters.frameworks.xgboost import XGBoostPackager
from loopwright.core.errors import Invalid, Untrusted
from loopwright.ports.predictors import Grant, Packager
from loopwright.testing.packagers import PackagerSuite

_RNG = np.random.default_rng(3)
X = _RNG.normal(size=(200, 4))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)


class TestSklearn(PackagerSuite):
    def packager(self) -> Packager:
        return SklearnPackager()

    def model(self) -> Any:
        return make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=0)).fit(X, Y)

    def answers(self, model: Any, rows: NDArray[np.float64]) -> NDArray[Any]:
        return np.asarray(model.predict(rows))

    def test_a_score_is_the_odds_of_the_second_class(self) -> None:
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
        packed = self.packager().pack(model, form="", example=None)
        assert not packed.runs_code
        opened = self.packager().open(packed.files, packed.settings, Grant())
        np.testing.assert_array_equal(opened.score(X[:9]), model.predict_proba(X[:9])[:, 1])

    def test_equal_models_have_equal_files(self) -> None:
        first, second = (self.packager().pack(self.model(), form="", example=None) for _ in range(2))
        assert first.files == second.files

    def test_a_pickle_takes_a_grant(self) -> None:
        packed = self.packager().pack(self.model(), form="cloudpickle", example=None)
        assert packed.runs_code
        with pytest.raises(Untrusted):
            self.packager().open(packed.files, packed.settings, Grant())
        opened = self.packager().open(packed.files, packed.settings, Grant(code=True))
        np.testing.assert_array_equal(opened.predict(X), self.model().predict(X))


class TestSklearnRegression(PackagerSuite):
    def packager(self) -> Packager:
        return SklearnPackager()

    def model(self) -> Any:
        return LinearRegression().fit(X, X[:, 0] * 2 + 1)

    def answers(self, model: Any, rows: NDArray[np.float64]) -> NDArray[Any]:
        return np.asarray(model.predict(rows))


class TestLightGBM(PackagerSuite):
    def packager(self) -> Packager:
        return LightGBMPackager()

    def model(self) -> Any:
        params = {"objective": "binary", "verbose": -1, "num_threads": 1, "deterministic": True}
        return lightgbm.train(params, lightgbm.Dataset(X, label=Y), num_boost_round=5)

    def answers(self, model: Any, rows: NDArray[np.float64]) -> NDArray[Any]:
        return np.asarray(model.predict(rows, num_threads=1))

    def test_of_a_wrapper_the_booster_is_kept(self) -> None:
        wrapper = lightgbm.LGBMClassifier(n_estimators=4, verbose=-1, n_jobs=1).fit(X, Y)
        packed = self.packager().pack(wrapper, form="", example=None)
        opened = self.packager().open(packed.files, packed.settings, Grant())
        np.testing.assert_allclose(opened.predict(X), wrapper.booster_.predict(X), rtol=1e-12)

    def test_an_untrained_wrapper_is_refused(self) -> None:
        with pytest.raises(Invalid, match="trained"):
            self.packager().pack(lightgbm.LGBMClassifier(), form="", example=None)


class TestXGBoost(PackagerSuite):
    def packager(self) -> Packager:
        return XGBoostPackager()

    def model(self) -> Any:
        params = {"objective": "binary:logistic", "nthread": 1, "seed": 1}
        return xgboost.train(params, xgboost.DMatrix(X, label=Y), num_boost_round=4)

    def answers(self, model: Any, rows: NDArray[np.float64]) -> NDArray[Any]:
        return np.asarray(model.predict(xgboost.DMatrix(rows)))


class TestXGBoostClassifier(PackagerSuite):
    def packager(self) -> Packager:
        return XGBoostPackager()

    def model(self) -> Any:
        return xgboost.XGBClassifier(n_estimators=4, n_jobs=1, random_state=1).fit(X, Y)

    def answers(self, model: Any, rows: NDArray[np.float64]) -> NDArray[Any]:
        return np.asarray(model.predict(rows))

    def test_json_is_another_form(self) -> None:
        model = self.model()
        packed = self.packager().pack(model, form="json", example=None)
        assert packed.files["model.json"].startswith(b"{")
        opened = self.packager().open(packed.files, packed.settings, Grant())
        np.testing.assert_array_equal(opened.predict(X), model.predict(X))
        np.testing.assert_allclose(opened.score(X), model.predict_proba(X)[:, 1], rtol=1e-6)

    def test_a_class_of_another_package_is_never_looked_up(self) -> None:
        packed = self.packed()
        for name in ("subprocess.Popen", "xgboost.sklearn.__builtins__", "os.system", ""):
            with pytest.raises(Invalid, match="no class"):
                self.packager().open(packed.files, {**packed.settings, "model_class": name}, Grant(code=True))


class TestOnnx(PackagerSuite):
    def packager(self) -> Packager:
        return OnnxPackager()

    def model(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = LinearRegression().fit(X, X @ np.array([1.0, 2.0, -1.0, 0.5]))
            return to_onnx(model, X[:1].astype(np.float32))

    def answers(self, model: Any, rows: NDArray[np.float64]) -> NDArray[Any]:
        import onnxruntime

        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return np.asarray(session.run(None, {name: rows.astype(np.float32)})[0])

    def test_packing_an_opened_model_keeps_its_answers(self) -> None:
        """What is opened is a session, which has no bytes: it is said what to give instead."""
        packed = self.packed()
        session = self.packager().open(packed.files, packed.settings, Grant()).native
        with pytest.raises(Invalid, match="no ONNX model"):
            self.packager().pack(session, form="", example=None)

    def test_a_model_that_names_other_files_is_refused(self) -> None:
        from onnx import TensorProto

        model = self.model()
        tensor = model.graph.initializer.add()
        tensor.name, tensor.data_type, tensor.data_location = (
            "stolen",
            TensorProto.FLOAT,
            TensorProto.EXTERNAL,
        )
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "/etc/passwd"
        packed = self.packager().pack(model, form="", example=None)
        with pytest.raises(Invalid, match="never read"):
            self.packager().open(packed.files, packed.settings, Grant(code=True))


class Doubler:
    """Somebody's own class."""

    def predict(self, rows: Any) -> NDArray[np.float64]:
        if rows.shape[1] != 4:
            raise Invalid("four columns")
        return np.asarray(rows)[:, 0] * 2


class TestPython(PackagerSuite):
    def packager(self) -> Packager:
        return PythonPackager()

    def model(self) -> Any:
        return Doubler()

    def answers(self, model: Any, rows: NDArray[np.float64]) -> NDArray[Any]:
        return rows[:, 0] * 2


@pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed: too big for a quick setup"
)
@pytest.mark.filterwarnings("ignore")
class TestTorch(PackagerSuite):
    def packager(self) -> Packager:
        return TorchPackager()

    def model(self) -> Any:
        import torch

        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1)).eval()

    def answers(self, model: Any, rows: NDArray[np.float64]) -> NDArray[Any]:
        import torch

        with torch.no_grad():
            return np.asarray(model(torch.from_numpy(rows).to(torch.float32)).numpy())

    def rows(self) -> NDArray[np.float64]:
        return np.random.default_rng(7).normal(size=(20, 4)).astype(np.float32)

    def test_packing_an_opened_model_keeps_its_answers(self) -> None:
        """An exported program is not exported again; a pickled module is."""
        model = self.model()
        packed = self.packager().pack(model, form="pickle", example=None)
        opened = self.packager().open(packed.files, packed.settings, Grant(code=True))
        np.testing.assert_array_equal(opened.predict(self.rows()), self.answers(model, self.rows()))

    def test_a_module_that_is_trained_goes_on_being_trained(self) -> None:
        import torch

        model = torch.nn.Sequential(
            torch.nn.Linear(4, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 1)
        ).train()
        model[2].eval()
        for form in ("pt2", "pickle"):
            packed = self.packager().pack(model, form=form, example=self.rows())
            assert [model.training, model[1].training, model[2].training] == [True, True, False]
            opened = self.packager().open(packed.files, packed.settings, Grant(code=True))
            np.testing.assert_array_equal(opened.predict(self.rows()), opened.predict(self.rows()))

    def test_an_example_of_one_row_is_one_of_many(self) -> None:
        model = self.model()
        packed = self.packager().pack(model, form="pt2", example=self.rows()[:1])
        opened = self.packager().open(packed.files, packed.settings, Grant(code=True))
        for rows in (self.rows(), self.rows()[:1]):
            np.testing.assert_allclose(opened.predict(rows), self.answers(model, rows), rtol=1e-6)

    def test_a_script_is_kept_as_it_is(self) -> None:
        import torch

        model = self.model()
        packed = self.packager().pack(torch.jit.trace(model, torch.zeros(2, 4)), form="", example=self.rows())
        with pytest.raises(Untrusted):
            self.packager().open(packed.files, packed.settings, Grant())
        opened = self.packager().open(packed.files, packed.settings, Grant(code=True))
        np.testing.assert_allclose(opened.predict(self.rows()), self.answers(model, self.rows()), rtol=1e-6)

    def test_several_answers_are_arrays_by_name(self) -> None:
        import torch

        class Two(torch.nn.Module):  # type: ignore[misc]  # PyTorch is not here when types are checked
            def forward(self, rows: Any) -> Any:
                return {"double": rows * 2, "parts": (rows.sum(1), rows[:, 0])}

        packed = self.packager().pack(Two(), form="pt2", example=self.rows())
        found = self.packager().open(packed.files, packed.settings, Grant(code=True)).predict(self.rows())
        np.testing.assert_array_equal(found["double"], self.rows() * 2)
        np.testing.assert_array_equal(found["parts"][1], self.rows()[:, 0])

    def test_several_inputs_are_given_by_place_by_name_or_as_one_mapping(self) -> None:
        import torch

        class Two(torch.nn.Module):  # type: ignore[misc]  # as above
            def __init__(self) -> None:
                super().__init__()
                self.words, self.rest = torch.nn.Embedding(9, 3), torch.nn.Linear(4, 3)

            def forward(self, rows: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
                return self.rest(rows) + self.words(words).sum(1)

        class One(torch.nn.Module):  # type: ignore[misc]  # as above
            def __init__(self, within: Any) -> None:
                super().__init__()
                self.within = within

            def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
                return self.within(batch["these"], batch["those"])

        torch.manual_seed(0)
        two = Two().eval()
        rows, words = self.rows(), np.arange(40).reshape(20, 2) % 9
        with torch.no_grad():
            expected = two(torch.from_numpy(rows), torch.from_numpy(words)).numpy()
        both = {"words": words, "rows": rows}
        mapping = {"these": rows, "those": words}
        for model, given in ((two, {"0": rows, "1": words}), (two, both), (One(two).eval(), mapping)):
            for form, example in (("", given), ("", {n: a[:1] for n, a in given.items()}), ("pickle", None)):
                packed = self.packager().pack(model, form=form, example=example)
                assert any(name.endswith(".pt2") for name in packed.files) == (form == "")
                opened = self.packager().open(packed.files, packed.settings, Grant(code=True))
                np.testing.assert_allclose(opened.predict(given), expected, rtol=1e-5, atol=1e-6)
                few = {name: array[:3] for name, array in given.items()}
                np.testing.assert_allclose(opened.predict(few), expected[:3], rtol=1e-5, atol=1e-6)
                with pytest.raises(Invalid, match="does not fit the module"):
                    opened.predict(dict([*given.items()][:1]))

    def test_a_script_of_several_inputs_takes_them_by_name(self) -> None:
        import torch

        class Sum(torch.nn.Module):  # type: ignore[misc]  # as above
            def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
                return left - right

        given = {"right": self.rows(), "left": self.rows() * 3}
        packed = self.packager().pack(torch.jit.script(Sum()), form="", example=given)
        opened = self.packager().open(packed.files, packed.settings, Grant(code=True))
        np.testing.assert_allclose(opened.predict(given), self.rows() * 2, rtol=1e-5)

    def test_half_precision_answers_in_numbers_that_numpy_has(self) -> None:
        import torch

        model = self.model().to(torch.bfloat16)
        packed = self.packager().pack(model, form="", example=self.rows())
        opened = self.packager().open(packed.files, packed.settings, Grant(code=True))
        with torch.no_grad():
            expected = model(torch.from_numpy(self.rows()).to(torch.bfloat16)).float().numpy()
        np.testing.assert_array_equal(opened.predict(self.rows()), expected)

    def test_what_is_no_module_is_refused_and_what_cannot_be_exported_says_what_to_do(self) -> None:
        import torch

        class Forked(torch.nn.Module):  # type: ignore[misc]  # as above
            def forward(self, rows: Any) -> Any:
                return rows * 2 if rows.sum() > 0 else rows

        with pytest.raises(Invalid, match="no module"):
            self.packager().pack(torch.zeros(3), form="", example=None)
        with pytest.raises(Invalid, match="cannot be exported") as refused:
            self.packager().pack(Forked(), form="", example=self.rows())
        assert "form='pickle'" in refused.value.hint
        packed = self.packager().pack(Forked(), form="pickle", example=self.rows())
        opened = self.packager().open(packed.files, packed.settings, Grant(code=True))
        np.testing.assert_array_equal(opened.predict(self.rows()[:1] * 0 + 1), self.rows()[:1] * 0 + 2)

    def test_a_tensor_is_taken_as_an_array(self) -> None:
        import torch

        from loopwright.registry.fitting import as_rows

        rows = torch.ones(2, 3, requires_grad=True)
        np.testing.assert_array_equal(as_rows(rows), np.ones((2, 3), np.float32))
