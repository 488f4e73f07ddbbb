"""The registry by its client: names, versions, aliases, stages, tags, search, deletion, and loading."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

from tests.protocols.mlflow.sessions import shown
from tests.protocols.mlflow.sessions.told import Told, refusal

__all__ = ["session"]

NAME = "delay model"


def session(mlflow: Any, told: Told) -> None:
    warnings.simplefilter("ignore")
    client = mlflow.MlflowClient()
    told.hide(mlflow.set_experiment("registering-session").experiment_id, "experiment")
    linear, numpy = import_module("sklearn.linear_model"), import_module("numpy")
    x = numpy.arange(12.0).reshape(6, 2)
    for alpha in (0.1, 10.0):
        model = linear.Ridge(alpha=alpha).fit(x, x[:, 0])
        with mlflow.start_run():
            info = mlflow.sklearn.log_model(model, "model")
        made = mlflow.register_model(info.model_uri, NAME, tags={"alpha": str(alpha)})
        told.tell(f"version of {alpha}", [made.name, made.version, made.status])
    client.set_registered_model_alias(NAME, "champion", "2")
    loaded = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    told.tell("by alias", bool((loaded.predict(x) == model.predict(x)).all()))
    first = mlflow.sklearn.load_model(f"models:/{NAME}/1")
    told.tell("by number", first.alpha)
    told.tell("latest", mlflow.sklearn.load_model(f"models:/{NAME}/latest").alpha)
    _described(client, told)
    _stages(client, told)
    _found(client, told)
    _gone(client, told)


def _version(client: Any, number: str) -> dict[str, Any]:
    return {**shown.version(client.get_model_version(NAME, number)), "source": "left out"}


def _described(client: Any, told: Told) -> None:
    client.update_registered_model(NAME, description="says how late")
    client.set_registered_model_tag(NAME, "team", "blue")
    client.update_model_version(NAME, "1", description="the first")
    client.set_model_version_tag(NAME, "1", "checked", "yes")
    client.delete_model_version_tag(NAME, "1", "alpha")
    told.tell("one", _version(client, "1"))
    told.tell("champion", client.get_model_version_by_alias(NAME, "champion").version)
    model = client.get_registered_model(NAME)
    told.tell("model", [model.name, model.description, model.tags, model.aliases])
    told.tell("taken", refusal(lambda: client.create_registered_model(NAME)))
    told.tell("no alias", refusal(lambda: client.get_model_version_by_alias(NAME, "none")))
    told.tell("reserved", refusal(lambda: client.set_registered_model_alias(NAME, "latest", "1")))
    told.tell("place", client.get_model_version_download_uri(NAME, "1").startswith("mlflow-artifacts:/"))


def _stages(client: Any, told: Told) -> None:
    client.transition_model_version_stage(NAME, "1", "Production")
    client.transition_model_version_stage(NAME, "2", "Production", archive_existing_versions=True)
    latest = client.get_latest_versions(NAME, ["Production", "Archived"])
    told.tell("stages", sorted([each.version, each.current_stage] for each in latest))
    told.tell("no stage", refusal(lambda: client.transition_model_version_stage(NAME, "1", "Nowhere")))


def _found(client: Any, told: Told) -> None:
    for number in range(5):
        client.create_registered_model(f"other-{number}", tags={"even": str(number % 2 == 0)})
    for text in ("name LIKE 'other-%'", "tags.even = 'True'", f"name = '{NAME}'"):
        told.tell(f"models where {text}", [each.name for each in client.search_registered_models(text)])
    page = client.search_registered_models("name LIKE 'other-%'", max_results=3, order_by=["name DESC"])
    rest = client.search_registered_models(
        "name LIKE 'other-%'", max_results=3, order_by=["name DESC"], page_token=page.token
    )
    told.tell("pages", [[each.name for each in page], [each.name for each in rest]])
    for text in (f"name = '{NAME}'", "tags.checked = 'yes'", "version_number = 2"):
        told.tell(f"versions where {text}", [each.version for each in client.search_model_versions(text)])


def _gone(client: Any, told: Told) -> None:
    client.rename_registered_model(NAME, "late model")
    told.tell("renamed", [each.version for each in client.search_model_versions("name = 'late model'")])
    client.delete_registered_model_alias("late model", "champion")
    client.delete_model_version("late model", "1")
    told.tell("left", [each.version for each in client.search_model_versions("name = 'late model'")])
    client.delete_registered_model("late model")
    told.tell("gone", refusal(lambda: client.get_registered_model("late model")))
