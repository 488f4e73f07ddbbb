"""What every packager of models must hold; subclass the suite and say how a model is made."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from loopwright.core.errors import Corrupt, Invalid, LoopwrightError, Untrusted
from loopwright.ports.predictors import Grant, Packager, PackedModel

__all__ = ["PackagerSuite"]

_CODE, _NOTHING = Grant(code=True), Grant()


class PackagerSuite(ABC):
    """Packing and opening again: the same answers, no code without a grant, nothing but its own errors."""

    @abstractmethod
    def packager(self) -> Packager:
        """The packager."""

    @abstractmethod
    def model(self) -> Any:
        """A trained model of four numbers a row."""

    @abstractmethod
    def answers(self, model: Any, rows: NDArray[np.float64]) -> NDArray[Any]:
        """What the framework itself says of rows."""

    def rows(self) -> NDArray[np.float64]:
        """Rows `(20, 4)` to ask about."""
        return np.random.default_rng(7).normal(size=(20, 4))

    def packed(self) -> PackedModel:
        """A model as files."""
        return self.packager().pack(self.model(), form="", example=self.rows())

    def test_an_opened_model_answers_as_the_one_that_was_packed(self) -> None:
        model, rows = self.model(), self.rows()
        packed = self.packager().pack(model, form="", example=rows)
        opened = self.packager().open(packed.files, packed.settings, _CODE)
        np.testing.assert_array_equal(np.asarray(opened.predict(rows)), self.answers(model, rows))

    def test_packing_an_opened_model_keeps_its_answers(self) -> None:
        first, rows = self.packed(), self.rows()
        native = self.packager().open(first.files, first.settings, _CODE).native
        second = self.packager().pack(native, form="", example=rows)
        opened = self.packager().open(second.files, second.settings, _CODE)
        np.testing.assert_array_equal(np.asarray(opened.predict(rows)), self.answers(self.model(), rows))

    def test_without_a_grant_it_opens_just_what_runs_no_code(self) -> None:
        packed = self.packed()
        if packed.runs_code:
            with pytest.raises(Untrusted):
                self.packager().open(packed.files, packed.settings, _NOTHING)
        else:
            self.packager().open(packed.files, packed.settings, _NOTHING)

    def test_scores_are_one_number_a_row(self) -> None:
        packed = self.packed()
        found = self.packager().open(packed.files, packed.settings, _CODE).score(self.rows())
        assert found.shape == (20,)
        assert found.dtype == np.float64

    def test_damaged_files_are_refused_in_words(self) -> None:
        packed = self.packed()
        grant = _CODE if packed.runs_code else _NOTHING
        file, data = max(packed.files.items(), key=lambda each: len(each[1]))
        for broken in (b"", data[: len(data) // 2], bytes(1000), b"{}"):
            with pytest.raises((Corrupt, Invalid)):
                self.packager().open({**packed.files, file: broken}, packed.settings, grant)

    def test_rows_of_another_width_are_refused_in_words(self) -> None:
        packed = self.packed()
        opened = self.packager().open(packed.files, packed.settings, _CODE)
        with pytest.raises(LoopwrightError):
            opened.score(self.rows()[:, :2])

    def test_an_unknown_form_is_refused(self) -> None:
        with pytest.raises(Invalid):
            self.packager().pack(self.model(), form="nonsense", example=None)

    def test_threads_get_the_same_answers(self) -> None:
        packed, rows = self.packed(), self.rows()
        opened = self.packager().open(packed.files, packed.settings, _CODE)
        expected = opened.score(rows)
        found: list[NDArray[np.float64]] = []
        threads = [threading.Thread(target=lambda: found.append(opened.score(rows))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == len(threads)
        for each in found:
            np.testing.assert_array_equal(each, expected)
