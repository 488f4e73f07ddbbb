"""A command that is loaded when it is called."""

from __future__ import annotations

import click

from loopwright.surfaces.cli import Command, Output, json_option


def _greet(ctx: click.Context) -> None:
    output = ctx.ensure_object(Output)
    output.say("hello")
    output.document({"hello": "world"})


command = Command("greet", callback=click.pass_context(_greet), params=[json_option()])
