"""MLmodel files: plain YAML without tags or aliases, and places that never leave their folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from loopwright.core.errors import Invalid, TooLarge
from loopwright.core.nouns import Json
from loopwright.core.plain_yaml import read_yaml
from loopwright.tracking.paths import file_path

__all__ = ["MAX_BYTES", "MLMODEL", "FlavorSection", "chosen_flavor", "read_mlmodel", "write_yaml"]

MLMODEL = "MLmodel"
MAX_BYTES = 4 << 20
_FUNCTION = "python_function"
_PLACES = ("data", "pickled_model", "model_path", "python_model", "model_data")
"""fields of a section that name a file or a folder of the package"""
_FORBIDDEN = ("code", "model_code_path", "artifacts")
"""fields that bring code, or files of other places, along"""


class FlavorSection(msgspec.Struct, frozen=True, kw_only=True):
    """The section of MLmodel a model is loaded by."""

    name: str
    settings: Json


def write_yaml(value: Any) -> bytes:
    """Plain YAML, keys in the order given."""
    import yaml

    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=False)
    return text.encode()


def read_mlmodel(data: bytes) -> Json:
    """The content of an MLmodel file; `Invalid` for one with tags, aliases or another form."""
    if len(data) > MAX_BYTES:
        raise TooLarge(f"the MLmodel file has {len(data):,} bytes", hint=f"at most {MAX_BYTES:,} are read")
    try:
        found = read_yaml(data)
    except Invalid as error:
        raise _refused(error.message.removeprefix("it "), error.hint) from error
    if not isinstance(found, dict) or not isinstance(found.get("flavors"), dict):
        raise _refused("names no flavors", "save the model again")
    return found


def chosen_flavor(content: Json, known: Mapping[str, object], files: Mapping[str, Any]) -> FlavorSection:
    """The section to load by: a framework's own before `python_function`.

    `Invalid` when none is known, when one brings code along, or names a place outside of the package.
    """
    sections = content["flavors"]
    for name, section in sections.items():
        if not isinstance(section, dict):
            raise _refused(f"has a section {str(name)[:60]!r} that is no mapping", "save the model again")
        _check(str(name), section, files)
    name = next((each for each in sections if each in known and each != _FUNCTION), "")
    if not name and _FUNCTION in sections:
        name = _FUNCTION
    if name not in known:
        told = ", ".join(str(each)[:60] for each in list(sections)[:8])
        raise _refused(
            f"has the flavors {told}, of which none can be loaded here", "known are " + ", ".join(known)
        )
    return FlavorSection(name=name, settings=sections[name])


def _check(name: str, section: Json, files: Mapping[str, Any]) -> None:
    for field in _FORBIDDEN:
        if section.get(field):
            raise _refused(
                f"brings {field!r} along in {name[:60]!r}, which is never run or followed",
                "save the model without code paths and artifacts, or load it with MLflow itself",
            )
    for field in _PLACES:
        place = section.get(field)
        if place is None:
            continue
        if not isinstance(place, str):
            raise _refused(f"has a {field!r} in {name[:60]!r} that is no text", "save the model again")
        try:
            path = file_path(place)
        except Invalid as error:
            raise _refused(
                f"points outside of its folder with {field!r} of {name[:60]!r}", "nothing there is ever read"
            ) from error
        if path not in files and not any(each.startswith(f"{path}/") for each in files):
            raise _refused(
                f"names a file for {field!r} of {name[:60]!r} that is not there", "copy the whole folder"
            )


def _refused(what: str, hint: str) -> Invalid:
    return Invalid(f"the MLmodel file {what}", hint=hint, where=MLMODEL)
