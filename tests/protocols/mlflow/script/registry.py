"""The model registry: names, versions, stages, aliases, and the two searches."""

from __future__ import annotations

from typing import Any

from tests.protocols.mlflow.talking import Talk

__all__ = [
    "aliases",
    "model_versions",
    "model_versions_search",
    "registered_models",
    "registered_models_search",
    "stages",
]

START = 1_700_000_000_000
NOBODY = "0" * 32
STRICT = "MLflow lets it pass; it may as well be refused"
WIDER = "OR, NOT, brackets and NULL are understood"
SOURCE = "which other places are taken is ours to say"
MODELS, VERSIONS = "registered-models", "model-versions"


def made(talk: Talk, name: str, versions: int = 0, **more: Any) -> str:
    """A registered model with some versions whose source is a proxied artifact."""
    talk.post(f"{MODELS}/create", f"a model {name}", {"name": name, **more})
    for number in range(versions):
        body = {"name": name, "source": f"s3://bucket/{number}"}
        talk.post(f"{VERSIONS}/create", f"its version {number + 1}", body)
    return name


def registered_models(talk: Talk) -> None:
    tags = [{"key": "team", "value": "blue"}, {"key": "empty", "value": ""}]
    name = made(talk, "reg-one", tags=tags, description="what it is for")
    talk.get(f"{MODELS}/get", "read", {"name": name})
    _wrong_models(talk)
    talk.patch(f"{MODELS}/update", "another description", {"name": name, "description": "better"})
    talk.patch(f"{MODELS}/update", "an empty one", {"name": name, "description": ""})
    talk.patch(f"{MODELS}/update", "none", {"name": name})
    talk.patch(f"{MODELS}/update", "of none", {"name": "reg-none", "description": "x"})
    _model_tags(talk, name)
    talk.get(f"{MODELS}/get", "what it has now", {"name": name})
    talk.post(f"{VERSIONS}/create", "a version", {"name": name, "source": "s3://bucket/x"})
    talk.post(f"{MODELS}/rename", "renamed", {"name": name, "new_name": "reg-uno"})
    talk.get(f"{MODELS}/get", "the old name is no more", {"name": name})
    talk.get(f"{VERSIONS}/get", "its versions came along", {"name": "reg-uno", "version": "1"})
    made(talk, "reg-two")
    talk.post(f"{MODELS}/rename", "to a taken name", {"name": "reg-uno", "new_name": "reg-two"})
    talk.post(f"{MODELS}/rename", "to an empty name", {"name": "reg-uno", "new_name": ""})
    talk.post(f"{MODELS}/rename", "to no name", {"name": "reg-uno"})
    talk.post(f"{MODELS}/rename", "of none", {"name": "reg-none", "new_name": "reg-x"})
    talk.delete(f"{MODELS}/delete", "deleted", {"name": "reg-uno"})
    talk.get(f"{MODELS}/get", "is gone", {"name": "reg-uno"})
    talk.get(f"{VERSIONS}/get", "with its versions", {"name": "reg-uno", "version": "1"})
    talk.delete(f"{MODELS}/delete", "a second time", {"name": "reg-uno"})
    talk.delete(f"{MODELS}/delete", "no name", {}, wording=True)
    made(talk, "reg-uno", 1)
    talk.get(f"{MODELS}/get", "the name begins anew", {"name": "reg-uno"})


def _wrong_models(talk: Talk) -> None:
    talk.get(f"{MODELS}/get", "no such model", {"name": "reg-none"}, wording=True)
    talk.get(f"{MODELS}/get", "no name", wording=True)
    talk.post(f"{MODELS}/create", "a name that is taken", {"name": "reg-one"}, wording=True)
    talk.post(f"{MODELS}/create", "no name", {}, wording=True)
    for name in ("", " ", "a/b", "a:b", "..", "{n*256}", "{n*257}", "größe", "<script>"):
        free = STRICT if name == "{n*257}" else ""
        talk.post(f"{MODELS}/create", f"a name of {name[:9]!r}", {"name": name}, free=free)
    talk.post(f"{MODELS}/create", "a number for a name", {"name": 5}, wording=True)
    talk.post(f"{MODELS}/create", "tags that are none", {"name": "reg-t", "tags": "x"}, wording=True)
    talk.post(
        f"{MODELS}/create",
        "a tag twice",
        {"name": "reg-tags", "tags": [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]},
    )


def _model_tags(talk: Talk, name: str) -> None:
    def put(says: str, *, wording: bool = False, **body: Any) -> None:
        talk.post(f"{MODELS}/set-tag", says, {"name": name, **body}, wording=wording)

    put("a tag", key="stage", value="1")
    put("written over", key="stage", value="2")
    put("no value", key="none")
    put("no key", wording=True, value="x")
    put("a key too long", wording=True, key="{k*251}", value="x")
    put("a value of 5000", key="long", value="{v*5000}")
    put("a value of 100001", key="longer", value="{v*100001}")
    put("an odd key", key="a$b", value="x")
    talk.post(f"{MODELS}/set-tag", "of none", {"name": "reg-none", "key": "a", "value": "b"})
    talk.delete(f"{MODELS}/delete-tag", "a tag goes", {"name": name, "key": "long"})
    talk.delete(f"{MODELS}/delete-tag", "a second time", {"name": name, "key": "long"})
    talk.delete(f"{MODELS}/delete-tag", "no key", {"name": name}, wording=True)
    talk.delete(f"{MODELS}/delete-tag", "of none", {"name": "reg-none", "key": "a"})


def model_versions(talk: Talk) -> None:
    home = talk.experiment("versions-home")
    run = talk.run(home, "maker")
    name = made(talk, "ver-one")
    tags = [{"key": "t", "value": "1"}]
    source = f"mlflow-artifacts:/{home}/{run}/artifacts/model"
    body = {
        "name": name,
        "source": source,
        "run_id": run,
        "tags": tags,
        "description": "first",
        "run_link": "x",
    }
    talk.post(f"{VERSIONS}/create", "with all", body)
    talk.get(f"{VERSIONS}/get", "read", {"name": name, "version": "1"})
    talk.get(f"{VERSIONS}/get-download-uri", "where it is", {"name": name, "version": "1"})
    _sources(talk, name, home, run)
    _from_models(talk, name, home, run)
    _wrong_versions(talk, name)
    _version_changes(talk, name)
    talk.delete(f"{VERSIONS}/delete", "one goes", {"name": name, "version": "1"})
    talk.get(f"{VERSIONS}/get", "is gone", {"name": name, "version": "1"})
    talk.get(f"{VERSIONS}/get-download-uri", "and its place", {"name": name, "version": "1"})
    talk.delete(f"{VERSIONS}/delete", "a second time", {"name": name, "version": "1"})
    talk.post(
        f"{VERSIONS}/create", "its number is not used again", {"name": name, "source": source, "run_id": run}
    )
    talk.get(f"{MODELS}/get", "the model tells the latest of each stage", {"name": name})


def _sources(talk: Talk, name: str, home: str, run: str) -> None:
    taken = made(talk, "ver-taken")

    def make(says: str, source: str, **more: Any) -> None:
        talk.post(f"{VERSIONS}/create", says, {"name": name, "source": source, **more})

    make("from a run", f"runs:/{run}/model", run_id=run)
    make("from a run that is not named", f"runs:/{run}/model")
    make("from another run", f"runs:/{NOBODY}/model", run_id=run)
    make("from a bucket", "s3://bucket/model")
    make("from another version", f"models:/{name}/1")
    make("from another version that is none", f"models:/{name}/99")
    make("from an alias that is none", f"models:/{name}@none")
    make("from another's folder", f"mlflow-artifacts:/{home}/{NOBODY}/artifacts/model", run_id=run)
    for source in (
        "/etc/passwd",
        "file:///etc/passwd",
        "FILE:///etc",
        "./model",
        "../model",
        "mlflow-artifacts:/../x",
        "mlflow-artifacts:/a/%2e%2e/%2e%2e/x",
        "mlflow-artifacts://host:5000/x",
        "http:///#/../../etc",
        "http://169.254.169.254/x",
        "s3://b/../x",
        "C:\\x",
        "models:/",
        "runs:/",
        "dbfs:/x",
        "",
    ):
        talk.post(
            f"{VERSIONS}/create",
            f"from {source!r}",
            {"name": taken, "source": source},
            free=SOURCE if source == "dbfs:/x" else "",
        )


def _from_models(talk: Talk, name: str, home: str, run: str) -> None:
    body = {"experiment_id": home, "name": "logged", "source_run_id": run}
    model = talk.post("logged-models", "a logged model", body)["model"]["info"]["model_id"]
    body = {"name": name, "source": f"models:/{model}", "run_id": run, "model_id": model}
    talk.post(f"{VERSIONS}/create", "from a logged model", body)
    talk.post(
        f"{VERSIONS}/create", "and again", {"name": name, "source": f"models:/{model}", "model_id": model}
    )
    talk.get(f"logged-models/{model}", "which tells so by a tag")
    body = {"name": name, "source": f"models:/{model}", "model_id": "m-" + NOBODY}
    talk.post(f"{VERSIONS}/create", "from one that is none", body)
    found = talk.get(f"{VERSIONS}/search", "what came of all", {"filter": f"name = '{name}'"})
    latest = found["model_versions"][0]["version"]
    talk.get(f"{VERSIONS}/get-download-uri", "where the logged one is", {"name": name, "version": latest})


def _wrong_versions(talk: Talk, name: str) -> None:
    talk.post(
        f"{VERSIONS}/create", "of no model", {"name": "ver-none", "source": "s3://bucket/a"}, wording=True
    )
    talk.post(f"{VERSIONS}/create", "without a source", {"name": name}, wording=True)
    talk.post(f"{VERSIONS}/create", "without a name", {"source": "mlflow-artifacts:/a"}, wording=True)
    talk.post(
        f"{VERSIONS}/create",
        "of a run that is none",
        {"name": name, "source": "s3://bucket/a", "run_id": NOBODY},
        free=STRICT,
    )
    for version in ("99", "0", "-1", "x", "1.5", ""):
        talk.get(f"{VERSIONS}/get", f"version {version!r}", {"name": name, "version": version})
    talk.get(f"{VERSIONS}/get", "no version", {"name": name}, wording=True)
    talk.get(f"{VERSIONS}/get", "a version of none", {"name": "ver-none", "version": "1"})


def _version_changes(talk: Talk, name: str) -> None:
    one = {"name": name, "version": "1"}
    talk.patch(f"{VERSIONS}/update", "another description", {**one, "description": "better"})
    talk.patch(f"{VERSIONS}/update", "none", one)
    talk.patch(f"{VERSIONS}/update", "of none", {**one, "version": "99", "description": "x"})
    for key, value in (("t", "2"), ("u", ""), ("{k*251}", "x"), ("", "x"), ("v", "{v*5000}")):
        talk.post(f"{VERSIONS}/set-tag", f"a tag {key[:9]!r}", {**one, "key": key, "value": value})
    talk.post(f"{VERSIONS}/set-tag", "of none", {**one, "version": "99", "key": "a", "value": "b"})
    talk.post(f"{VERSIONS}/set-tag", "no version", {"name": name, "key": "a", "value": "b"})
    talk.delete(f"{VERSIONS}/delete-tag", "a tag goes", {**one, "key": "t"})
    talk.delete(f"{VERSIONS}/delete-tag", "a second time", {**one, "key": "t"})
    talk.delete(f"{VERSIONS}/delete-tag", "another goes", {**one, "key": "v"})
    talk.post(
        f"{VERSIONS}/set-tag",
        "a number for a version",
        {"name": name, "version": 1, "key": "n", "value": "1"},
    )
    talk.get(f"{VERSIONS}/get", "what it has now", one)


def stages(talk: Talk) -> None:
    name = made(talk, "stage-one", 3)

    def move(says: str, version: Any, stage: Any, archive: Any = False) -> None:
        body = {"name": name, "version": version, "stage": stage, "archive_existing_versions": archive}
        talk.post(f"{VERSIONS}/transition-stage", says, body)

    move("to staging", "1", "Staging")
    move("another beside it", "2", "Staging")
    move("in small letters", "2", "production")
    move("a third, the old one archived", "3", "Production", archive=True)
    talk.get(f"{MODELS}/get", "the latest of each stage", {"name": name})
    for stage in (["Staging"], ["Production", "Archived"], ["None"], ["production"], [], ["Nowhere"]):
        talk.post(f"{MODELS}/get-latest-versions", f"the latest of {stage}", {"name": name, "stages": stage})
    talk.get(f"{MODELS}/get-latest-versions", "by GET", {"name": name, "stages": "Staging"})
    talk.get(f"{MODELS}/get-latest-versions", "of all stages", {"name": name})
    talk.post(f"{MODELS}/get-latest-versions", "of none", {"name": "stage-none"})
    move("to the stage it has", "3", "Production")
    move("back to none", "1", "None")
    move("archive with none", "1", "None", archive=True)
    move("archive with archived", "1", "Archived", archive=True)
    move("a stage that is none", "1", "Nowhere")
    move("a version that is none", "99", "Staging")
    move("an empty stage", "1", "")
    move("archive as text", "1", "Staging", archive="true")
    talk.post(f"{VERSIONS}/transition-stage", "no stage", {"name": name, "version": "1"}, wording=True)
    talk.get(f"{VERSIONS}/search", "after all", {"filter": f"name = '{name}'"})


def aliases(talk: Talk) -> None:
    name = made(talk, "alias-one", 2)

    def put(says: str, alias: Any, version: Any, *, wording: bool = False) -> None:
        body = {"name": name, "alias": alias, "version": version}
        talk.post(f"{MODELS}/alias", says, body, wording=wording)

    put("set", "champion", "1")
    put("moved", "champion", "2")
    put("to where it is", "champion", "2")
    put("another", "challenger", "2")
    talk.get(f"{MODELS}/alias", "read", {"name": name, "alias": "champion"})
    talk.get(f"{MODELS}/get", "told by the model", {"name": name})
    talk.get(f"{VERSIONS}/get", "and by the version", {"name": name, "version": "2"})
    talk.get(f"{VERSIONS}/search", "and by the search", {"filter": f"name = '{name}'"})
    for alias in (
        "v1",
        "V12",
        "latest",
        "LATEST",
        "",
        "a b",
        "a/b",
        "a@b",
        "größe",
        "{a*255}",
        "{a*256}",
        "1",
        "-",
        "_x",
    ):
        put(f"an alias of {alias[:9]!r}", alias, "1")
    put("in other letters it is another", "Champion", "1")
    put("a version that is none", "new", "99")
    put("a version that is no number", "new", "x")
    put("a version as a number", "new", 1)
    talk.post(f"{MODELS}/alias", "of none", {"name": "alias-none", "alias": "a", "version": "1"})
    talk.post(f"{MODELS}/alias", "no version", {"name": name, "alias": "a"}, wording=True)
    talk.get(f"{MODELS}/alias", "one that is none", {"name": name, "alias": "none"}, wording=True)
    talk.get(f"{MODELS}/alias", "no alias", {"name": name}, wording=True)
    talk.get(f"{MODELS}/alias", "of none", {"name": "alias-none", "alias": "champion"})
    talk.delete(f"{MODELS}/alias", "one goes", {"name": name, "alias": "challenger"})
    talk.delete(f"{MODELS}/alias", "a second time", {"name": name, "alias": "challenger"})
    talk.delete(f"{MODELS}/alias", "of none", {"name": "alias-none", "alias": "x"})
    talk.delete(f"{VERSIONS}/delete", "a version goes", {"name": name, "version": "2"})
    talk.get(f"{MODELS}/alias", "its aliases with it", {"name": name, "alias": "champion"})
    talk.get(f"{MODELS}/get", "what is left", {"name": name})


WIDER_TEXTS = (
    "name = 'a' OR name = 'b'",
    "(name = 'a')",
    "name = 'a' AND",
    "tags.team IS NULL AND name ILIKE 'seekreg-%'",
    "aliases = 'x'",
    "current_stage = 'None'",
    "creation_timestamp > 0",
    "name IN ('seekver-a')",
    "source_path IN ('a')",
)


def registered_models_search(talk: Talk) -> None:
    for name, team in (
        ("seekreg-a", "red"),
        ("seekreg-b", "blue"),
        ("SEEKREG-c", "blue"),
        ("seekreg-d", None),
    ):
        made(talk, name, 1 if team else 0, tags=[{"key": "team", "value": team}] if team else [])

    def seek(says: str, text: str, *, free: str = "", **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = talk.get(f"{MODELS}/search", says, {"filter": text, **more}, free=free)
        return found

    mine = "name ILIKE 'seekreg-%'"
    seek("by name by default", mine)
    for text in (
        "name = 'seekreg-a'",
        "name LIKE 'seekreg-%'",
        "name ILIKE '%REG-b'",
        "name != 'seekreg-a' AND name ILIKE 'seekreg-%'",
        "tags.team = 'blue' AND name ILIKE 'seekreg-%'",
        "tags.team != 'blue' AND name ILIKE 'seekreg-%'",
        "tag.team LIKE 'r%' AND name ILIKE 'seekreg%'",
        "tags.`team` ILIKE 'R%'",
        'name = "seekreg-a"',
        "attribute.name = 'seekreg-a'",
        "name = 'SEEKREG-A'",
        "tags.team IS NULL AND name ILIKE 'seekreg-%'",
    ):
        seek(f"where {text}", text, free=WIDER if text in WIDER_TEXTS else "")
    for text in (
        "name > 'a'",
        "name == 'a'",
        "name = a",
        "name IN ('seekreg-a')",
        "name = 'a' OR name = 'b'",
        "(name = 'a')",
        "colour = 'x'",
        "tags.team > 'a'",
        "name",
        "name = 'a' AND",
        "run_id = 'x'",
        "version_number = 1",
        "metrics.a > 1",
    ):
        seek(f"refused: {text}", text, free=WIDER if text in WIDER_TEXTS else "")
    for order in (
        ["name DESC"],
        ["name ASC"],
        ["last_updated_timestamp DESC"],
        ["timestamp ASC"],
        ["last_updated_timestamp", "name DESC"],
        ["colour"],
        ["name UP"],
        ["creation_timestamp DESC"],
        ["tags.team"],
        ["name, timestamp"],
    ):
        query = [("filter", mine), *(("order_by", each) for each in order)]
        talk.get(f"{MODELS}/search", f"ordered by {order}", query)
    first = seek("a page of three", mine, max_results=3)
    seek("its rest", mine, max_results=3, page_token=first["next_page_token"])
    seek("a forged token", mine, page_token="zzz")
    for size in (0, -1, 1000, 1001, "x"):
        seek(f"a size of {size}", mine, free=STRICT if size in {0, -1} else "", max_results=size)
    made(talk, "seekreg-prompt", tags=[{"key": "mlflow.prompt.is_prompt", "value": "true"}])
    seek("prompts are not among models", mine)
    seek("unless asked for", "tags.`mlflow.prompt.is_prompt` = 'true' AND name LIKE 'seekreg-%'")
    seek("or asked for not", "tags.`mlflow.prompt.is_prompt` != 'true' AND name LIKE 'seekreg-%'")


def model_versions_search(talk: Talk) -> None:
    home = talk.experiment("seekver-home")
    run = talk.run(home, "maker")
    for name in ("seekver-a", "seekver-b"):
        made(talk, name)
        for number in range(3):
            place = f"mlflow-artifacts:/{home}/{run}/artifacts" if number else "s3://bucket"
            source = f"{place}/m{number}"
            body = {"name": name, "source": source, "tags": [{"key": "stage", "value": str(number)}]}
            more = {"run_id": run} if number else {}
            talk.post(f"{VERSIONS}/create", f"{name} {number + 1}", {**body, **more})
    talk.post(f"{MODELS}/alias", "an alias", {"name": "seekver-a", "alias": "champion", "version": "2"})

    def seek(says: str, text: str, *, free: str = "", **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = talk.get(f"{VERSIONS}/search", says, {"filter": text, **more}, free=free)
        return found

    mine = "name LIKE 'seekver-%'"
    seek("newest first by default", mine)
    for text in (
        "name = 'seekver-a'",
        "name LIKE 'seekver-%'",
        "name ILIKE 'SEEKVER-B'",
        "name != 'seekver-a' AND name LIKE 'seekver%'",
        f"run_id = '{run}'",
        f"run_id IN ('{run}', 'x')",
        f"name = 'seekver-a' AND run_id = '{run}'",
        "version_number = 2 AND name LIKE 'seekver-%'",
        "version_number > 1 AND name = 'seekver-b'",
        "version_number <= 1 AND name = 'seekver-b'",
        "tags.stage = '1' AND name LIKE 'seekver-%'",
        "tags.stage != '1' AND name = 'seekver-a'",
        "tags.stage LIKE '_' AND name = 'seekver-a'",
        f"source_path = 'mlflow-artifacts:/{home}/{run}/artifacts/m1'",
        "attribute.name = 'seekver-a'",
        "name = 'seekver-a' AND version_number != 2",
        "run_id = '' AND name LIKE 'seekver-%'",
        "name IN ('seekver-a')",
    ):
        seek(f"where {text}".replace(run, "RUN").replace(home, "HOME"), text)
    for text in (
        "name > 'a'",
        "name == 'a'",
        "version_number = 'x'",
        "version_number LIKE '1'",
        "version = 1",
        "run_id = 5",
        "run_id IN ()",
        "name = 'a' OR name = 'b'",
        "(name = 'a')",
        "colour = 'x'",
        "tags.stage > '1'",
        "name",
        "aliases = 'x'",
        "current_stage = 'None'",
        "run_id IN (1)",
        "source_path IN ('a')",
        "creation_timestamp > 0",
    ):
        seek(f"refused: {text}", text, free=WIDER if text in WIDER_TEXTS else "")
    for order in (
        ["name DESC", "version_number ASC"],
        ["version_number DESC", "name"],
        ["creation_timestamp ASC", "name"],
        ["last_updated_timestamp DESC", "name"],
        ["colour"],
        ["name UP"],
        ["run_id"],
        ["source_path"],
        ["tags.stage"],
    ):
        query = [("filter", mine), *(("order_by", each) for each in order)]
        talk.get(f"{VERSIONS}/search", f"ordered by {order}", query)
    first = seek("a page of three", mine, max_results=3)
    seek("its rest", mine, max_results=3, page_token=first["next_page_token"])
    seek("a forged token", mine, page_token="zzz")
    for size in (0, -1, 200_000, 200_001, "x"):
        seek(f"a size of {size}", mine, free=STRICT if size in {0, -1} else "", max_results=size)
