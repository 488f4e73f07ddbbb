"""`lw.feature_function`: a free Python function as a feature, marked as not portable."""

from __future__ import annotations

import inspect
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, overload

from loopwright.app.faces import Face
from loopwright.core.digests import digest_bytes
from loopwright.core.errors import Invalid
from loopwright.core.schema import ColumnType
from loopwright.features.nouns import FreeFunction
from loopwright.workspace import Workspace

__all__ = ["FeatureFunction", "column_type", "feature_function", "hand_over"]

_TYPES: Mapping[object, ColumnType] = {
    bool: ColumnType.BOOL,
    int: ColumnType.INT,
    float: ColumnType.FLOAT,
    str: ColumnType.STRING,
    datetime: ColumnType.INSTANT,
}


class FeatureFunction:
    """A Python function as a feature; made by `lw.feature_function`, and still to be called as it was."""

    def __init__(self, function: Callable[..., Any], definition: FreeFunction) -> None:
        self._function = function
        self.definition = definition
        self.name: str = function.__name__

    def __call__(self, *given: Any, **named: Any) -> Any:
        """What the function itself gives."""
        return self._function(*given, **named)

    def __repr__(self) -> str:
        return f"<feature function {self.definition.name}, not portable>"

    def hand_over(self, workspace: Workspace) -> None:
        """From now on this process computes it for the workspace."""
        workspace.ports.functions.add(self.definition.name, self.definition.digest, self._function)


@overload
def feature_function(function: Callable[..., Any], /) -> FeatureFunction: ...


@overload
def feature_function(*, reads: Sequence[str] = ()) -> Callable[[Callable[..., Any]], FeatureFunction]: ...


def feature_function(
    function: Callable[..., Any] | None = None, /, *, reads: Sequence[str] = ()
) -> FeatureFunction | Callable[[Callable[..., Any]], FeatureFunction]:
    """Make a feature of a function of one row: it is given columns by the names of its parameters.

    Prefer an expression: every engine and server computes it. A function is computed only in processes that
    were given it, that is where the program that defines it runs; elsewhere it is refused. What is kept of it
    is its name and the digest of its source. It must give the same for the same values, is annotated with
    what it gives (`float`, `int`, `bool` or `str`), and is given None where there is no value, microseconds
    for an instant. `reads` names the columns in place of the parameters, such as `("plane.seats",)`.
    """
    if function is None:
        return lambda given: _made(given, tuple(reads))
    return _made(function, tuple(reads))


def _made(function: Callable[..., Any], reads: tuple[str, ...]) -> FeatureFunction:
    if not inspect.isfunction(function) or function.__name__ == "<lambda>":
        raise Invalid("a feature function has no name", hint="define it with def")
    definition = FreeFunction(
        name=f"{_home(function)}.{function.__qualname__}",
        digest=digest_bytes(_source(function).encode()),
        reads=reads or _parameters(function),
        gives=_given(function),
    )
    return FeatureFunction(function, definition)


def _home(function: Callable[..., Any]) -> str:
    """Its module; of a program that is run, what it would be imported as."""
    if function.__module__ != "__main__":
        return function.__module__
    stem = Path(inspect.getsourcefile(function) or "").stem
    return stem if stem.isidentifier() else "__main__"


def _source(function: Callable[..., Any]) -> str:
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError) as error:
        raise Invalid(
            f"the source of {function.__name__} cannot be read", hint="define it in a file or a notebook"
        ) from error


def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    found = inspect.signature(function).parameters.values()
    if not found or any(each.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD for each in found):
        raise Invalid(
            f"the parameters of {function.__name__} do not name columns",
            hint="give it one plain parameter for each column, or name them by reads=",
        )
    return tuple(each.name for each in found)


def _given(function: Callable[..., Any]) -> ColumnType:
    try:
        hints = typing.get_type_hints(function)
    except NameError as error:
        said = f"the annotations of {function.__name__} mean nothing: {error}"
        raise Invalid(said, hint="import what they name") from error
    if "return" not in hints:
        raise Invalid(
            f"{function.__name__} does not say what it gives", hint="annotate it, such as -> float | None"
        )
    return column_type(hints["return"], f"what {function.__name__} gives")


def column_type(kind: object, what: str) -> ColumnType:
    """The column type of a Python type (or None beside it), of its name, or of a column type itself."""
    if isinstance(kind, str) and kind in set(ColumnType):
        return ColumnType(kind)
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        inner = [each for each in typing.get_args(kind) if each is not types.NoneType]
        kind = inner[0] if len(inner) == 1 else kind
    try:
        return _TYPES[kind]
    except (KeyError, TypeError) as error:
        raise Invalid(f"{what} is no type of a column: {kind}", hint="use float, int, bool or str") from error


def hand_over(face: Face, functions: Iterable[FeatureFunction]) -> None:
    """Give functions to a workspace of this process; a server is never given code."""
    if isinstance(face, Workspace):
        for function in functions:
            function.hand_over(face)
