"""Sources: what is ours, what is kept as text, and that nothing else gets in, in whatever spelling."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Invalid
from loopwright.registry.sources import Elsewhere, ModelFiles, OtherVersion, RunFiles, read_source

RUN = "0123456789abcdef0123456789abcdef"
MODEL = f"m-{RUN}"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (f"runs:/{RUN}/model", RunFiles(RUN, "model")),
        (f"runs:/{RUN}/a/b", RunFiles(RUN, "a/b")),
        (f"models:/{MODEL}", ModelFiles(MODEL)),
        (f"models:/{MODEL}/part", ModelFiles(MODEL, "part")),
        ("models:/delay model/3", OtherVersion("delay model", "3")),
        ("models:/delay@champion", OtherVersion("delay", "champion", is_alias=True)),
        (f"mlflow-artifacts:/7/{RUN}/artifacts/model", RunFiles(RUN, "model", "7")),
        (f"mlflow-artifacts:/7/{RUN}/artifacts", RunFiles(RUN, "", "7")),
        (f"mlflow-artifacts:/7/models/{MODEL}/artifacts", ModelFiles(MODEL)),
        ("s3://bucket/model", Elsewhere("s3://bucket/model")),
        (
            "abfss://box@account.dfs.core.windows.net/x",
            Elsewhere("abfss://box@account.dfs.core.windows.net/x"),
        ),
    ],
)
def test_places_that_are_known(text: str, meant: object) -> None:
    assert read_source(text) == meant


BAD = [
    "",
    " ",
    "/etc/passwd",
    "model",
    "./model",
    "../model",
    "C:\\x",
    "c:/x",
    "\\\\host\\share",
    "file:///etc/passwd",
    "FILE:///etc",
    "file:x",
    "http://169.254.169.254/x",
    "HTTPS://example.org/x",
    "http:///#/../../etc",
    "gopher://127.0.0.1/x",
    "ftp://host/x",
    "javascript:alert(1)",
    "data:text/html,x",
    "mlflow-artifacts:/../x",
    "mlflow-artifacts://host:5000/7/r/artifacts/x",
    f"mlflow-artifacts:/7/{RUN}/artifacts/../../other",
    "mlflow-artifacts:/x",
    f"runs://{RUN}/model",
    f"runs:/{RUN}",
    "runs:/",
    "models:/",
    "models:/@x",
    f"models://host/{MODEL}",
    "s3://b/../x",
    "s3://b/./x",
    "s3://b/x?y=../..",
    "s3://b/x#y",
    "s3://key:secret@bucket/x",
    "s3://key%3Asecret@bucket/x",
    "s3://b/x\x00y",
    "s3://b/x\ny",
    "s3://b/" + "x" * 2000,
]


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_place_for_a_model(text: str) -> None:
    with pytest.raises(Invalid):
        read_source(text)


@pytest.mark.parametrize(
    "text", [f"runs:/{RUN}/a/../../x", f"mlflow-artifacts:/7/{RUN}/artifacts/../x", "s3://b/../x"]
)
@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_dots_are_seen_however_often_they_are_encoded(text: str, rounds: int) -> None:
    head, _, tail = text.partition("..")
    dots = "%2e%2e"
    for _ in range(rounds - 1):
        dots = quote(dots)
    with pytest.raises(Invalid):
        read_source(f"{head}{dots}{tail}")


@pytest.mark.parametrize("text", BAD)
def test_what_was_refused_is_not_repeated(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        read_source(text)
    assert len(text.strip("./ ")) < 8 or text not in str(refused.value)


@given(st.text(max_size=60))
def test_any_text_is_a_place_or_is_refused(text: str) -> None:
    try:
        found = read_source(text)
    except Invalid:
        return
    assert not {".", ".."} & set(str(found).split("/"))


@given(
    st.sampled_from(["s3://b/", f"runs:/{RUN}/", "models:/", "mlflow-artifacts:/7/"]), st.text(max_size=40)
)
def test_a_folder_never_leads_out(head: str, tail: str) -> None:
    try:
        found = read_source(head + tail)
    except Invalid:
        return
    folder = getattr(found, "folder", "")
    assert not folder.startswith("/")
    assert ".." not in folder.split("/")
    assert "\\" not in folder


@pytest.mark.parametrize(
    "text", ["runs:/\udcce%89f/x", "s3://b/\ud800", "models:/m\udcff@x", "runs:%3s:%4%46f/\udcce%89f/%"]
)
def test_halves_of_signs_are_refused(text: str) -> None:
    """Also one that, with what is percent-encoded behind it, would be a letter."""
    with pytest.raises(Invalid):
        read_source(text)
