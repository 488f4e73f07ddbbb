"""The in-memory fake passes the suite of the real stores."""

from loopwright.ports.online import Online
from loopwright.testing.online import MemoryOnline, OnlineSuite


class TestMemoryOnline(OnlineSuite):
    def fresh(self) -> Online:
        return MemoryOnline()

    def reopen(self, online: Online) -> Online:
        return online
