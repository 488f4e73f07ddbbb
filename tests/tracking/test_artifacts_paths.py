"""What a path means: told by a plain rule over all texts, and by a list of attacks."""

from __future__ import annotations

import posixpath
import unicodedata
from pathlib import PurePosixPath, PureWindowsPath
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Invalid
from loopwright.tracking.paths import PART_BYTES, PATH_BYTES, decoded, file_path, folder_path, name_of

REFUSED = [
    "",
    ".",
    "..",
    "...",
    "./.",
    "./x",
    "../x",
    "x/..",
    "x/../y",
    "x/../../y",
    "..%2fx",
    "%2e%2e/x",
    "%2E%2e%2Fx",
    "%252e%252e/x",
    "%25252e%25252e%25252fx",
    "..\\x",
    "..%5cx",
    "x\\..\\y",
    "/etc/passwd",
    "%2fetc/passwd",
    "//etc",
    "x//y",
    "x/",
    "C:\\x",
    "C:x",
    "c:/x",
    "x/D:/y",
    "\\\\host\\share",
    "file:///x",
    "file:/x",
    "FILE:x",
    "file:x",
    "file%3A%2F%2F%2Fx",
    "http://h/x",
    "s3:/b",
    "a\x00b",
    "a%00b",
    "a\nb",
    "a%0d%0ab",
    "a\x7fb",
    "a\u2028b",
    "a\u202eb",
    "x.",
    "x ",
    "x./y",
    ".. /y",
    "%ff",
    "%c0%ae%c0%ae/x",
    "\ud800",
    "a#b",
    "a%23b",
    "x" * 256,
    "ä" * 128,
    "/".join(["x" * 200] * 21),
    "%25" * 5000,
    "%" + "25" * 100 + "2e",
]
KEPT = {
    "a.txt": "a.txt",
    "sub/deep/b.json": "sub/deep/b.json",
    "with%20blank%20%C3%A4.txt": "with blank ä.txt",
    "100%": "100%",
    "a%b": "a%b",
    "a..b": "a..b",
    ".hidden": ".hidden",
    "..x": "..x",
    "model:v1.txt": "model:v1.txt",
    "k=1,v=2/x?.txt": "k=1,v=2/x?.txt",
    "a%2fb": "a/b",
    "Bild\u202f9.png": "Bild\u202f9.png",
    "👨\u200d👩\u200d👧.png": "👨\u200d👩\u200d👧.png",
    "x" * 255: "x" * 255,
    "~": "~",
    "$HOME/`id`;rm -rf x": "$HOME/`id`;rm -rf x",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_could_mean_another_place_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        file_path(text)
    assert caught.value.hint
    assert len(text) < 3 or text not in str(caught.value)


@pytest.mark.parametrize("text", KEPT)
def test_honest_names_are_kept(text: str) -> None:
    assert file_path(text) == KEPT[text]


def is_harmless(path: str) -> bool:
    """The rule another way: what the standard library makes of a path on either system stays where it is."""
    parts = path.split("/")
    windows = PureWindowsPath(path)
    joined = posixpath.normpath(posixpath.join("/root/files", path))
    return (
        joined == f"/root/files/{path}"
        and PurePosixPath(path).parts == tuple(parts)
        and not windows.drive
        and not windows.root
        and tuple(part.rstrip(". ") for part in parts) == windows.parts
        and all(0 < len(part.encode()) <= PART_BYTES for part in parts)
        and len(path.encode()) <= PATH_BYTES
        and not any(unicodedata.category(char) == "Cc" for char in path)
    )


pieces = st.sampled_from(
    [
        "a",
        ".",
        "..",
        "/",
        "\\",
        "%",
        "2e",
        "%2e",
        "%2f",
        "%5c",
        "%25",
        ":",
        "C",
        "file",
        " ",
        "\x00",
        "ä",
        "#",
    ]
)
texts = st.lists(pieces, max_size=12).map("".join) | st.text(max_size=40)


@given(texts)
def test_whatever_is_kept_is_harmless_on_every_system(text: str) -> None:
    try:
        path = file_path(text)
    except Invalid:
        return
    assert is_harmless(path)
    assert unquote(path, errors="strict") == path
    assert file_path(path) == path
    assert folder_path(f"{path}/") == folder_path(path) == path
    assert name_of(path) == PurePosixPath(path).name


@given(texts)
def test_how_often_it_is_encoded_does_not_matter(text: str) -> None:
    """Neither what is kept nor what is refused changes with it."""

    def seen(written: str) -> str | None:
        try:
            return file_path(written)
        except Invalid:
            return None

    try:
        plain = decoded(text.encode())
    except Invalid:
        return
    for _ in range(3):
        text = quote(text, safe="")
        assert seen(text) == seen(plain)


names = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="/\\%#:."),
    min_size=1,
    max_size=60,
)


@given(st.lists(names, min_size=1, max_size=5).map("/".join))
def test_plain_names_of_any_script_are_kept(path: str) -> None:
    assert file_path(path) == file_path(quote(path)) == path


@given(st.binary(max_size=60))
def test_any_bytes_are_text_or_refused(raw: bytes) -> None:
    try:
        text = decoded(raw)
    except Invalid:
        return
    assert decoded(text.encode()) == text


def test_the_root_is_a_folder_and_no_file() -> None:
    assert folder_path("") == ""
    for text in ("/", "%2f", "//"):
        with pytest.raises(Invalid):
            folder_path(text)
