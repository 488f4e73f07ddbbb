"""Reading much: histories in pages and samples, and the search of runs."""

from __future__ import annotations

from typing import Any

from tests.protocols.mlflow.talking import Talk

__all__ = ["histories", "runs_search"]

START = 1_700_000_000_000
NOBODY = "0" * 32


def histories(talk: Talk) -> None:
    home = talk.experiment("history-home")
    run, other = talk.run(home, "one"), talk.run(home, "two")
    points = {"key": "loss", "value": 0.5, "timestamp": START, "step": "{#}"}
    talk.post("runs/log-batch", "16 steps", {"run_id": run, "metrics": {"$each": 16, "$of": points}})
    few = [{"key": "loss", "value": 0.25 * n, "timestamp": START + n, "step": 12 * n} for n in range(3)]
    talk.post("runs/log-batch", "three steps", {"run_id": other, "metrics": few})
    query = {"run_id": run, "metric_key": "loss", "max_results": 7}
    page = talk.get("metrics/get-history", "a page", query)
    page = talk.get("metrics/get-history", "the next", {**query, "page_token": page["next_page_token"]})
    talk.get("metrics/get-history", "the last", {**query, "page_token": page["next_page_token"]})
    _wrong_histories(talk, query)
    _samples(talk, run, other)


def _wrong_histories(talk: Talk, query: dict[str, Any]) -> None:
    run = query["run_id"]
    talk.get("metrics/get-history", "no such key", {"run_id": run, "metric_key": "none"})
    talk.get("metrics/get-history", "no key", {"run_id": run}, wording=True)
    talk.get("metrics/get-history", "no run", {"metric_key": "loss"})
    talk.get("metrics/get-history", "of none", {"run_id": NOBODY, "metric_key": "loss"})
    talk.get("metrics/get-history", "a forged token", {**query, "page_token": "zzz"})
    talk.get(
        "metrics/get-history",
        "a size that is none",
        {**query, "max_results": "x"},
        free="a size that is no number may be refused",
    )
    talk.get("metrics/get-history", "a size of nothing", {**query, "max_results": 0})
    talk.get("metrics/get-history", "a size below nothing", {**query, "max_results": -1})


def _samples(talk: Talk, run: str, other: str) -> None:
    routes = ("metrics/get-history-bulk-interval", "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval")

    def sample(says: str, *more: tuple[str, Any], route: str = routes[0]) -> None:
        talk.get(route, says, [("run_ids", run), ("metric_key", "loss"), *more])

    sample("all fit")
    sample("for browsers", ("max_results", 4), route=routes[1])
    sample("five of sixteen", ("max_results", 5))
    sample("one", ("max_results", 1))
    sample("two runs", ("run_ids", other), ("max_results", 4))
    sample("a stretch", ("start_step", 4), ("end_step", 13), ("max_results", 4))
    sample("a stretch that holds nothing", ("start_step", 50), ("end_step", 60))
    sample("only a start", ("start_step", 10))
    sample("turned around", ("start_step", 20), ("end_step", 10))
    sample("a size of nothing", ("max_results", 0))
    sample("a size too large", ("max_results", 2501))
    sample("a size that is none", ("max_results", "x"))
    sample("a run that is none", ("run_ids", NOBODY))
    talk.get(routes[0], "no runs", [("metric_key", "loss")])
    talk.get(routes[0], "no key", [("run_ids", run)])
    talk.get(routes[0], "a key that is none", [("run_ids", run), ("metric_key", "none")])
    talk.get(routes[0], "101 runs", [("metric_key", "loss"), *(("run_ids", f"{n:032x}") for n in range(101))])
    bulk = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
    talk.get(bulk, "several runs whole", [("run_id", other), ("metric_key", "loss")])
    talk.get(bulk, "no runs at all", [("metric_key", "loss")])


def runs_search(talk: Talk) -> None:
    home, away = talk.experiment("search-home"), talk.experiment("search-away")
    _seeded(talk, home, away)

    def seek(says: str, text: str | None = None, *, free: str = "", **more: Any) -> dict[str, Any]:
        body = {"experiment_ids": [home], **({} if text is None else {"filter": text}), **more}
        found: dict[str, Any] = talk.post("runs/search", says, body, free=free)
        return found

    seek("newest first by default")
    seek("two experiments", experiment_ids=[home, away], order_by=["attributes.run_name"])
    seek("no experiments", experiment_ids=[])
    seek("an experiment that is none", experiment_ids=["7399999999"])
    seek("an experiment that is no number", experiment_ids=["abc"])
    seek("all views", run_view_type="ALL", order_by=["attributes.run_name"])
    seek("deleted only", run_view_type="DELETED_ONLY")
    seek("a view that is none", free="a view that is none is refused", run_view_type="SOME")
    for text in GOOD:
        seek(
            f"where {text}",
            text,
            free=WIDER if text in WIDER_TEXTS else BY_TAG if "user_id" in text else "",
            order_by=["attributes.run_name ASC"],
        )
    for text in BAD:
        seek(f"refused: {text}", text, free=WIDER if text in WIDER_TEXTS else "")
    for order in ORDERS:
        seek(f"ordered by {order}", order_by=order)
    for order in BAD_ORDERS:
        seek(f"no order: {order}", order_by=order)
    _pages(seek)


def _seeded(talk: Talk, home: str, away: str) -> None:
    """Six runs that differ in all that can be asked for."""
    values = {"a": 0.1, "b": 0.5, "c": 0.9, "d": "NaN", "e": None, "f": "Infinity"}
    for number, (name, value) in enumerate(values.items()):
        tags = [{"key": "mlflow.user", "value": "ann" if number % 2 else "bob"}]
        run = talk.run(home, name, START + 1000 * number, tags=tags)
        metrics = (
            [{"key": "acc", "value": value, "timestamp": START, "step": number}] if value is not None else []
        )
        metrics.append({"key": "my metric", "value": number, "timestamp": START, "step": 0})
        params = [{"key": "model", "value": "tree" if number < 3 else "Linear"}]
        params += [{"key": "lr", "value": f"0.{number}"}] if number != 2 else []
        more = [{"key": "team", "value": "blue"}] if number < 2 else [{"key": "my tag", "value": "50%"}]
        body = {"run_id": run, "metrics": metrics, "params": params, "tags": more}
        talk.post("runs/log-batch", f"what {name} holds", body)
        if number < 3:
            done = {
                "run_id": run,
                "status": "FINISHED" if number else "FAILED",
                "end_time": START + 5000 + number,
            }
            talk.post("runs/update", f"{name} ends", done)
    talk.run(away, "z", START + 9000)
    gone = talk.run(home, "gone", START + 100)
    talk.post("runs/delete", "one is deleted", {"run_id": gone})


def _pages(seek: Any) -> None:
    first = seek("a page of two", max_results=2, order_by=["metrics.acc DESC"])
    token = first["next_page_token"]
    second = seek("the next", max_results=2, order_by=["metrics.acc DESC"], page_token=token)
    seek("the last", max_results=2, order_by=["metrics.acc DESC"], page_token=second["next_page_token"])
    first = seek("a page by the default order", max_results=4)
    seek("its rest", max_results=4, page_token=first["next_page_token"])
    seek("a page that is just full", max_results=6)
    seek("a forged token", page_token="bm90IGEgdG9rZW4=")
    seek("a token that is no base64", page_token="%%%")
    for size in (0, -1, 50_001, "x"):
        seek(f"a size of {size}", max_results=size)
    seek("a size as text", max_results="1")


BY_TAG = "the user of a run is whom its tag tells; clients tell it in both places"
WIDER = "OR, NOT, brackets and more lists are understood; clauses need their AND, and keys a name"
WIDER_TEXTS = (
    "metrics.acc > 0.4 OR metrics.acc < 0.2",
    "NOT metrics.acc > 0.4",
    "(metrics.acc > 0.4)",
    "metrics.acc > 0.4 AND",
    "AND metrics.acc > 0.4",
    "params.'a' = 'x'",
    "params.model = 'tree' params.lr = '0.1'",
    "metrics. > 1",
    "attributes.run_name IN ('a', 'b')",
    "status IN ('FINISHED', 'FAILED')",
    "end_time IS NOT NULL",
    "params.model IN ('tree')",
    "metrics.acc IS NULL",
)
GOOD = (
    "metrics.acc > 0.4",
    "metrics.acc >= 0.5 AND metrics.acc < 0.95",
    "metrics.acc != 0.5",
    "metrics.acc = 0.5",
    "metric.acc <= 0.1",
    "metrics.`my metric` > 3",
    'metrics."my metric" = 1',
    "metrics.none > 0",
    "metrics.acc > -1e3",
    "metrics.acc > .05",
    "metrics.acc > 0.4 and params.model = 'tree'",
    "params.model = 'tree'",
    "param.model != 'tree'",
    "parameters.model LIKE 't%'",
    "params.model ILIKE 'L%'",
    "params.model LIKE 'l%'",
    "params.lr IS NULL",
    "params.lr IS NOT NULL",
    "params.none != 'x'",
    'params.model = "tree"',
    "params.lr LIKE '0._'",
    "tags.team = 'blue'",
    "tag.team != 'red'",
    "tags.`my tag` = '50%'",
    "tags.`my tag` LIKE '50\\%'",
    "tags.team IS NULL",
    "tags.team IS NOT NULL",
    "tags.mlflow.user = 'ann'",
    "tags.`mlflow.user` ILIKE 'A__'",
    "attributes.status = 'FINISHED'",
    "attribute.status != 'RUNNING'",
    "attr.status = 'FAILED'",
    "run.status LIKE 'F%'",
    "status = 'RUNNING'",
    "attributes.run_name = 'a'",
    "run_name LIKE '%'",
    "attributes.`run name` = 'a'",
    "attributes.Run_Name = 'a'",
    "attributes.start_time >= 1700000002000",
    "start_time < 1700000002000",
    "attributes.end_time = 1700000005001",
    "end_time IS NOT NULL",
    "attributes.user_id = 'ann'",
    "attributes.run_id IN ('x', 'y')",
    "attributes.run_id NOT IN ('x')",
    "attributes.run_name IN ('a', 'b')",
    "attributes.artifact_uri LIKE 'mlflow-artifacts:%'",
    "status IN ('FINISHED', 'FAILED')",
    "run_name ILIKE 'A'",
    "  metrics.acc   >  0.4  ",
    "attributes.created > 1700000003500",
    "dataset.name = 'none'",
    "datasets.digest IN ('a')",
    "",
)
BAD = (
    "metrics.acc > 'x'",
    "metrics.acc LIKE '1%'",
    "metrics.acc IS NULL",
    "metrics.acc IN (1, 2)",
    "metrics.acc == 0.5",
    "params.model > 'a'",
    "params.model = tree",
    "params.model = 1",
    "params.model IN ('tree')",
    "tags.team = 1",
    "attributes.status > 'A'",
    "attributes.start_time LIKE '1%'",
    "attributes.start_time = 'x'",
    "colour = 'x'",
    "attributes.colour = 'x'",
    "things.a = 'x'",
    "dataset.colour = 'x'",
    "metrics.acc > 0.4 OR metrics.acc < 0.2",
    "NOT metrics.acc > 0.4",
    "(metrics.acc > 0.4)",
    "metrics.acc > 0.4 AND",
    "AND metrics.acc > 0.4",
    "metrics.acc",
    "metrics.acc >",
    "0.4 < metrics.acc",
    "metrics.acc > 0.4, metrics.acc < 1",
    "params.model = 'tree",
    "params.'a' = 'x'",
    "params.model = 'tree' params.lr = '0.1'",
    "params.model LIKE",
    "params.model IS",
    "params.model NOT NULL",
    "attributes.run_id IN ()",
    "attributes.run_id IN (1)",
    "metrics.acc > 1; DROP TABLE runs",
    "lifecycle_stage = 'x'",
    "metrics. > 1",
    "metrics.a b > 1",
    "metrics.acc > NaN",
    "metrics.acc BETWEEN 0 AND 1",
    "run_name RLIKE 'a'",
)
ORDERS: tuple[list[str], ...] = (
    ["metrics.acc DESC"],
    ["metrics.acc ASC"],
    ["metrics.acc"],
    ["metrics.`my metric` DESC"],
    ["params.model"],
    ["params.lr DESC"],
    ["tags.team"],
    ["tags.`my tag` DESC", "metrics.acc"],
    ["attributes.start_time ASC"],
    ["start_time DESC"],
    ["attributes.end_time ASC"],
    ["attributes.end_time DESC"],
    ["status"],
    ["attributes.run_name DESC"],
    ["metrics.none ASC"],
    ["params.model ASC", "metrics.acc DESC"],
    ["attribute.status asc", "attribute.run_name desc"],
    ["run.Created DESC", "run_name"],
    ["tags.mlflow.user", "run_name"],
)
BAD_ORDERS: tuple[Any, ...] = (
    ["colour"],
    ["metrics.acc UP"],
    ["metrics.acc DESC ASC"],
    [""],
    ["dataset.name"],
    ["attributes.colour"],
    ["metrics.acc, params.lr"],
    "metrics.acc",
    ["metrics.acc; DROP"],
    [1],
    ["attributes.lifecycle_stage"],
)
