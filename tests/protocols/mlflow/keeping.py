"""Recorded exchanges as files: one readable JSON document a group."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.protocols.mlflow.wire import Exchange, Reply, Request, path_of

__all__ = ["RECORDED", "keep", "kept"]

SHORT = 100
RECORDED = Path(__file__).parent / "recorded"


def keep(group: str, peer: str, exchanges: Sequence[Exchange]) -> Path:
    """Write a group's exchanges, one on a few lines."""
    path = RECORDED / f"{group}.json"
    shared = _shared(exchanges)
    lines = ",\n".join(_laid_out(each, shared) for each in exchanges)
    same = ",\n".join(f'"{name}": {text}' for text, name in shared.items())
    path.write_text(f'{{"server": "{peer}",\n"shared": {{\n{same}\n}},\n"exchanges": [\n{lines}\n]}}\n')
    return path


def kept(group: str) -> list[Exchange]:
    """The exchanges of a group, in the order in which they were sent."""
    document = json.loads((RECORDED / f"{group}.json").read_text())
    same = document["shared"]
    return [
        Exchange(
            says=each["says"],
            request=_request(each["request"]),
            reply=_reply(each["reply"], same),
            wording=each.get("wording", False),
            free=each.get("free", ""),
        )
        for each in document["exchanges"]
    ]


def _request(written: dict[str, Any]) -> Request:
    query = [(name, value) for name, value in written.pop("query", [])]
    return Request(query=query, **{**written, "path": path_of(written["path"])})


def _reply(written: dict[str, Any], same: dict[str, Any]) -> Reply:
    headers = {"content-type": "application/json"} if "json" in written else {}
    return Reply(**{"headers": headers, **_resolved(written, same)})


def _shared(exchanges: Sequence[Exchange]) -> dict[str, str]:
    """What comes again, by its text: most searches answer with the same few."""
    texts = Counter(json.dumps(item) for each in exchanges for item in _listed(each.reply.json))
    return {text: f"{at}" for at, text in enumerate(texts) if texts[text] > 1 and len(text) > SHORT}


def _listed(body: Any) -> list[Any]:
    values = body.values() if isinstance(body, dict) else []
    return [item for each in values for item in (each if isinstance(each, list) else [each])]


def _abridged(body: Any, shared: dict[str, str]) -> Any:
    if not isinstance(body, dict):
        return body

    def item(each: Any) -> Any:
        name = shared.get(json.dumps(each))
        return each if name is None else {"$same": name}

    return {
        key: [item(one) for one in each] if isinstance(each, list) else item(each)
        for key, each in body.items()
    }


def _resolved(value: Any, same: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_resolved(each, same) for each in value]
    if isinstance(value, dict):
        if "$same" in value:
            return same[value["$same"]]
        return {key: _resolved(each, same) for key, each in value.items()}
    return value


def _laid_out(exchange: Exchange, shared: dict[str, str]) -> str:
    sent, got = exchange.request, exchange.reply
    request = {"method": sent.method, "path": sent.path.removeprefix(path_of(""))}
    request |= _present(query=[list(pair) for pair in sent.query] or None, json=sent.json, text=sent.text)
    request |= _present(headers=dict(sent.headers) or None)
    reply = {"status": got.status, **_present(headers=_telling(got) or None, text=got.text)}
    reply |= _present(json=_abridged(got.json, shared))
    parts: list[tuple[str, object]] = [("says", exchange.says), ("request", request), ("reply", reply)]
    if exchange.wording:
        parts.insert(1, ("wording", True))
    if exchange.free:
        parts.insert(1, ("free", exchange.free))
    return "{" + ",\n ".join(f'"{name}": {json.dumps(value)}' for name, value in parts) + "}"


def _present(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _telling(reply: Reply) -> dict[str, str]:
    """Headers worth comparing; JSON has its own type, and an error its status."""
    return {} if reply.json is not None or reply.status >= 400 else dict(reply.headers)
