"""Runs the command line and turns whatever happens into an exit code and a text for people."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

import click

from loopwright.core.errors import Fault, Invalid, LoopwrightError, Unavailable
from loopwright.surfaces.cli.output import Output

__all__ = ["INTERRUPTED", "carry_out"]

INTERRUPTED = 130
_USAGE = 2


def carry_out(root: click.Group, args: Sequence[str]) -> int:
    """The exit code of a command line: 0 done, 1 a check did not hold, and those of the errors."""
    output = Output()
    try:
        code = root.main(list(args), prog_name="loopwright", standalone_mode=False, obj=output)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        print_help(error)
        return _USAGE
    except click.UsageError as error:
        return _refuse(output, _told(error))
    except LoopwrightError as error:
        return _refuse(output, error)
    except (KeyboardInterrupt, click.Abort):
        output.note("stopped")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _refuse(output, _of_the_machine(error))
    except Exception as error:  # noqa: BLE001 - the last handler: kept in a file, told without a traceback
        return _refuse(output, _fault(error))
    return code if isinstance(code, int) else 0


def print_help(error: click.exceptions.NoArgsIsHelpError) -> None:
    """A group that was called alone shows its help."""
    click.echo(error.format_message(), err=True)


def _refuse(output: Output, error: LoopwrightError) -> int:
    with contextlib.suppress(OSError):  # where nothing can be said the code still tells
        output.error(error)
    return error.exit_code


def _told(error: click.UsageError) -> Invalid:
    path = error.ctx.command_path if error.ctx is not None else "loopwright"
    return Invalid(error.format_message().rstrip("."), hint=f"`{path} --help` says how it is used")


def _of_the_machine(error: OSError) -> Unavailable:
    where = str(error.filename) if error.filename else ""
    return Unavailable(
        f"the machine refused: {error.strerror or error}",
        hint="check the file, its folder and the disk",
        where=where,
    )


def _fault(error: Exception) -> Fault:
    descriptor, name = tempfile.mkstemp(prefix="loopwright-fault-", suffix=".txt")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        traceback.print_exception(error, file=file)
    return Fault(
        f"a mistake of ours: {type(error).__name__}",
        hint=f"please report it; {Path(name)} has the details",
    )
