"""Writes the reference pages from the declarations they describe: `python tools/reference.py [--check]`."""

import ast
import inspect
import sys
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

from loopwright.client.index import Entry, Parameter, load_index
from loopwright.core.errors import LoopwrightError
from loopwright.engine.wire import Failure
from loopwright.workspace import Settings

__all__ = ["PAGES", "main", "stale"]

FOLDER = Path(__file__).resolve().parents[1] / "docs/reference"
NOTICE = "<!-- Written by `make docs` from the declarations in the code: change them, not this page. -->"


def operations_page() -> str:
    """Every operation: its command, route, permission and parameters."""
    entries = sorted(load_index().entries.values(), key=lambda entry: entry.name)
    lines = [NOTICE, "", "# Operations", "", OPERATIONS_INTRODUCTION]
    for room, group in groupby(entries, key=lambda entry: entry.name.partition(".")[0]):
        lines += ["", f"## {room}"]
        for entry in group:
            lines += ["", *_operation(entry)]
    return "\n".join(lines) + "\n"


OPERATIONS_INTRODUCTION = """\
Each is declared once and reached in four ways: as a method of a workspace, as a method of a client, as a
command and as a route under `/api/v1`. Forms: *value* gives one document, *page* a page and the token of the
next, *stream* lines as they come, *blob* bytes up or down, *job* a job that goes on after the reply."""


def _operation(entry: Entry) -> Iterator[str]:
    yield f"### `{entry.name}`"
    yield ""
    yield entry.help.partition("\nArgs:\n")[0].rstrip()
    yield ""
    yield f"- command: `loopwright {entry.command}`"
    if entry.path:
        yield f"- route: `{entry.method} {entry.path}`"
    yield f"- form: {entry.form.value}; permission: " + (
        f"`{entry.scope}`" if entry.scope else "none, it is local"
    )
    if entry.parameters:
        yield ""
        yield from _table("Parameter", "In", "Kind", "Default", "What it is")
        for parameter in entry.parameters:
            yield _row(
                f"`{parameter.name}`", parameter.place, _kind(parameter), _default(parameter), parameter.help
            )


def _kind(parameter: Parameter) -> str:
    if parameter.choices:
        return ", ".join(f"`{choice}`" for choice in parameter.choices)
    return f"list of {parameter.item}" if parameter.kind == "list" else parameter.kind


def _default(parameter: Parameter) -> str:
    if parameter.required:
        return "required"
    return f"`{parameter.default}`" if parameter.default not in ("", None, [], {}) else ""


def errors_page() -> str:
    """Every error: its code, HTTP status and exit code."""
    lines = [NOTICE, "", "# Errors", "", ERRORS_INTRODUCTION, ""]
    lines += _table("Code", "HTTP status", "Exit code", "Class", "When")
    for error in _errors(LoopwrightError):
        meaning = (inspect.getdoc(error) or "").partition("\n")[0]
        lines.append(_row(f"`{error.code}`", error.status, error.exit_code, f"`{error.__name__}`", meaning))
    return "\n".join(lines) + "\n"


ERRORS_INTRODUCTION = f"""\
Each error says what is wrong, where, and what to do next; over HTTP it is a JSON object with the fields
{", ".join(f"`{field}`" for field in Failure.__struct_fields__)}.
Codes are stable: programs may rely on them."""


def _errors(parent: type[LoopwrightError]) -> Iterator[type[LoopwrightError]]:
    for error in sorted(parent.__subclasses__(), key=lambda error: (error.exit_code, error.code)):
        if error.__module__ == LoopwrightError.__module__:
            yield error
            yield from _errors(error)


def settings_page() -> str:
    """Every setting: its name in the environment and in the file, its default."""
    lines = [NOTICE, "", "# Settings", "", SETTINGS_INTRODUCTION, ""]
    lines += _table("Setting", "In the environment", "Default", "What it is")
    defaults = dict(
        zip(reversed(Settings.__struct_fields__), reversed(Settings.__struct_defaults__), strict=False)
    )
    for name, meaning in _field_documents().items():
        default = defaults.get(name)
        shown = f"`{default}`" if isinstance(default, str | int) and default != "" else ""
        in_environment = "" if "only from the file" in meaning else f"`LOOPWRIGHT_{name.upper()}`"
        lines.append(_row(f"`{name}`", in_environment, shown, meaning))
    return "\n".join(lines) + "\n"


SETTINGS_INTRODUCTION = """\
A setting is taken from the argument of the command or call, else from the environment, else from
`loopwright.toml` in the current folder or one above it, else it has its default."""


def _field_documents() -> dict[str, str]:
    """The text that follows each field of the settings, which Python itself does not keep."""
    struct = ast.parse(inspect.getsource(Settings)).body[0]
    assert isinstance(struct, ast.ClassDef)
    found = dict.fromkeys(Settings.__struct_fields__, "")
    for field, text in zip(struct.body, struct.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
        ):
            found[field.target.id] = str(ast.literal_eval(text.value))
    return found


def _table(*heads: str) -> list[str]:
    return [_row(*heads), _row(*["---"] * len(heads))]


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


PAGES: dict[str, Callable[[], str]] = {
    "operations.md": operations_page,
    "errors.md": errors_page,
    "settings.md": settings_page,
}


def stale() -> list[str]:
    """The pages that are not what the code declares."""
    files = {name: FOLDER / name for name in PAGES}
    return [name for name, file in files.items() if not file.exists() or file.read_text() != PAGES[name]()]


def main(arguments: list[str]) -> int:
    """Write what is stale; with `--check` only name it, and give 1 if there is any."""
    names = stale()
    for name in names:
        if "--check" not in arguments:
            FOLDER.mkdir(parents=True, exist_ok=True)
            (FOLDER / name).write_text(PAGES[name]())
        print(name)
    return 1 if names and "--check" in arguments else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
