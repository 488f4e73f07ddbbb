"""Keeps Arrow from importing pandas, for processes in which nobody hands it an object of pandas."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

__all__ = ["forgo_pandas"]


class _Refused(MetaPathFinder):
    """Says that pandas is not there, to one thread."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """Nothing is found by this."""
        if fullname == "pandas" and threading.get_ident() == self._thread:
            raise ImportError("not looked for")


def forgo_pandas() -> None:
    """Let Arrow's first array be made without pandas, which it would import then: 0.3 s of each command.

    Arrow looks once whether there is a pandas whose objects it may be given, and from then on takes none
    for one. `to_pandas` looks again, imports it, and all is as ever.
    """
    if "pandas" in sys.modules:
        return
    refused = _Refused()
    sys.meta_path.insert(0, refused)
    try:
        import pyarrow as pa

        pa.array([0])
    finally:
        sys.meta_path.remove(refused)
