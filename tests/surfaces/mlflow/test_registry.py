"""The registry behind MLflow's protocol: gates refuse and say why, native versions are shown as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loopwright.core.manifests import Manifest
from loopwright.engine.publishing import prepare, publish
from loopwright.registry.verbs import guard
from tests.surfaces.asking import Answer, ask
from tests.surfaces.mlflow.places import Place, placed

API = "/api/2.0/mlflow"


def call(place: Place, method: str, path: str, value: Any = None) -> Answer:
    return ask(place.app, method, f"{API}/{path}", value=value)


def published(place: Place, name: str) -> None:
    """A version as training keeps one."""
    ctx = place.workspace.context()
    draft = prepare(
        ctx, name, Manifest(kind="model", body={"flavor": "lightgbm"}), facts={"flavor": "lightgbm"}
    )
    ctx.write(lambda tx: publish(ctx, tx, draft))


def test_versions_trained_here_are_shown_as_they_are(tmp_path: Path) -> None:
    with placed(tmp_path) as place:
        published(place, "delay")
        shown = call(place, "GET", "model-versions/get?name=delay&version=1").json["model_version"]
        assert (shown["source"], shown["status"]) == ("loopwright:/model:delay@1", "READY")
        listed = call(place, "GET", "registered-models/search").json["registered_models"]
        assert [each["name"] for each in listed] == ["delay"]
        assert listed[0]["latest_versions"][0]["version"] == "1"


def test_versions_brought_along_are_shown_by_hand_too(tmp_path: Path) -> None:
    with placed(tmp_path) as place:
        call(place, "POST", "registered-models/create", {"name": "delay"})
        call(place, "POST", "model-versions/create", {"name": "delay", "source": "s3://bucket/x"})
        versions = place.workspace.call("assets.versions", kind="model", name="delay").items
        assert [(each.number, each.facts["source"]) for each in versions] == [(1, "s3://bucket/x")]
        assert (
            place.workspace.call("versions.show", address="model:delay@1").body["source"] == "s3://bucket/x"
        )


def test_a_guarded_alias_is_refused_with_its_reason(tmp_path: Path) -> None:
    with placed(tmp_path) as place:
        published(place, "delay")
        guard(place.workspace.context(), "delay", "champion", ("policy:gate/delay",))
        body = {"name": "delay", "alias": "champion", "version": "1"}
        refused = call(place, "POST", "registered-models/alias", body)
        assert (refused.status, refused.json["error_code"]) == (403, "PERMISSION_DENIED")
        assert "policy:gate/delay" in refused.json["message"]
        free = call(place, "POST", "registered-models/alias", {**body, "alias": "mine"})
        assert free.status == 200


def test_nothing_is_a_server_error(tmp_path: Path) -> None:
    with placed(tmp_path) as place:
        call(place, "POST", "registered-models/create", {"name": "delay"})
        for source in ("s3://[", "s3://[::1", "runs:", "models:", "mlflow-artifacts:", "x:" * 50, "\ud7ff:/"):
            made = call(place, "POST", "model-versions/create", {"name": "delay", "source": source})
            assert made.status in {200, 400, 404}, source
        for version in ("9" * 400, "-1", "0x1", " 1", "1_0"):
            found = call(place, "GET", f"model-versions/get?name=delay&version={version.replace(' ', '%20')}")
            assert found.status in {200, 400, 404}, version
