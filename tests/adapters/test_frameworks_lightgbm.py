"""The LightGBM adapter against LightGBM's own `Booster.predict`, on every path that scores rows."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import lightgbm
import numpy as np
import pytest
from numpy.typing import NDArray

from loopwright.adapters.frameworks.lightgbm import LightGBM
from loopwright.core.errors import Corrupt, Invalid
from loopwright.ports.predictors import FitRequest

FEATURES = ("code", "delay", "speed", "seats", "age")


def rows(n: int, seed: int) -> NDArray[np.float64]:
    chance = np.random.default_rng(seed)
    x = chance.normal(0.0, 20.0, (n, len(FEATURES)))
    x[:, 0] = chance.integers(0, 30, n)
    x[chance.random(x.shape) < 0.1] = np.nan
    return x


def fitted(objective: str, rounds: int = 40) -> Mapping[str, bytes]:
    x = rows(4_000 if rounds < 100 else 200, 1)
    y = np.nan_to_num(x[:, 1]) + 10.0 * (x[:, 0] % 3 == 1) + 0.1 * np.nan_to_num(x[:, 2])
    target = (y > 0.0).astype(np.float64) if objective == "binary" else y
    asked = FitRequest(
        objective=objective,
        features=FEATURES,
        categorical=("code",),
        params={"num_leaves": 31 if rounds < 100 else 2},
        rounds=rounds,
        seed=3,
        threads=1,
    )
    return LightGBM().fit(x, target, asked).files


@pytest.mark.parametrize("objective", ["binary", "regression"])
def test_scores_are_those_of_the_booster_for_any_number_of_rows(objective: str) -> None:
    files = fitted(objective)
    x = rows(21_000, 2)
    x[5] = np.nan
    x[6, 0] = 999.0  # a category that was never seen
    wanted = lightgbm.Booster(model_str=files["model.txt"].decode()).predict(x, num_threads=1)
    model = LightGBM().load(files)
    assert model.fast
    for size in (0, 1, 2, 7, 8, 9, 300, len(x)):
        assert np.array_equal(model.predict(x[:size]), wanted[:size])
    assert np.array_equal(model.predict(np.asfortranarray(x)[3:9]), wanted[3:9])
    assert np.array_equal(model.predict(x[::2][:4]), wanted[::2][:4])


def test_many_trees_are_scored_alike() -> None:
    files = fitted("binary", rounds=2_100)
    x = rows(6, 4)
    wanted = lightgbm.Booster(model_str=files["model.txt"].decode()).predict(x, num_threads=1)
    assert np.array_equal(LightGBM().load(files).predict(x), wanted)


def test_threads_share_a_model_and_models_come_and_go() -> None:
    files = fitted("binary")
    x = rows(2_000, 5)
    model = LightGBM().load(files)
    wanted = lightgbm.Booster(model_str=files["model.txt"].decode()).predict(x, num_threads=1)

    def scored(first: int) -> bool:
        found = [model.predict(x[at : at + 1 + at % 9]) for at in range(first, 1_900, 4)]
        LightGBM().load(files).predict(x[:1])  # made, used and let go beside the others
        return all(
            np.array_equal(each, wanted[at : at + len(each)])
            for at, each in zip(range(first, 1_900, 4), found, strict=True)
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(scored, range(4)))


def test_rows_of_another_width_and_files_that_are_no_model_are_refused() -> None:
    files = fitted("binary")
    model = LightGBM().load(files)
    for wrong in (np.zeros((1, 4)), np.zeros((1, 6)), np.zeros(5)):
        with pytest.raises(Invalid, match="takes 5 columns"):
            model.predict(wrong)
    with pytest.raises(Corrupt):
        LightGBM().load({"model.txt": b"tree\nversion=v4\nnum_class=1"})
    with pytest.raises(Invalid):
        LightGBM().load({})
