"""Experiments: made, found, renamed, tagged, deleted, restored, and searched."""

from __future__ import annotations

from collections.abc import Callable

from tests.protocols.mlflow.talking import Talk

__all__ = ["experiments", "experiments_search"]

LEADS_OUT = "a place that leads out of its root is refused"
WIDER = "OR, NOT and brackets are understood; clauses need their AND"
Seek = Callable[..., dict[str, str]]


def experiments(talk: Talk) -> None:
    tags = [{"key": "team", "value": "blue"}, {"key": "mlflow.note.content", "value": "a *note*"}]
    one = talk.post("experiments/create", "with tags", {"name": "exp-one", "tags": tags})["experiment_id"]
    talk.get("experiments/get", "by id", {"experiment_id": one})
    talk.get("experiments/get-by-name", "by name", {"experiment_name": "exp-one"})
    talk.get("experiments/get", "the default one is there from the start", {"experiment_id": "0"})
    _wrong_names(talk, one)
    _locations(talk)
    _changes(talk, one)
    _tags(talk, one)
    _trash(talk, one)


def _wrong_names(talk: Talk, one: str) -> None:
    talk.get("experiments/get-by-name", "no such name", {"experiment_name": "exp-none"}, wording=True)
    talk.get("experiments/get", "no such id", {"experiment_id": "7399999999"}, wording=True)
    talk.get("experiments/get", "an id that is no number", {"experiment_id": "abc"})
    talk.get("experiments/get", "no id", wording=True)
    talk.get("experiments/get-by-name", "no name", wording=True)
    talk.post("experiments/create", "a name that is taken", {"name": "exp-one"})
    talk.post("experiments/create", "no name", {}, wording=True)
    talk.post("experiments/create", "an empty name", {"name": ""})
    talk.post("experiments/create", "blanks", {"name": "   "}, free="blanks are no name")
    talk.post("experiments/create", "a number for a name", {"name": 7}, wording=True)
    talk.post("experiments/create", "a null for a name", {"name": None}, wording=True)
    talk.post("experiments/create", "the longest name", {"name": "{n*500}"})
    talk.post("experiments/create", "a name too long", {"name": "{n*501}"}, wording=True)
    talk.post("experiments/create", "tags that are no list", {"name": "exp-t", "tags": "x"}, wording=True)
    talk.post("experiments/create", "names in other letters", {"name": "exp-Größe/日本 'q' \"d\""})
    talk.get("experiments/get-by-name", "found by them", {"experiment_name": "exp-Größe/日本 'q' \"d\""})


def _locations(talk: Talk) -> None:
    where = {"name": "exp-where", "artifact_location": "mlflow-artifacts:/elsewhere/x"}
    made = talk.post("experiments/create", "a place of its own", where)["experiment_id"]
    talk.get("experiments/get", "told as it was given", {"experiment_id": made})
    talk.run(made, "under that place")
    for number, location in enumerate(
        ("mlflow-artifacts:/a/../../etc", "file:///etc?x=../..", "s3://b/a#f/../..")
    ):
        body = {"name": f"exp-bad-{number}", "artifact_location": location}
        talk.post("experiments/create", f"a location that leads out: {location}", body, free=LEADS_OUT)


def _changes(talk: Talk, one: str) -> None:
    talk.post("experiments/update", "a new name", {"experiment_id": one, "new_name": "exp-uno"})
    talk.get("experiments/get", "has it", {"experiment_id": one})
    talk.get("experiments/get-by-name", "the old name is free", {"experiment_name": "exp-one"})
    talk.post("experiments/update", "no new name", {"experiment_id": one})
    talk.post("experiments/update", "a taken name", {"experiment_id": one, "new_name": "Default"})
    talk.post("experiments/update", "of none", {"experiment_id": "7399999999", "new_name": "x"})
    talk.post("experiments/update", "no id", {"new_name": "x"}, wording=True)


def _tags(talk: Talk, one: str) -> None:
    def put(says: str, **body: object) -> None:
        talk.post("experiments/set-experiment-tag", says, {"experiment_id": one, **body})

    put("a tag", key="stage", value="first")
    put("again", key="stage", value="second")
    put("an empty value", key="empty", value="")
    put("no value", key="none")
    put("no key", value="x")
    put("an odd key", key="a b/c.d-e_f:g", value="x")
    put("a key that is a path", key="../up", value="x")
    put("a long key", key="{k*251}", value="x")
    put("a long value", key="long", value="{v*5001}")
    talk.get("experiments/get", "all tags", {"experiment_id": one})
    talk.post("experiments/delete-experiment-tag", "one goes", {"experiment_id": one, "key": "stage"})
    talk.post(
        "experiments/delete-experiment-tag", "that is not there", {"experiment_id": one, "key": "stage"}
    )
    talk.get("experiments/get", "without it", {"experiment_id": one})
    body = {"experiment_id": "7399999999", "key": "a", "value": "b"}
    talk.post("experiments/set-experiment-tag", "of none", body)


def _trash(talk: Talk, one: str) -> None:
    run = talk.run(one, "inside")
    talk.post("experiments/delete", "deleted", {"experiment_id": one})
    talk.get("experiments/get", "can still be read", {"experiment_id": one})
    talk.get("experiments/get-by-name", "by name too", {"experiment_name": "exp-uno"})
    talk.get("runs/get", "its runs went with it", {"run_id": run})
    talk.post("experiments/create", "its name is still taken", {"name": "exp-uno"})
    talk.post("runs/create", "takes no runs", {"experiment_id": one, "start_time": 1_700_000_000_000})
    talk.post("experiments/update", "takes no name", {"experiment_id": one, "new_name": "exp-dos"})
    body = {"experiment_id": one, "key": "a", "value": "b"}
    talk.post("experiments/set-experiment-tag", "takes no tag", body)
    talk.post("experiments/delete", "a second time", {"experiment_id": one})
    talk.post("experiments/restore", "back again", {"experiment_id": one})
    talk.get("experiments/get", "active", {"experiment_id": one})
    talk.get("runs/get", "with its run", {"run_id": run})
    talk.post("experiments/restore", "a second time", {"experiment_id": one})
    talk.post("experiments/delete", "of none", {"experiment_id": "7399999999"})
    talk.post("experiments/restore", "of none", {"experiment_id": "7399999999"})
    talk.post("experiments/delete", "without an id", {}, wording=True)


def experiments_search(talk: Talk) -> None:
    for name, team in (("alpha", "red"), ("beta", "blue"), ("Gamma", "blue"), ("delta%", None)):
        tags = [{"key": "crew", "value": team}, {"key": "my key", "value": "1"}] if team else []
        talk.post("experiments/create", f"to be found: {name}", {"name": f"seek-{name}", "tags": tags})
    gone = talk.experiment("seek-gone")
    talk.post("experiments/delete", "one is deleted", {"experiment_id": gone})

    def seek(says: str, text: str | None, free: str = "", **more: object) -> dict[str, str]:
        body = {"max_results": 50, **({} if text is None else {"filter": text}), **more}
        found: dict[str, str] = talk.post("experiments/search", says, body, free=free)
        return found

    mine = "name LIKE 'seek-%'"
    seek("newest change first by default", mine)
    seek("all views", mine, view_type="ALL", order_by=["name"])
    seek("deleted only", mine, view_type="DELETED_ONLY")
    seek("active only", mine, view_type="ACTIVE_ONLY", order_by=["name ASC"])
    seek("a view that is none", mine, free="a view that is none is refused", view_type="SOME")
    _experiment_filters(seek, mine)
    _experiment_orders(seek, mine)
    first = seek("a page of two", mine, max_results=2, order_by=["name"])
    seek("the next", mine, max_results=2, order_by=["name"], page_token=first["next_page_token"])
    seek("a forged token", mine, page_token="bm90IGEgdG9rZW4=")
    talk.post("experiments/search", "no size", {"filter": mine})
    for size in (0, -1, 50_001, "abc", 1.5):
        talk.post("experiments/search", f"a size of {size}", {"filter": mine, "max_results": size})
    talk.post(
        "experiments/search", "a size as text", {"filter": mine, "max_results": "2", "order_by": ["name"]}
    )


WIDER_TEXTS = (
    "name = 'a' OR name = 'b'",
    "NOT name = 'a'",
    "(name = 'a')",
    "name = 'a' AND",
    "name IN ('seek-alpha')",
    "attributes.name = 'seek-beta'",
)


def _experiment_filters(seek: Seek, mine: str) -> None:
    for text in (
        "name = 'seek-alpha'",
        "name != 'seek-alpha' AND name LIKE 'seek-%'",
        "name ILIKE 'SEEK-G%'",
        "name LIKE 'SEEK-G%'",
        "attribute.name = 'seek-beta'",
        "attributes.name = 'seek-beta'",
        "tags.crew = 'blue'",
        "tag.crew = 'blue' AND name LIKE '%beta'",
        "tags.crew != 'blue' AND name LIKE 'seek-%'",
        "tags.crew LIKE 'b%'",
        "tags.crew ILIKE 'B%'",
        "tags.`my key` = '1' and tags.\"crew\" = 'red'",
        'name = "seek-alpha"',
        "name LIKE 'seek-delta\\%'",
        "name LIKE 'seek-_lpha'",
        "creation_time > 0 AND name = 'seek-alpha'",
        "last_update_time >= 1 AND name = 'seek-alpha'",
        "creation_time < 5 AND name LIKE 'seek-%'",
        "tags.crew IS NULL AND name LIKE 'seek-%'",
        "tags.crew IS NOT NULL AND name LIKE 'seek-%'",
        "tags.none = 'x'",
    ):
        seek(f"where {text}", text, free=WIDER if text in WIDER_TEXTS else "", order_by=["name ASC"])
    for text in (
        "name",
        "name =",
        "name = seek",
        "name == 'x'",
        "name > 'x'",
        "colour = 'x'",
        "creation_time = 'x'",
        "creation_time LIKE '1%'",
        "metrics.a > 1",
        "params.a = '1'",
        "name = 'a' OR name = 'b'",
        "NOT name = 'a'",
        "(name = 'a')",
        "name = 'a' AND",
        "name IN ('seek-alpha')",
        "tags.crew > 'a'",
        "'x' = name",
        "name = 'a",
        ";",
        "name = 'a'; DROP TABLE experiments",
    ):
        seek(f"refused: {text}", text, free=WIDER if text in WIDER_TEXTS else "")
    seek("by id", "experiment_id = '0'")
    seek("an empty filter is none", "", max_results=1, order_by=["creation_time ASC"])


def _experiment_orders(seek: Seek, mine: str) -> None:
    for order in (
        ["name DESC"],
        ["attribute.name asc"],
        ["creation_time DESC"],
        ["creation_time ASC", "name"],
        ["last_update_time ASC"],
        ["experiment_id DESC"],
        ["experiment_id"],
    ):
        seek(f"ordered by {order}", mine, order_by=order)
    for wrong in (["colour"], ["name UP"], ["tags.crew"], [""], ["name ASC DESC"], "name"):
        seek(f"no order: {wrong}", mine, order_by=wrong)
