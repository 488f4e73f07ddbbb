"""Where a hint names a command: the page, or the form of a page, that does the same."""

from __future__ import annotations

import re
import shlex
from urllib.parse import quote

__all__ = ["place_of"]

_NAME = r"""(?:'[^']*'|"'"|[^\s`(),;'"\\])+"""
"""of what a command is about, quoted as for a shell"""
_COMMAND = re.compile(rf"\bloopwright ([a-z][a-z-]*(?: [a-z][a-z-]*)?)(?: ({_NAME}))?")
_PLACES = {
    "assets": ("/assets", "Look at the assets"),
    "runs list": ("/runs", "Look at the runs"),
    "experiments list": ("/experiments", "Look at the experiments"),
    "trash list": ("/trash", "Look into the trash"),
    "decisions list": ("/decisions", "Look at the decisions"),
    "incidents list": ("/incidents", "Look at the incidents"),
    "evaluation list": ("/evaluation", "Look at the evaluation datasets"),
    "labels": ("/labels", "Look at the queues of labels"),
    "models": ("/models", "Look at the models"),
    "webhooks list": ("/webhooks", "Look at the webhooks"),
    "journal verify": ("/journal", "Look at the journal"),
    "data list": ("/assets?kind=dataset", "Look at the datasets"),
}
_OF_ONE = {
    "data request-access": ("/assets/dataset/{}#purposes", "Ask for access"),
    "data access-requests": ("/assets/dataset/{}#purposes", "Look at the requests"),
    "data set-purposes": ("/assets/dataset/{}#purposes", "Say what columns may be read for"),
    "data set-contract": ("/contracts/{}", "Write a contract"),
    "data quarantine": ("/assets/dataset/{}", "Look at the rows in quarantine"),
    "data branches": ("/assets/dataset/{}", "Look at the dataset"),
    "data show": ("/assets/dataset/{}", "Look at the dataset"),
    "data files": ("/assets/dataset/{}", "Look at the files"),
    "models request": ("/assets/model/{}", "Ask for approval"),
    "models requests": ("/assets/model/{}", "Look at the requests"),
}


def place_of(hint: str) -> tuple[str, str] | None:
    """The address of a page and what a link to it says; None where a hint names no command of these."""
    found = _COMMAND.search(hint)
    if found is None:
        return None
    command, name = found[1], "".join(shlex.split(found[2] or ""))
    if command in _OF_ONE and name:
        address, said = _OF_ONE[command]
        return address.format(quote(name, safe="/")), said
    return _PLACES.get(command) or _PLACES.get(command.partition(" ")[0])
