"""What the server says it has is there, and what it says it has not is not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from loopwright.app.assembling import assemble
from loopwright.surfaces.http import Application
from tests.surfaces.asking import ask
from tests.surfaces.mlflow.places import Place, placed

ASKED = {
    "traces": ("POST", "/api/3.0/mlflow/traces/search"),
    "assessments": ("GET", "/api/3.0/mlflow/traces/tr-1/assessments/a-1"),
    "evaluation_datasets": ("POST", "/api/3.0/mlflow/datasets/search"),
    "webhooks": ("GET", "/api/2.0/mlflow/webhooks"),
    "gateway": ("GET", "/api/3.0/mlflow/gateway/endpoints/list"),
    "graphql": ("POST", "/graphql"),
    "issues": ("POST", "/api/3.0/mlflow/issues/search"),
    "label_schemas": ("GET", "/api/3.0/mlflow/label-schemas/list"),
    "prompt_optimization": ("POST", "/api/3.0/mlflow/prompt-optimization/jobs"),
    "review_queues": ("GET", "/api/3.0/mlflow/review-queues/list"),
    "scorers": ("GET", "/api/3.0/mlflow/scorers/list"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with placed(tmp_path_factory.mktemp("about")) as made:
        yield made


@pytest.fixture(scope="module")
def whole(place: Place) -> Application:
    """The whole server, with its pages: they answer to what is nobody else's."""
    return assemble(place.workspace)


def test_every_feature_is_as_it_is_told(place: Place) -> None:
    told = ask(place.app, "GET", "/api/3.0/mlflow/server-info").json
    assert set(told["features_enabled"]) == set(ASKED)
    for feature, is_there in told["features_enabled"].items():
        method, path = ASKED[feature]
        answer = ask(place.app, method, path, value={} if method == "POST" else None)
        is_missing = answer.json.get("error_code") == "ENDPOINT_NOT_FOUND" or "no path" in str(answer.json)
        is_found = not is_missing
        assert is_found is is_there, (feature, answer.json)


def test_what_is_not_offered_is_refused_in_the_way_clients_know(place: Place) -> None:
    told = ask(place.app, "GET", "/api/3.0/mlflow/server-info").json
    proxy = "/api/2.0/mlflow-artifacts"
    for kind, method, path in (
        ("multipart_uploads_enabled", "POST", f"{proxy}/mpu/create/1/2/artifacts/a"),
        ("multipart_uploads_enabled", "POST", f"{proxy}/mpu/complete/1/2/artifacts/a"),
        ("multipart_uploads_enabled", "POST", f"{proxy}/mpu/abort/1/2/artifacts/a"),
        ("multipart_downloads_enabled", "GET", f"{proxy}/presigned/1/2/artifacts/a"),
        ("presigned_upload_run_id_supported", "POST", "/api/2.0/mlflow/artifacts/presigned-upload-url"),
        ("presigned_upload_model_id_supported", "POST", "/api/2.0/mlflow/artifacts/presigned-download-url"),
    ):
        answer = ask(place.app, method, path, value={} if method == "POST" else None)
        assert not told[kind]
        assert (answer.status, answer.json["error_code"]) == (501, "NOT_IMPLEMENTED")
        assert "is not supported for the current artifact repository" in answer.json["message"]
    assert (told["workspaces_enabled"], told["trace_archival_enabled"]) == (False, False)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/graphql", "/api/2.0/mlflow/none", "/ajax-api/3.0/mlflow/none", "/api"])
def test_what_is_not_here_is_told_as_clients_know_it(whole: Application, method: str, path: str) -> None:
    answer = ask(whole, method, path, value={} if method == "POST" else None)
    assert (answer.status, answer.json["error_code"]) == (404, "ENDPOINT_NOT_FOUND")
