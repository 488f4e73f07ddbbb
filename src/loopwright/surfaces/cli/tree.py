"""The tree of commands: nouns and verbs from the index, and verbs that are loaded when they are called."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click
import msgspec

from loopwright.client.index import Entry, Index
from loopwright.engine.operation import Form
from loopwright.surfaces.cli.found import COMMAND as FOUND
from loopwright.surfaces.cli.output import Output
from loopwright.surfaces.cli.parameters import common_options, options_of, values_of

__all__ = ["Command", "Group", "LazyVerb", "Options", "build_tree"]


class LazyVerb(msgspec.Struct, frozen=True, kw_only=True):
    """A command whose module is imported when it is called: `target` is `module:name` of a click command."""

    target: str
    summary: str


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line said beside the arguments of the operation."""

    workspace: str | None = None
    url: str | None = None
    space: str | None = None
    detach: bool = False
    out: str | None = None
    column: tuple[str, ...] = ()


class Command(click.Command):
    """A command whose `--json` takes the next word as its FILE only if no argument goes missing by that."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, with the second reading where the first one fails."""
        again = _without_file(args)
        try:
            return super().parse_args(ctx, list(args))
        except click.MissingParameter:
            if again is None:
                raise
            return super().parse_args(ctx, again)


def _without_file(args: list[str]) -> list[str] | None:
    """The arguments with `--json` meaning standard output, when a word that may be its file follows it."""
    if "--json" not in args:
        return None
    i = args.index("--json")
    if i + 1 >= len(args) or args[i + 1].startswith("-"):
        return None
    return [*args[:i], "--json=-", *args[i + 1 :]]


class Group(click.Group):
    """Commands that are made, or loaded, when they are asked for; listed with their summaries alone."""

    def __init__(self, name: str, *, help: str) -> None:
        super().__init__(name, help=help)
        self._entries: dict[str, Entry] = {}
        self._verbs: dict[str, LazyVerb] = {}

    def add_entry(self, word: str, entry: Entry) -> None:
        """Add an operation's command."""
        self._entries[word] = entry

    def add_verb(self, word: str, verb: LazyVerb) -> None:
        """Add a command that is loaded when it is called."""
        self._verbs[word] = verb

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All words, in order."""
        return sorted({*self.commands, *self._entries, *self._verbs})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a word; this makes or loads it."""
        if cmd_name in self._entries:
            return _command(cmd_name, self._entries[cmd_name])
        if cmd_name in self._verbs:
            module, _, attribute = self._verbs[cmd_name].target.partition(":")
            found: click.Command = getattr(import_module(module), attribute)
            return found
        return self.commands.get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; an unknown word is answered with those that are near."""
        word = args[0] if args else ""
        if args and not word.startswith("-") and self.get_command(ctx, word) is None:
            near = difflib.get_close_matches(word, self.list_commands(ctx), n=3)
            advice = (
                f"did you mean {' or '.join(near)}?" if near else f"`{ctx.command_path} --help` lists all"
            )
            raise click.UsageError(
                f"there is no command {word[:80]!r} in `{ctx.command_path}`. {advice}", ctx
            )
        return super().resolve_command(ctx, args)

    def summaries(self) -> dict[str, str]:
        """The first line of each command's help, without loading it."""
        found = {word: entry.summary for word, entry in self._entries.items()}
        found.update({word: verb.summary for word, verb in self._verbs.items()})
        found.update({word: command.get_short_help_str(90) for word, command in self.commands.items()})
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Plain verbs first, then nouns."""
        summaries = self.summaries()
        nouns = sorted(word for word, command in self.commands.items() if isinstance(command, click.Group))
        verbs = sorted(word for word in summaries if word not in nouns)
        for title, words in (("Commands", verbs), ("Nouns", nouns)):
            if words:
                with formatter.section(title):
                    formatter.write_dl([(word, summaries[word]) for word in words])


def _command(word: str, entry: Entry) -> Command:
    parameters = [*options_of(entry), *_form_options(entry), *common_options()]

    @click.pass_context
    def callback(ctx: click.Context, /, **given: Any) -> None:
        options = msgspec.convert(
            {name: given[name] for name in Options.__struct_fields__ if name in given}, Options
        )
        run = import_module("loopwright.surfaces.cli.running").run
        code: int = run(entry, values_of(entry, given), options, ctx.ensure_object(Output))
        if code:
            ctx.exit(code)

    text = entry.help.partition("\nArgs:\n")[0]
    return Command(word, callback=callback, params=parameters, help=text, short_help=entry.summary)


def _form_options(entry: Entry) -> list[click.Parameter]:
    if entry.form is Form.JOB:
        return [click.Option(["--detach"], is_flag=True, help="Do not wait for the job.")]
    if entry.name == FOUND:
        help = "A column to show, any number of times: metrics.auc, params.lr, tags.team."
        return [click.Option(["--column"], multiple=True, metavar="NAME", help=help)]
    if entry.form is Form.BLOB:
        return [click.Option(["--out"], metavar="FILE", help="Where to write it; - is standard output.")]
    return []


def build_tree(index: Index, verbs: Mapping[str, LazyVerb], nouns: Mapping[str, str]) -> Group:
    """The root of all commands: those of the index, and `verbs` by their words (`up`, `db upgrade`).

    `nouns` gives the help of a group by its word.
    """
    root = Group("loopwright", help="The whole loop of machine learning, from data to prediction and back.")
    for entry in index.entries.values():
        group, word = _place(root, entry.command, nouns)
        group.add_entry(word, entry)
    for words, verb in verbs.items():
        group, word = _place(root, words, nouns)
        group.add_verb(word, verb)
    return root


def _place(root: Group, words: str, nouns: Mapping[str, str]) -> tuple[Group, str]:
    *path, last = words.split()
    group = root
    for word in path:
        found = group.commands.get(word)
        if not isinstance(found, Group):
            found = Group(word, help=nouns.get(word, f"What can be done with {word}."))
            group.add_command(found)
        group = found
    return group, last
