"""Clock, ids and keys of the machine, and the clock of a replay."""

from loopwright.adapters.world.clocks import FollowingClock, KeptInstant, ReplayClock, SystemClock
from loopwright.adapters.world.ids import RandomIds
from loopwright.adapters.world.keys import FileKeys, FileSigner

__all__ = [
    "FileKeys",
    "FileSigner",
    "FollowingClock",
    "KeptInstant",
    "RandomIds",
    "ReplayClock",
    "SystemClock",
]
