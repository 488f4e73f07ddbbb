"""The pages are true where a machine can tell: links lead somewhere, commands exist, code compiles."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import loopwright
from loopwright.app.main import command_tree

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(page for page in (ROOT / "docs").rglob("*.md") if "reference" not in page.parts)]
)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
_INLINE = re.compile(r"`(loopwright [^`]+)`")
_OUTSIDE = ("http://", "https://", "mailto:")


def named(page: Path) -> str:
    """How a page is called in test ids."""
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The fragments that lead into a page: its headings as GitHub names them."""
    titles = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return [text for found, text in _FENCE.findall(page.read_text()) if found == language]


def lines(page: Path) -> Iterator[str]:
    """Every command line of a page, as typed: those in blocks without a language, and those in a sentence."""
    for block in (*blocks(page, ""), *blocks(page, "sh"), *blocks(page, "bash")):
        for line in block.splitlines():
            for part in line.split("&&"):
                typed = re.sub(r"^(\$ )?((LOOPWRIGHT_[A-Z]+=\S+) )*", "", part.strip())
                if typed.startswith("loopwright "):
                    yield typed
    yield from _INLINE.findall(_FENCE.sub("", page.read_text()))


def walk(typed: str) -> tuple[click.Command, list[str]]:
    """The command that a line names, and what is left of the line; fails where there is none."""
    words = shlex.split(typed, comments=True)[1:]
    found: click.Command = command_tree()
    while isinstance(found, click.Group) and words and not words[0].startswith(("-", "<")):
        below = found.get_command(click.Context(found), words[0])
        assert below is not None, f"`{typed}`: there is no command {words[0]!r}"
        found, words = below, words[1:]
    return found, words


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_relative_link_resolves(page: Path) -> None:
    """Files and headings."""
    broken = []
    for link in _LINK.findall(_FENCE.sub("", page.read_text())):
        if link.startswith(_OUTSIDE):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        is_there = target.exists() and target.is_relative_to(ROOT)
        if not is_there or (fragment and fragment not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_exists_with_its_options(page: Path) -> None:
    """Walked through the tree of commands, nothing is run."""
    for typed in lines(page):
        found, rest = walk(typed)
        known = {
            option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        known |= {"--help"}
        used = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert used <= known, f"`{typed}`: {sorted(used - known)} is no option of it"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_command_in_a_block_is_complete(page: Path) -> None:
    """What stands in a block can be typed as it is: no argument is missing."""
    told = set(lines(page)) - set(_INLINE.findall(page.read_text()))
    for typed in told:
        found, rest = walk(typed)
        assert not isinstance(found, click.Group), f"`{typed}` names no command"
        found.make_context("loopwright", rest, resilient_parsing=False)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_python_block_compiles(page: Path) -> None:
    """And the names it takes from the package are there."""
    for block in blocks(page, "python"):
        tree = ast.parse(block)
        used = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "lw"
        }
        assert used <= {*loopwright.__all__}, f"{named(page)}: {sorted(used - {*loopwright.__all__})}"


def test_the_kinds_of_pages_are_there() -> None:
    """Each of the four has at least one page, and the glossary names each noun."""
    kinds = {page.parent.name for page in PAGES}
    assert {"tutorials", "guides", "explanation", "decisions"} <= kinds
    glossary = (ROOT / "docs" / "GLOSSARY.md").read_text()
    nouns = ("asset", "version", "alias", "run", "signal", "policy", "decision", "event", "job")
    assert [noun for noun in nouns if f"| **{noun}** |" not in glossary] == []
