"""The composition root: the only place where ports meet adapters."""

from loopwright.workspace.catalogue import ReplayClock, upgrade_database
from loopwright.workspace.emptying import empty_workspace, open_for_testing
from loopwright.workspace.root import Workspace
from loopwright.workspace.settings import Settings, load_settings

__all__ = [
    "ReplayClock",
    "Settings",
    "Workspace",
    "empty_workspace",
    "load_settings",
    "open_for_testing",
    "upgrade_database",
]
