"""Parameters of operations as arguments and options of the command line, and back."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from loopwright.client.index import Entry, Parameter
from loopwright.surfaces.cli.output import Output

__all__ = ["common_options", "json_option", "options_of", "values_of"]

_PREFIX = "p_"


class _JsonValue(click.ParamType[Any]):
    """JSON as text, `@FILE`, or `-` for standard input."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return msgspec.json.decode(self._bytes(value))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self.fail(f"{value[:60]!r} is not JSON: {error}. Write JSON, @FILE, or - for standard input")
        except OSError as error:
            self.fail(f"{value[1:]!r} cannot be read: {error.strerror}")

    @staticmethod
    def _bytes(value: str) -> bytes:
        if value == "-":
            return sys.stdin.buffer.read()
        return Path(value[1:]).read_bytes() if value.startswith("@") else value.encode()


_TYPES: Mapping[str, click.ParamType[Any]] = {
    "text": click.STRING,
    "integer": click.INT,
    "number": click.FLOAT,
    "json": _JsonValue(),
    "upload": click.Path(exists=True, dir_okay=False, allow_dash=True),
}


def _is_positional(parameter: Parameter) -> bool:
    return parameter.place in {"path", "upload", "argument"}


def options_of(entry: Entry) -> list[click.Parameter]:
    """What the command of an operation takes: path parts in order, a file to send, then options."""
    in_path = [name.strip("{}") for name in entry.path.split("/") if name.startswith("{")]
    positional = [p for p in entry.parameters if _is_positional(p)]
    positional.sort(key=lambda p: in_path.index(p.name) if p.name in in_path else len(in_path))
    options = [_option(p) for p in entry.parameters if not _is_positional(p)]
    return [*map(_argument, positional), *options]


def _argument(parameter: Parameter) -> click.Argument:
    kind = _TYPES.get(parameter.kind, click.STRING)
    if parameter.kind == "choice":
        kind = click.Choice(parameter.choices)
    metavar = "FILE" if parameter.place == "upload" else parameter.name.upper()
    return click.Argument([_PREFIX + parameter.name], required=parameter.required, type=kind, metavar=metavar)


def _option(parameter: Parameter) -> click.Option:
    flag = f"--{parameter.name.replace('_', '-')}"
    name = _PREFIX + parameter.name
    help_text = parameter.help + _default_text(parameter)
    if parameter.kind == "flag":
        words = f"{flag}/--no-{flag[2:]}"
        return click.Option([words, name], default=None, help=help_text, required=parameter.required)
    kind = click.Choice(parameter.choices) if parameter.kind == "choice" else _type_of(parameter)
    return click.Option(
        [flag, name],
        type=kind,
        multiple=parameter.kind == "list",
        required=parameter.required,
        help=help_text,
        metavar=None if parameter.kind == "choice" else _metavar(parameter),
    )


def _type_of(parameter: Parameter) -> click.ParamType[Any]:
    return _TYPES.get(parameter.item if parameter.kind == "list" else parameter.kind, click.STRING)


def _metavar(parameter: Parameter) -> str:
    return {"json": "JSON|@FILE", "integer": "N", "number": "X"}.get(parameter.kind, "TEXT")


def _default_text(parameter: Parameter) -> str:
    if parameter.required:
        return ""
    if parameter.default in (None, "", [], {}):
        return "  (may be repeated)" if parameter.kind == "list" else ""
    default = parameter.default
    return f"  [default: {default if isinstance(default, str) else msgspec.json.encode(default).decode()}]"


def values_of(entry: Entry, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that were given, by parameter name; an upload's value is the path."""
    found = {p.name: given.get(_PREFIX + p.name) for p in entry.parameters}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in found.items()
        if value is not None and value != ()
    }


def _keep(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    output: Output = ctx.find_object(Output) or Output()
    if value is not None:
        output.json_to = value


def json_option() -> click.Option:
    """`--json [FILE]`, which every command has; it sets where the command's output writes its document."""
    return click.Option(
        ["--json", "json_to"],
        is_flag=False,
        flag_value="-",
        default=None,
        metavar="[FILE]",
        expose_value=False,
        callback=_keep,
        is_eager=True,
        help="Write the result as one JSON document, to FILE or to standard output.",
    )


def common_options() -> list[click.Parameter]:
    """What every operation's command takes beside its own parameters."""
    return [
        json_option(),
        click.Option(["--workspace", "workspace"], metavar="DIR", help="The workspace's folder."),
        click.Option(["--url", "url"], metavar="URL", help="A server, in place of the local workspace."),
        click.Option(["--space", "space"], metavar="NAME", help="The space (project) to work in."),
    ]
