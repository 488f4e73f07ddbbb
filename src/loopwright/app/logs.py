"""Log lines of a process: a fixed message, and what belongs to it as `key=value`."""

from __future__ import annotations

import logging
import sys

__all__ = ["KeyValueFormatter", "log_to_stderr"]

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


class KeyValueFormatter(logging.Formatter):
    """Adds the `extra` of a record to its line; a traceback follows below."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - overrides logging's own name
        """The line without a traceback."""
        pairs = (f"{key}={_quoted(value)}" for key, value in vars(record).items() if key not in _OWN)
        return " ".join((super().formatMessage(record), *pairs))


def _quoted(value: object) -> str:
    text = str(value)
    return text if text.isprintable() and " " not in text else repr(text)


def log_to_stderr(level: int = logging.WARNING) -> None:
    """Write the log of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(KeyValueFormatter())
    logging.basicConfig(level=level, handlers=[handler])
