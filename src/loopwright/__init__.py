"""Loopwright: the whole loop of machine learning in one install. By custom `import loopwright as lw`.

Every name below is loaded when it is first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loopwright.app.connecting import connect
    from loopwright.client import Client
    from loopwright.core.expressions import all_of, col, lit, when
    from loopwright.core.schema import Column, ColumnType, Schema
    from loopwright.engine.operation import Blob, Upload
    from loopwright.workspace import Settings, Workspace

__version__ = "0.1.0"

__all__ = [
    "Blob",
    "Client",
    "Column",
    "ColumnType",
    "Schema",
    "Settings",
    "Upload",
    "Workspace",
    "__version__",
    "all_of",
    "col",
    "connect",
    "lit",
    "when",
]

_HOMES = {
    "Blob": "loopwright.engine.operation",
    "Client": "loopwright.client",
    "Column": "loopwright.core.schema",
    "ColumnType": "loopwright.core.schema",
    "Schema": "loopwright.core.schema",
    "Settings": "loopwright.workspace",
    "Upload": "loopwright.engine.operation",
    "Workspace": "loopwright.workspace",
    "all_of": "loopwright.core.expressions",
    "col": "loopwright.core.expressions",
    "connect": "loopwright.app.connecting",
    "lit": "loopwright.core.expressions",
    "when": "loopwright.core.expressions",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'loopwright' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
