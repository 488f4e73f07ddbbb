"""The in-memory fake passes the suite of the real stores."""

import pytest

from loopwright.ports.objects import Objects
from loopwright.testing.objects import MemoryObjects, ObjectsSuite


class TestMemoryObjects(ObjectsSuite):
    @pytest.fixture
    def objects(self) -> Objects:
        return MemoryObjects()

    def damage(self, objects: Objects, digest: str) -> None:
        assert isinstance(objects, MemoryObjects)
        objects.damage(digest)
