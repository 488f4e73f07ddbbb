"""The Polars engine passes the suite of engines of tables."""

import pytest

from loopwright.adapters.tables import PolarsTables
from loopwright.ports.tables import Tables
from loopwright.testing.tables import TablesSuite


class TestPolarsTables(TablesSuite):
    @pytest.fixture
    def tables(self) -> Tables:
        return PolarsTables()
