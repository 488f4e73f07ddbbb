"""What MLflow's client for Java puts on the wire: its own messages, in protobuf's JSON, call by call.

Run by a Python that has MLflow, whose package holds the very messages of the client. What is sent is printed
as the client prints it: names as declared, only what is set, 64-bit numbers as texts, and the signs that its
printer escapes. What comes back is parsed into the messages of the replies, as the client does: a reply that
is no protobuf JSON fails. Artifacts are not here: that client has them moved by MLflow's Python command.
"""

from __future__ import annotations

import http.client
import json
import sys
from typing import Any
from urllib.parse import urlencode, urlsplit

from google.protobuf import json_format  # type: ignore[import-untyped]  # a library of the peer's
from mlflow.protos import model_registry_pb2 as models
from mlflow.protos import service_pb2 as service

START = 1_700_000_000_000
_ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "=": "\\u003d", "'": "\\u0027"}


def printed(message: Any) -> str:
    """A message as the client's printer writes it."""
    text: str = json_format.MessageToJson(message, preserving_proto_field_name=True, ensure_ascii=False)
    return "".join(_ESCAPED.get(sign, sign) for sign in text)


class Caller:
    """Sends a message and reads the reply into one; a refusal is its status and code."""

    def __init__(self, url: str) -> None:
        self._to = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)

    def post(self, path: str, message: Any, verb: str = "POST") -> Any:
        """Send a message as a body."""
        kind = type(message)
        return self._asked(verb, path, kind, printed(message).encode())

    def get(self, path: str, kind: Any, *query: tuple[str, str]) -> Any:
        """Ask by a query, in which names may repeat."""
        return self._asked("GET", f"{path}?{urlencode(query)}", kind, None)

    def _asked(self, verb: str, path: str, kind: Any, body: bytes | None) -> Any:
        headers = {
            "User-Agent": "mlflow-java-client/3.6.0",
            "Connection": "Keep-Alive",
            "Accept-Encoding": "gzip,deflate",
            **({"Content-Type": "application/json"} if body is not None else {}),
        }
        self._to.request(verb, f"/api/2.0/mlflow/{path}", body=body, headers=headers)
        reply = self._to.getresponse()
        if reply.headers.get("Content-Encoding"):
            raise AssertionError("packed, which this session does not undo")
        told = reply.read().decode()
        if reply.status != 200:
            return [reply.status, json.loads(told)["error_code"]]
        return json_format.Parse(told, kind.Response(), ignore_unknown_fields=True)


def experiments(call: Caller, told: dict[str, Any]) -> str:
    """Made, found, renamed, tagged, in the trash and back."""
    made = call.post("experiments/create", service.CreateExperiment(name="of Java"))
    told["twice"] = call.post("experiments/create", service.CreateExperiment(name="of Java"))
    missing = ("experiment_name", "not there & nowhere")
    told["unknown"] = call.get("experiments/get-by-name", service.GetExperimentByName, missing)
    one = made.experiment_id
    call.post("experiments/update", service.UpdateExperiment(experiment_id=one, new_name="by Java"))
    tag = service.SetExperimentTag(experiment_id=one, key="team", value="<äther> & 'co'=1")
    call.post("experiments/set-experiment-tag", tag)
    call.post("experiments/delete", service.DeleteExperiment(experiment_id=one))
    gone = service.SearchExperiments(
        max_results=1000, filter="attribute.name = 'by Java'", view_type=service.DELETED_ONLY
    )
    told["deleted"] = [each.name for each in call.post("experiments/search", gone).experiments]
    call.post("experiments/restore", service.RestoreExperiment(experiment_id=one))
    named = call.get("experiments/get-by-name", service.GetExperimentByName, ("experiment_name", "by Java"))
    found = named.experiment
    tags = {tag.key: tag.value for tag in found.tags}
    told["experiment"] = [found.experiment_id == one, found.lifecycle_stage, tags]
    return str(one)


def run(call: Caller, experiment: str, number: int) -> str:
    """A run with one of each call, and a batch."""
    begun = service.CreateRun(experiment_id=experiment, start_time=START + number, user_id="ann")
    made: str = call.post("runs/create", begun).run.info.run_id
    both = {"run_uuid": made, "run_id": made}
    call.post("runs/log-parameter", service.LogParam(**both, key="rate", value=f"0.{number}"))
    for step, value in ((0, 1.0), (2**40, 1e-05), (3, float("nan")), (4, float("-inf"))):
        point = service.LogMetric(**both, key=f"loss{step % 7}", value=value, timestamp=START, step=step)
        call.post("runs/log-metric", point)
    batch = service.LogBatch(
        run_id=made,
        metrics=[
            service.Metric(key="acc", value=number / 4, timestamp=START + step, step=step) for step in (0, 1)
        ],
        params=[service.Param(key="deep", value="yes"), service.Param(key="empty", value="")],
        tags=[service.RunTag(key="kept", value="a>b"), service.RunTag(key="gone", value="b")],
    )
    call.post("runs/log-batch", batch)
    call.post("runs/log-batch", service.LogBatch(run_id=made))
    call.post("runs/set-tag", service.SetTag(**both, key="mlflow.runName", value=f"run {number}"))
    call.post("runs/delete-tag", service.DeleteTag(run_id=made, key="gone"))
    ended = service.UpdateRun(**both, status=service.FINISHED, end_time=START + 1000)
    told = call.post("runs/update", ended)
    assert told.run_info.run_id == made
    return made


def runs(call: Caller, experiment: str, told: dict[str, Any]) -> str:
    """Three runs, read, found page by page, in the trash and back."""
    ids = [run(call, experiment, number) for number in (1, 2, 3)]
    both = {"run_uuid": ids[0], "run_id": ids[0]}
    told["changed"] = call.post("runs/log-parameter", service.LogParam(**both, key="rate", value="9"))
    query = (("run_uuid", ids[0]), ("run_id", ids[0]))
    told["run"] = _plain(call.get("runs/get", service.GetRun, *query).run)
    points = call.get("metrics/get-history", service.GetMetricHistory, *query, ("metric_key", "acc")).metrics
    told["history"] = [[point.value, point.timestamp, point.step] for point in points]
    asked = service.SearchRuns(
        experiment_ids=[experiment],
        filter="metrics.acc > 0.1 and params.deep = 'yes'",
        run_view_type=service.ACTIVE_ONLY,
        max_results=2,
        order_by=["metrics.acc DESC"],
    )
    first = call.post("runs/search", asked)
    asked.page_token = first.next_page_token
    second = call.post("runs/search", asked)
    told["pages"] = [[each.info.run_name for each in page.runs] for page in (first, second)]
    told["ends"] = second.next_page_token == ""
    wrong = service.SearchRuns(experiment_ids=[experiment], filter="metrics.acc >", max_results=5)
    told["wrong"] = call.post("runs/search", wrong)
    call.post("runs/delete", service.DeleteRun(run_id=ids[2]))
    told["refused"] = call.post("runs/set-tag", service.SetTag(run_id=ids[2], key="k", value="v"))
    call.post("runs/restore", service.RestoreRun(run_id=ids[2]))
    back = call.get("runs/get", service.GetRun, ("run_uuid", ids[2]), ("run_id", ids[2]))
    told["back"] = back.run.info.lifecycle_stage
    return ids[0]


def registry(call: Caller, run_id: str, told: dict[str, Any]) -> None:
    """A model with versions, stages asked for by repeated names, and the place of its files."""
    made = call.post("registered-models/create", models.CreateRegisteredModel(name="by Java"))
    told["model"] = made.registered_model.name
    for _ in range(2):
        new = models.CreateModelVersion(name="by Java", run_id=run_id, source=f"runs:/{run_id}/model")
        version = call.post("model-versions/create", new).model_version
        told[f"version {version.version}"] = [
            version.run_id == run_id,
            models.ModelVersionStatus.Name(version.status),
        ]
    moved = models.TransitionModelVersionStage(name="by Java", version="1", stage="Staging")
    told["moved"] = call.post("model-versions/transition-stage", moved).model_version.current_stage
    stages = (("name", "by Java"), ("stages", "Staging"), ("stages", "None"))
    latest = call.get("registered-models/get-latest-versions", models.GetLatestVersions, *stages)
    told["latest"] = sorted([each.version, each.current_stage] for each in latest.model_versions)
    update = models.UpdateModelVersion(name="by Java", version="1")
    told["updated"] = call.post("model-versions/update", update, "PATCH").model_version.version
    numbered = (("name", "by Java"), ("version", "1"))
    told["version"] = call.get("model-versions/get", models.GetModelVersion, *numbered).model_version.version
    place = call.get("model-versions/get-download-uri", models.GetModelVersionDownloadUri, *numbered)
    told["place"] = bool(place.artifact_uri)
    one = call.get("registered-models/get", models.GetRegisteredModel, ("name", "by Java"))
    told["registered"] = one.registered_model.name
    found = call.get("model-versions/search", models.SearchModelVersions, ("filter", "name='by Java'"))
    told["found"] = [each.version for each in found.model_versions]
    told["missing"] = call.get("registered-models/get", models.GetRegisteredModel, ("name", "no model"))


def _plain(run: Any) -> dict[str, Any]:
    data, info = run.data, run.info
    return {
        "info": [info.status, info.start_time, info.end_time, info.lifecycle_stage, info.run_name],
        "params": sorted([each.key, each.value] for each in data.params),
        "metrics": sorted([each.key, repr(each.value), each.step] for each in data.metrics),
        "tags": sorted([each.key, each.value] for each in data.tags),
    }


def main(url: str) -> None:
    """The whole session; the last line is what came back, without what a server chose."""
    told: dict[str, Any] = {}
    call = Caller(url)
    registry(call, runs(call, experiments(call, told), told), told)
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
