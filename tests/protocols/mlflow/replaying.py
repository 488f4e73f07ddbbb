"""Sends a recorded group again to another server and tells every difference; also by hand, with an address.

`python -m tests.protocols.mlflow.replaying URL [GROUP...]` needs a server without experiments of its own.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

from tests.protocols.mlflow.comparing import differences
from tests.protocols.mlflow.groups import SCRIPTS
from tests.protocols.mlflow.keeping import kept
from tests.protocols.mlflow.names import Bindings
from tests.protocols.mlflow.wire import Exchange, Sender, sender

__all__ = ["replayed"]

APART_S = 0.002


def replayed(group: str, send: Sender) -> list[str]:
    """One line for each difference, with the place of its exchange in the file."""
    bound = Bindings()
    return [line for at, each in enumerate(kept(group)) for line in _played(at, each, send, bound)]


def _played(at: int, each: Exchange, send: Sender, bound: Bindings) -> list[str]:
    asked = each.request
    request = replace(
        asked,
        path=bound.filled(asked.path),
        query=bound.filled(list(asked.query)),
        json=bound.filled(asked.json),
        text=bound.filled(asked.text),
        headers=bound.filled(dict(asked.headers)),
    )
    time.sleep(APART_S)  # what is ordered by its instant must differ in it
    told = f"#{at} {asked.method} {asked.path} ({each.says})"
    return [f"{told}: {line}" for line in differences(each, send(request), bound)]


def main(url: str, groups: list[str]) -> None:
    """Print the differences of the named groups, or of all."""
    for group in groups or list(SCRIPTS):
        found = replayed(group, sender(url))
        sys.stdout.write("\n".join([f"== {group}: {len(found)} differences", *found]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
