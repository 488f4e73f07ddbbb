"""Runs a session as the peer's own client: `python -m tests.protocols.mlflow.sessions.told SESSION URI`.

What a session sees is printed as one JSON document; what differs from run to run is replaced by stable names.
Runs under MLflow's Python, so nothing but the standard library and MLflow may be imported here.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["Told", "refusal"]

ID = re.compile(r"\b[0-9a-f]{32}\b")
UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
TIME = re.compile(r"\b1(?:7[4-9]|[89]\d)\d{10}\b")
CLOCK = re.compile(r"\b20\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?\b")
TIMES = range(1_740_000_000_000, 4_000_000_000_000)
DIGITS = 9


class Told:
    """What a session saw, line by line."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.seen: dict[str, Any] = {}
        self._hidden: dict[str, str] = {uri: "{uri}", str(Path.cwd()): "{folder}"}

    def tell(self, what: str, value: Any) -> Any:
        """Keep what was seen; gives it back."""
        if what in self.seen:
            raise ValueError(f"{what} is told twice")
        self.seen[what] = value
        return value

    def hide(self, value: str, name: str) -> str:
        """Show a value by a name from now on."""
        self._hidden[str(value)] = f"{{{name}}}"
        return value

    def settled(self) -> Any:
        """All that was told, without what differs from run to run."""
        return self._settled(self.seen)

    def _settled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self._text(str(key)): self._settled(value[key]) for key in value}
        if isinstance(value, list | tuple):
            return [self._settled(each) for each in value]
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int):
            return "{time}" if value in TIMES else value
        if isinstance(value, float):
            return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else str(value)
        return self._text(str(value))

    def _text(self, text: str) -> str:
        for known in sorted(self._hidden, key=len, reverse=True):
            pattern = rf"(?<!\d){re.escape(known)}(?!\d)" if known.isdigit() else re.escape(known)
            text = re.sub(pattern, self._hidden[known], text)
        text = CLOCK.sub("{clock}", TIME.sub("{time}", UUID.sub(self._named, text)))
        return ID.sub(self._named, text)

    def _named(self, found: re.Match[str]) -> str:
        return self._hidden.setdefault(found[0], f"{{id:{len(self._hidden)}}}")


def refusal(call: Callable[[], Any]) -> str:
    """The code of the error that a call raises."""
    errors = import_module("mlflow.exceptions")
    try:
        call()
    except errors.MlflowException as error:
        return str(getattr(error, "error_code", type(error).__name__))
    return "no error"


def main(session: str, uri: str) -> None:
    """Run one session against a server and print what it saw."""
    mlflow = import_module("mlflow")
    mlflow.set_tracking_uri(uri)
    told = Told(uri)
    import_module(f"tests.protocols.mlflow.sessions.{session}").session(mlflow, told)
    sys.stdout.write("\n" + json.dumps(told.settled(), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:3])
