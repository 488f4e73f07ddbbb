"""One declaration of a use case, from which route, schema, command, client method and scope come."""

from __future__ import annotations

import collections.abc
import inspect
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from functools import cached_property, lru_cache
from types import ModuleType
from typing import Any, BinaryIO, ParamSpec, Protocol, TypeVar, cast

import msgspec

from loopwright.core.addresses import AssetName, check_name
from loopwright.core.errors import Corrupt, Fault, Invalid, NotFound
from loopwright.core.instants import parse_instant
from loopwright.core.nouns import Event, Job, Json
from loopwright.engine.damage import located
from loopwright.ports.ledger import Page

__all__ = [
    "Blob",
    "Form",
    "JobHandler",
    "Operation",
    "Reactor",
    "Upload",
    "decode_arguments",
    "handlers_in",
    "invoke",
    "on_event",
    "on_job",
    "operation",
    "operations_in",
    "perform",
    "reactors_in",
    "with_instants",
]

P = ParamSpec("P")
R = TypeVar("R")

_ROUTE = re.compile(r"(GET|POST|PUT|PATCH|DELETE) (/[a-z0-9{}_/.:-]*)\Z")
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


class Form(StrEnum):
    """The five forms of an operation."""

    VALUE = "value"
    PAGE = "page"
    STREAM = "stream"
    BLOB = "blob"
    JOB = "job"


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes sent by a caller: pieces in order, never a path. As a parameter it is the request's body."""

    chunks: Iterable[bytes]
    media_type: str = "application/octet-stream"


class Blob(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes for a caller: an open file, never a path."""

    file: BinaryIO
    size_bytes: int
    media_type: str = "application/octet-stream"
    filename: str = "download"


class Operation:
    """A declared use case: its name, scope, route, function and the schemas read from its signature."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str,
        scope: str,
        route: str,
        local: bool,
        workspace: bool,
        status: int,
        command: str,
    ) -> None:
        self.function = function
        self.name = name
        self.scope = scope
        self.local = local
        self.workspace = workspace
        self.status = status
        self.command = command or name.replace(".", " ").replace("_", "-")
        self.method, self.path = _split_route(name, route, local)

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return self.help.partition("\n")[0]

    @property
    def help(self) -> str:
        """The whole docstring."""
        return inspect.cleandoc(self.function.__doc__ or "")

    @cached_property
    def _hints(self) -> dict[str, Any]:
        return typing.get_type_hints(self.function, include_extras=True)

    @cached_property
    def parameters(self) -> tuple[inspect.Parameter, ...]:
        """The parameters behind the context, with their types resolved."""
        found = list(inspect.signature(self.function).parameters.values())[1:]
        return tuple(parameter.replace(annotation=self._hints[parameter.name]) for parameter in found)

    @property
    def path_names(self) -> tuple[str, ...]:
        """Names of the parameters that stand in the path."""
        return tuple(_PLACEHOLDER.findall(self.path))

    @cached_property
    def upload_name(self) -> str | None:
        """Name of the parameter that is the body as bytes, if there is one."""
        return next((p.name for p in self.parameters if p.annotation is Upload), None)

    @cached_property
    def asset_names(self) -> tuple[str, ...]:
        """Names of the parameters that name an asset, which are checked before the call."""
        return tuple(p.name for p in self.parameters if p.annotation == AssetName)

    @cached_property
    def instant_names(self) -> frozenset[str]:
        """Names of the parameters that are an instant."""
        return frozenset(
            p.name
            for p in self.parameters
            if p.annotation is datetime or datetime in typing.get_args(p.annotation)
        )

    @cached_property
    def request_type(self) -> type[msgspec.Struct]:
        """A struct of all parameters but an upload."""
        fields: list[Any] = []
        for parameter in self.parameters:
            if parameter.annotation is Upload:
                continue
            if parameter.default is inspect.Parameter.empty:
                fields.append((parameter.name, parameter.annotation))
            else:
                fields.append((parameter.name, parameter.annotation, parameter.default))
        title = "".join(part.title() for part in re.split(r"[._]", self.name))
        return msgspec.defstruct(
            f"{title}Request",
            fields,
            kw_only=True,
            forbid_unknown_fields=True,
            frozen=True,
        )

    @property
    def result_type(self) -> Any:
        """The return annotation, resolved."""
        return self._hints["return"]

    @cached_property
    def item_type(self) -> Any:
        """What a page or a stream holds; the result type itself for the other forms."""
        arguments = typing.get_args(self.result_type)
        return arguments[0] if self.form in (Form.PAGE, Form.STREAM) and arguments else self.result_type

    @cached_property
    def form(self) -> Form:
        """Which of the five forms, read from the return annotation."""
        origin = typing.get_origin(self.result_type) or self.result_type
        if origin is Page:
            return Form.PAGE
        if origin in (collections.abc.Iterator, Iterator):
            return Form.STREAM
        if origin is Blob:
            return Form.BLOB
        return Form.JOB if origin is Job and self.method != "GET" else Form.VALUE

    def __repr__(self) -> str:
        return f"<operation {self.name}>"


def _split_route(name: str, route: str, local: bool) -> tuple[str, str]:
    if local:
        return "", ""
    matched = _ROUTE.match(route)
    if matched is None:
        raise Fault(
            f"operation {name} has the route {route!r}",
            hint="write 'POST /models/{name}'",
        )
    return matched[1], matched[2]


class _Declared(Protocol):
    operation: Operation


def operation(
    name: str,
    *,
    scope: str,
    route: str = "",
    local: bool = False,
    workspace: bool = False,
    status: int = 200,
    command: str = "",
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare a use case; the function's first parameter is its `Context`.

    `name` is `slice.verb`; `scope` is `noun:right`; `command` is the words of the command line when
    they are not those of the name. A local operation takes the caller's own files and has no route;
    with `workspace` it works on the workspace of the caller's machine, else it needs none.
    """

    def declare(function: Callable[P, R]) -> Callable[P, R]:
        declared = Operation(
            function,
            name=name,
            scope=scope,
            route=route,
            local=local,
            workspace=workspace,
            status=status,
            command=command,
        )
        if not scope or not declared.help:
            raise Fault(f"operation {name} lacks a scope or a docstring")
        cast(_Declared, function).operation = declared
        return function

    return declare


def _found(modules: Iterable[ModuleType], attribute: str) -> Iterator[Any]:
    for module in modules:
        for value in vars(module).values():
            mark = getattr(value, attribute, None)
            if inspect.isfunction(value) and mark is not None and value.__module__ == module.__name__:
                yield mark


def operations_in(modules: Iterable[ModuleType]) -> dict[str, Operation]:
    """All operations declared in these modules by name; two of one name, route or command are a `Fault`."""
    found: dict[str, Operation] = {}
    seen: set[str] = set()
    for item in _found(modules, "operation"):
        for mark in (
            item.name,
            f"{item.method} {item.path}" if item.method else item.name,
            f"cli {item.command}",
        ):
            if mark in seen and not (mark == item.name and not item.method):
                raise Fault(f"two operations claim {mark!r}")
            seen.add(mark)
        found[item.name] = item
    return found


@lru_cache(maxsize=4096)
def _is_one_of(kind: str, kinds: tuple[str, ...]) -> bool:
    """Every reactor is asked of every event, and there are few kinds."""
    return any(kind.startswith(k) if k.endswith(".") else kind == k for k in kinds)


class Reactor(msgspec.Struct, frozen=True, kw_only=True):
    """What a slice or a loop does on events, called at least once and in order per subject."""

    name: str
    kinds: tuple[str, ...]
    """kinds of event; one that ends in `.` means all that start so"""
    function: Callable[[Any, Event], None]

    def wants(self, event: Event) -> bool:
        """Whether the event is of a kind it asked for."""
        return _is_one_of(event.kind, self.kinds)


class JobHandler(msgspec.Struct, frozen=True, kw_only=True):
    """How a job of an operation is carried out: `function(ctx, job)` gives its result."""

    operation: str
    function: Callable[[Any, Job], Json]
    beside: bool = False
    """it waits for others (a network), so it is carried out in threads beside the controller's own"""


def on_event(name: str, *kinds: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Mark `function(ctx, event)` as a reactor; its name keeps its place in the journal: never change it."""

    def mark(function: Callable[P, R]) -> Callable[P, R]:
        cast(Any, function).reactor = Reactor(name=name, kinds=kinds, function=cast(Any, function))
        return function

    return mark


def on_job(operation_name: str, *, beside: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Mark `function(ctx, job)` as what carries out the jobs of that name; `beside` as in a `JobHandler`."""

    def mark(function: Callable[P, R]) -> Callable[P, R]:
        cast(Any, function).job_handler = JobHandler(
            operation=operation_name, function=cast(Any, function), beside=beside
        )
        return function

    return mark


def reactors_in(modules: Iterable[ModuleType]) -> tuple[Reactor, ...]:
    """All reactors of these modules."""
    return tuple(_found(modules, "reactor"))


def handlers_in(modules: Iterable[ModuleType]) -> dict[str, JobHandler]:
    """All job handlers of these modules by operation."""
    return {handler.operation: handler for handler in _found(modules, "job_handler")}


def invoke(declared: Operation, ctx: Any, arguments: Json, *, upload: Upload | None = None) -> Any:
    """Decode the arguments by the signature, authorise, call: the one way every surface takes."""
    ctx.require(declared.scope)
    return perform(
        declared, ctx, msgspec.structs.asdict(decode_arguments(declared, arguments)), upload=upload
    )


def perform(declared: Operation, ctx: Any, values: Json, *, upload: Upload | None = None) -> Any:
    """Authorise and call with values that are decoded already (a surface that compiled its own decoding)."""
    ctx.require(declared.scope)
    for name in declared.asset_names:
        check_name(values[name])
    body = {}
    if declared.upload_name is not None:
        if upload is None:
            raise Invalid(f"{declared.name} needs a body", hint="send the bytes as the request's body")
        body[declared.upload_name] = upload
    try:
        return declared.function(ctx, **values, **body)
    except (Corrupt, NotFound) as error:
        raise located(ctx, error) from error


def with_instants(names: Iterable[str], values: Mapping[str, Any], *, where: str = "") -> dict[str, Any]:
    """The values with the texts under these names read as instants; a plain date is its midnight in UTC.

    `where` is what an error puts before the name.
    """
    found = dict(values)
    for name in names:
        text = found.get(name)
        if isinstance(text, str):
            try:
                found[name] = parse_instant(text)
            except Invalid as error:
                raise Invalid(error.message, hint=error.hint, where=where + name) from error
    return found


def decode_arguments(declared: Operation, arguments: Json) -> msgspec.Struct:
    """The arguments as the operation's request struct; texts are read as numbers where numbers are meant."""
    try:
        read = with_instants(declared.instant_names, arguments)
        return msgspec.convert(read, declared.request_type, strict=False)
    except msgspec.ValidationError as error:
        what, _, spot = str(error).partition(" - at `")
        names = ", ".join(declared.request_type.__struct_fields__)
        raise Invalid(
            f"{declared.name}: {what}",
            hint=f"its parameters are {names}" if names else "it takes no parameters",
            where=spot.rstrip("`").removeprefix("$."),
        ) from error
