"""The free functions of the modules that the operator of a process names: code that is installed there."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from importlib import import_module

from loopwright.core.errors import Invalid
from loopwright.features.nouns import FreeFunction

__all__ = ["functions_in"]

log = logging.getLogger(__name__)

_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*\Z")


def functions_in(modules: Iterable[str]) -> list[tuple[str, str, Callable[..., object]]]:
    """Name, digest and function of each `lw.feature_function` in the namespaces of the modules.

    `Invalid` for a module that cannot be imported. The setting alone names modules: what is computed is then
    found by name, and only where the digest of its source is that of the definition.
    """
    found: list[tuple[str, str, Callable[..., object]]] = []
    for name in modules:
        for value in vars(_imported(name)).values():
            definition = getattr(value, "definition", None)
            if isinstance(definition, FreeFunction) and callable(value):
                found.append((definition.name, definition.digest, value))
    return found


def _imported(name: str) -> object:
    if not _NAME.match(name):
        raise Invalid(f"{name[:80]!r} in feature_modules names no module", hint="name it as delays.features")
    try:
        return import_module(name)
    except (
        Exception
    ) as error:  # code of the operator's own may raise anything as it is imported, and is told as theirs
        log.exception("a module of feature functions cannot be imported", extra={"module_name": name})
        raise Invalid(
            f"the module {name} of feature_modules cannot be imported: {type(error).__name__}: {error}"[:300],
            hint="install it where this process runs, or take it out of the setting",
        ) from error
