"""Evaluation datasets: made, filled, merged, searched, tagged, linked, deleted."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.protocols.mlflow.talking import Talk

__all__ = ["evaluation_datasets", "evaluation_datasets_search"]

ROOT = "/api/3.0/mlflow/datasets"


def _made(talk: Talk, name: str, says: str = "a dataset", **more: Any) -> str:
    time.sleep(0.005)  # lists are ordered by when each was made
    return str(talk.post(f"{ROOT}/create", says, {"name": name, **more})["dataset"]["dataset_id"])


def _records(*given: Any) -> dict[str, str]:
    return {"records": json.dumps(given)}


def evaluation_datasets(talk: Talk) -> None:
    experiment, other = talk.experiment("datasets-one"), talk.experiment("datasets-two")
    made = _made(
        talk,
        "questions",
        "a dataset with tags, of an experiment",
        experiment_ids=[experiment],
        tags=json.dumps({"team": "blue", "mlflow.user": "ann"}),
    )
    one = f"{ROOT}/{made}"
    talk.get(one, "it is read without its experiments")
    talk.get(f"{one}/records", "it has no records yet")
    talk.get(f"{one}/experiment-ids", "its experiments")
    first = {"inputs": {"q": "What?", "n": 1}, "expectations": {"answer": "That"}, "tags": {"a": "1"}}
    second = {
        "inputs": {"q": "Who?", "deep": {"x": [1, 2.5, None, True]}},
        "outputs": {"answer": "Ann", "score": 0.5},
        "source": {"source_type": "human", "source_data": {"source_id": "s1"}},
    }
    talk.post(f"{one}/records", "one record", _records(first))
    talk.get(f"{one}/records", "that record")
    talk.get(one, "a schema and a count have come")
    time.sleep(0.005)
    talk.post(f"{one}/records", "a second record", _records(second))
    again = {
        "inputs": {"n": 1, "q": "What?"},
        "expectations": {"more": 2},
        "tags": {"b": "2", "mlflow.user": "bob"},
    }
    talk.post(f"{one}/records", "the first again, its inputs in another order", _records(again))
    found = talk.get(f"{one}/records", "expectations and tags are joined")
    talk.get(one, "the schema has grown")
    talk.post(f"{one}/records", "an output that is no object", _records({**second, "outputs": "plain"}))
    talk.post(f"{one}/records", "no output any more", _records({**second, "outputs": None}))
    page = talk.get(f"{one}/records", "outputs are replaced, a page of one", {"max_results": 1})
    talk.get(
        f"{one}/records",
        "the next page",
        {"max_results": 1, "page_token": page["next_page_token"]},
    )
    talk.post(f"{one}/records", "no records", {"records": "[]"})
    talk.post(f"{one}/records", "records are needed", {})
    _linked(talk, one, experiment, other)
    _tagged(talk, one)
    ids = [each["dataset_record_id"] for each in found["records"]]
    talk.delete(f"{one}/records", "a record goes", {"dataset_record_ids": ids[:1]})
    talk.delete(f"{one}/records", "it is gone already", {"dataset_record_ids": ids[:1]})
    talk.get(one, "the count went down", free="a digest is of what is there, and less is there")
    talk.delete(one, "the dataset goes")
    talk.get(one, "it is gone")
    talk.get(f"{one}/experiment-ids", "it has no experiments")
    talk.get(f"{one}/records", "no records of what is gone", free="an empty list would hide the mistake")
    talk.post(
        f"{one}/records", "no record into what is gone", _records(first), free="what is not there is a 404"
    )
    talk.delete(one, "a second time is no mistake")


def _linked(talk: Talk, one: str, experiment: str, other: str) -> None:
    talk.post(f"{one}/add-experiments", "a second experiment", {"experiment_ids": [other, experiment]})
    talk.get(f"{one}/experiment-ids", "both")
    talk.post(f"{one}/add-experiments", "one that is not there", {"experiment_ids": ["424242"]})
    talk.post(f"{one}/remove-experiments", "the first goes", {"experiment_ids": [experiment]})
    talk.post(f"{one}/remove-experiments", "it is gone already", {"experiment_ids": [experiment]})
    talk.get(f"{one}/experiment-ids", "the second is left")


def _tagged(talk: Talk, one: str) -> None:
    talk.patch(f"{one}/tags", "tags are joined", {"tags": json.dumps({"team": "red", "new": "1"})})
    talk.delete(f"{one}/tags/new", "a tag goes")
    talk.delete(f"{one}/tags/none", "one that is not there")
    talk.get(one, "the tags that are left")
    talk.patch(f"{ROOT}/d-{'0' * 32}/tags", "no such dataset", {"tags": json.dumps({"a": "b"})})
    talk.delete(f"{ROOT}/d-{'0' * 32}/tags/a", "no tag of what is not there")
    talk.patch(f"{one}/tags", "tags are needed", {})


def evaluation_datasets_search(talk: Talk) -> None:
    experiment = talk.experiment("datasets-searched")
    _made(talk, "alpha", tags=json.dumps({"team": "blue", "mlflow.user": "ann"}), experiment_ids=[experiment])
    _made(talk, "beta", tags=json.dumps({"team": "red"}), experiment_ids=[experiment])
    _made(talk, "alphabet", tags=json.dumps({"team": "blue", "mlflow.user": "bob"}))
    here = {"experiment_ids": [experiment]}
    talk.post(f"{ROOT}/search", "those of an experiment", here)
    talk.post(f"{ROOT}/search", "those of one that has none", {"experiment_ids": ["424242"]})
    for text in (
        "name = 'alpha'",
        "name != 'alpha' AND tags.team = 'blue'",
        "name LIKE 'alpha%'",
        "name ILIKE 'ALPHA%'",
        "name IN ('alpha', 'beta')",
        "tags.team = 'red'",
        "tags.team LIKE 'b%'",
        "created_by = 'ann'",
        "last_updated_by = 'bob'",
        "created_time > 1700000000000",
        "last_update_time < 1700000000000",
        "created_time >= 'x'",
        "nonsense = 'x'",
        "params.a = 'x'",
        "name",
        "name = ",
    ):
        talk.post(f"{ROOT}/search", text, {"filter_string": text, "order_by": ["name ASC"]})
    wrong = {"filter_string": "name > 'a'"}
    talk.post(f"{ROOT}/search", "texts are not compared so", wrong, free="it is let pass, for nothing")
    for order in (
        "name ASC",
        "name DESC",
        "created_time ASC",
        "last_update_time DESC",
        "tags.team",
        "digest",
    ):
        talk.post(f"{ROOT}/search", f"by {order}", {"order_by": [order]})
    asked = {"max_results": 2, "order_by": ["name ASC"]}
    page = talk.post(f"{ROOT}/search", "a page of two", asked)
    talk.post(f"{ROOT}/search", "the next", {**asked, "page_token": page["next_page_token"]})
    talk.get(f"{ROOT}/search", "by GET", {"max_results": 1, "order_by": "name ASC"})
