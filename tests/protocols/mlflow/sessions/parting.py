"""Clients that would send files in parts and fetch them elsewhere: told that it is not so here."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.protocols.mlflow.sessions.told import Told

__all__ = ["session"]


def session(mlflow: Any, told: Told) -> None:
    os.environ["MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD"] = "true"
    os.environ["MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD"] = "true"
    os.environ["MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE"] = "1024"
    repository = import_module("mlflow.store.artifact.http_artifact_repo").HttpArtifactRepository
    asked: list[str] = []
    for name in ("create_multipart_upload", "_get_presigned_download_url"):
        _counted(repository, name, asked)
    told.hide(mlflow.set_experiment("parting-session").experiment_id, "experiment")
    content = bytes(range(256)) * 24_000
    Path("large.bin").write_bytes(content)
    Path("small.bin").write_bytes(content[:100])
    with mlflow.start_run(run_name="parts") as run:
        mlflow.log_artifact("large.bin", "deep/er")
        mlflow.log_artifact("large.bin")
        mlflow.log_artifact("small.bin")
    told.tell("asked for parts", asked.count("create_multipart_upload"))
    back = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, dst_path="back"))
    told.tell("asked for an address", asked.count("_get_presigned_download_url"))
    sizes = {str(p.relative_to(back)): p.read_bytes() == content for p in back.rglob("large.bin")}
    told.tell("whole", dict(sorted(sizes.items())))
    told.tell("small", (back / "small.bin").read_bytes() == content[:100])


def _counted(repository: Any, name: str, asked: list[str]) -> None:
    before = getattr(repository, name)

    def counting(*given: Any, **named: Any) -> Any:
        asked.append(name)
        return before(*given, **named)

    setattr(repository, name, counting)
