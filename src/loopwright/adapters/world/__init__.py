"""Clock, ids, keys and functions of the process, and the clock of a replay."""

from loopwright.adapters.world.clocks import FollowingClock, KeptInstant, ReplayClock, SystemClock
from loopwright.adapters.world.functions import ProcessFunctions
from loopwright.adapters.world.ids import RandomIds
from loopwright.adapters.world.keys import FileKeys, FileSigner

__all__ = [
    "FileKeys",
    "FileSigner",
    "FollowingClock",
    "KeptInstant",
    "ProcessFunctions",
    "RandomIds",
    "ReplayClock",
    "SystemClock",
]
