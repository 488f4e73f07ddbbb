"""Values that differ from server to server, as stable names: given while recording, bound while comparing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

__all__ = ["TIMES", "VARIABLE", "Bindings", "Namer"]

# A server's own instants; the script's are of the years before.
TIMES = range(1_740_000_000_000, 4_000_000_000_000)
KINDS = "experiment|run|model|token|run_name|assessment|trace|dataset|record|digest|webhook"
VARIABLE = re.compile(rf"\{{(?:{KINDS}):\d+\}}")
TIME_TEXT = re.compile(r"\b1(?:7[4-9]|[89]\d)\d{10}\b")
INSTANT = re.compile(r"\b20(?:2[5-9]|[3-9]\d)-\d\d-\d\dT[\d:.]+Z")
FIELDS = {
    "experiment_id": "experiment",
    "run_id": "run",
    "run_uuid": "run",
    "model_id": "model",
    "next_page_token": "token",
    "run_name": "run_name",
    "name": "run_name",
    "assessment_id": "assessment",
    "request_id": "trace",
    "dataset_id": "dataset",
    "dataset_record_id": "record",
    "digest": "digest",
    "webhook_id": "webhook",
}
# What makes a value of such a field one that the server chose.
CHOSEN = {
    "experiment": re.compile(r"73\d{8}"),
    "run": re.compile(r"[0-9a-f]{32}"),
    "model": re.compile(r"m-[0-9a-f]{32}"),
    "token": re.compile(r".+", re.DOTALL),
    "run_name": re.compile(r"[a-z]+-[a-z]+-\d{1,3}"),
    "assessment": re.compile(r"a-[0-9a-f]{32}"),
    "trace": re.compile(r"[0-9a-f]{32}"),
    "dataset": re.compile(r"d-[0-9a-f]{32}"),
    "record": re.compile(r"dr-[0-9a-f]{32}"),
    "digest": re.compile(r"[0-9a-f]{8}"),
    "webhook": re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}"),
}


def pairs(value: Any) -> Iterator[tuple[str, Any]]:
    """Every field with its value, at any depth."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield name, each
            yield from pairs(each)
    if isinstance(value, list):
        for each in value:
            yield from pairs(each)


class Namer:
    """Gives a name to each value that a server chose, and writes the names in place of the values."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def learn(self, reply: Any) -> None:
        """Take up what a reply shows for the first time."""
        for name, value in pairs(reply):
            kind = FIELDS.get(name)
            if kind and isinstance(value, str) and value not in self._names and CHOSEN[kind].fullmatch(value):
                self._counts[kind] = self._counts.get(kind, 0) + 1
                self._names[value] = f"{{{kind}:{self._counts[kind]}}}"

    def named(self, value: Any) -> Any:
        """The same value with names, and with `{time}` for the server's instants."""
        if isinstance(value, str):
            for known in sorted(self._names, key=len, reverse=True):
                value = value.replace(known, self._names[known])
            return INSTANT.sub("{instant}", TIME_TEXT.sub("{time}", value))
        if isinstance(value, int) and not isinstance(value, bool) and value in TIMES:
            return "{time}"
        if isinstance(value, list | tuple):
            return [self.named(each) for each in value]
        if isinstance(value, dict):
            return {key: self.named(each) for key, each in value.items()}
        return value


class Bindings:
    """What the names stand for on the server that is compared; bound on first sight."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def filled(self, value: Any) -> Any:
        """A recorded request with this server's values; an unbound name is left as it is."""
        if isinstance(value, str):
            return VARIABLE.sub(lambda name: self._values.get(name[0], name[0]), value)
        if isinstance(value, list | tuple):
            return [self.filled(each) for each in value]
        if isinstance(value, dict):
            return {key: self.filled(each) for key, each in value.items()}
        return value

    def match(self, template: str, actual: str) -> bool:
        """Whether a text is as recorded; binds the names that were not bound yet."""
        pattern, unbound = self._pattern(template)
        found = re.fullmatch(pattern, actual, re.DOTALL)
        if not found:
            return False
        self._values.update({name: found[group] for name, group in unbound.items()})
        return True

    def _pattern(self, template: str) -> tuple[str, dict[str, str]]:
        parts: list[str] = []
        unbound: dict[str, str] = {}
        at = 0
        for name in re.finditer(rf"{VARIABLE.pattern}|\{{time\}}|\{{instant\}}", template):
            parts.append(re.escape(template[at : name.start()]))
            at = name.end()
            parts.append(self._part(name[0], unbound, whole=name[0] == template))
        return "".join(parts) + re.escape(template[at:]), unbound

    def _part(self, name: str, unbound: dict[str, str], *, whole: bool) -> str:
        """A token stands for the latest one: MLflow's are offsets, so that two lists may have the same."""
        if name == "{time}":
            return r"\d{13}"
        if name == "{instant}":
            return INSTANT.pattern
        if name in self._values and not name.startswith("{token:"):
            return re.escape(self._values[name])
        if name in unbound:
            return f"(?P={unbound[name]})"
        unbound[name] = f"n{len(unbound)}"
        return f"(?P<{unbound[name]}>{'.+' if whole else '[^/ ]+?'})"
