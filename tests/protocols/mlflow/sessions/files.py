"""Artifacts by proxy: texts, dictionaries, tables, files, folders; read back; and datasets as inputs."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from tests.protocols.mlflow.sessions import shown
from tests.protocols.mlflow.sessions.told import Told, refusal

__all__ = ["session"]


def session(mlflow: Any, told: Told) -> None:
    client = mlflow.MlflowClient()
    told.hide(mlflow.set_experiment("files-session").experiment_id, "experiment")
    folder = Path("given")
    (folder / "deep").mkdir(parents=True)
    (folder / "a.bin").write_bytes(bytes(range(256)))
    (folder / "deep" / "größe b.txt").write_text("deep", encoding="utf-8")
    (folder / "empty").touch()
    with mlflow.start_run(run_name="files") as run:
        mlflow.log_text("hello", "texts/hello.txt")
        mlflow.log_dict({"a": [1, 2.5, None]}, "dict.json")
        mlflow.log_dict({"a": 1}, "dict.yaml")
        mlflow.log_table({"x": [1, 2], "y": ["a", "b"]}, "table.json")
        mlflow.log_artifact(str(folder / "a.bin"), "single")
        mlflow.log_artifacts(str(folder), "all")
        told.tell("uri", mlflow.get_artifact_uri("all"))
    run_id = run.info.run_id
    told.tell("files", shown.files(client, run_id))
    listed = client.list_artifacts(run_id, "all")
    told.tell("all", [[each.path, each.is_dir, each.file_size] for each in listed])
    told.tell("of nothing", client.list_artifacts(run_id, "none"))
    _read(mlflow, told, run_id)
    client.log_text(run_id, "hello again", "texts/hello.txt")
    told.tell("written over", mlflow.artifacts.load_text(f"runs:/{run_id}/texts/hello.txt"))
    _datasets(mlflow, client, told)


def _read(mlflow: Any, told: Told, run_id: str) -> None:
    told.tell("text", mlflow.artifacts.load_text(f"runs:/{run_id}/texts/hello.txt"))
    told.tell("dict", mlflow.artifacts.load_dict(f"runs:/{run_id}/dict.json"))
    table = mlflow.load_table("table.json", run_ids=[run_id])
    told.tell("table", table.to_dict("list"))
    back = Path(mlflow.artifacts.download_artifacts(f"runs:/{run_id}/all", dst_path="back"))
    read = {
        path.relative_to(back).as_posix(): len(path.read_bytes())
        for path in back.rglob("*")
        if path.is_file()
    }
    told.tell("back", dict(sorted(read.items())))
    missing = f"runs:/{run_id}/none.txt"
    told.tell("missing", refusal(lambda: mlflow.artifacts.load_text(missing)) != "no error")


def _datasets(mlflow: Any, client: Any, told: Told) -> None:
    pandas = import_module("pandas")
    frame = pandas.DataFrame({"a": [1.0, 2.0], "b": [3, 4]})
    data = mlflow.data.from_pandas(frame, source="here.csv", name="small", targets="b")
    with mlflow.start_run(run_name="reader") as run:
        mlflow.log_input(data, context="training", tags={"split": "1"})
        mlflow.log_input(data, context="training")
    inputs = client.get_run(run.info.run_id).inputs.dataset_inputs
    told.tell("inputs", [
        [each.dataset.name, each.dataset.digest, each.dataset.source_type, each.dataset.source,
         each.dataset.schema, each.dataset.profile, sorted((tag.key, tag.value) for tag in each.tags)]
        for each in inputs
    ])  # fmt: skip
    source = mlflow.data.get_source(inputs[0])
    told.tell("source", type(source).__name__)
    experiment = run.info.experiment_id
    found = client.search_runs([experiment], "dataset.name = 'small' AND dataset.context = 'training'")
    told.tell("readers", [each.info.run_name for each in found])
