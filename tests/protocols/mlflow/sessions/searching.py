"""Search of runs and experiments, page after page and as a frame."""

from __future__ import annotations

from typing import Any

from tests.protocols.mlflow.sessions.told import Told, refusal

__all__ = ["session"]

FILTERS = (
    "metrics.acc > 0.5",
    "metrics.acc > 0.2 AND params.model = 'tree'",
    "params.model ILIKE 'TR%'",
    "tags.team = 'blue'",
    "attributes.status = 'FINISHED'",
    "attributes.run_name LIKE 'r%'",
    "tags.none IS NULL",
    "attributes.start_time > 0",
)
ORDERS = (["metrics.acc DESC"], ["metrics.rare ASC"], ["params.model ASC", "metrics.acc DESC"], ["tags.team"])


def session(mlflow: Any, told: Told) -> None:
    client = mlflow.MlflowClient()
    experiment = mlflow.set_experiment("searching-session").experiment_id
    told.hide(experiment, "experiment")
    for number in range(12):
        with mlflow.start_run(run_name=f"r{number:02}"):
            mlflow.log_metric("acc", number / 12)
            mlflow.log_params({"model": "tree" if number % 2 else "linear", "number": number})
            if number % 3 == 0:
                mlflow.log_metric("rare", -number)
                mlflow.set_tag("team", "blue" if number % 2 else "red")
    for text in FILTERS:
        found = client.search_runs([experiment], text, order_by=["attributes.run_name"])
        told.tell(f"where {text}", [run.info.run_name for run in found])
    for order in ORDERS:
        found = client.search_runs([experiment], order_by=[*order, "attributes.run_name"])
        told.tell(f"by {order}", [run.info.run_name for run in found])
    _pages(client, told, experiment)
    _frame(mlflow, told, experiment)
    told.tell("a bad filter", refusal(lambda: client.search_runs([experiment], "metrics.acc >")))
    told.tell("a bad order", refusal(lambda: client.search_runs([experiment], order_by=["x y z"])))


def _pages(client: Any, told: Told, experiment: str) -> None:
    pages: list[list[str]] = []
    token = None
    while token or not pages:
        page = client.search_runs([experiment], max_results=5, order_by=["metrics.acc"], page_token=token)
        pages.append([run.info.run_name for run in page])
        token = page.token
    told.tell("pages", pages)


def _frame(mlflow: Any, told: Told, experiment: str) -> None:
    frame = mlflow.search_runs([experiment], "params.model = 'tree'", order_by=["metrics.acc DESC"])
    told.tell("columns", sorted(name for name in frame.columns if not name.startswith("tags.mlflow.source")))
    told.tell("rows", [[row["metrics.acc"], row["params.number"]] for _, row in frame.iterrows()])
    told.tell("missing", [str(value) for value in frame["metrics.rare"]])
    found = mlflow.search_runs(experiment_names=["searching-session"], max_results=3, output_format="list")
    told.tell("newest", [run.info.run_name for run in found])
