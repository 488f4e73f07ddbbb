"""Cuts the text of a search into tokens, in one pass whose time grows with the text alone."""

from __future__ import annotations

import re
from typing import Literal, cast

import msgspec

from loopwright.core.errors import Invalid

__all__ = ["MAX_TOKENS", "Token", "TokenKind", "excerpt", "place", "refuse_unstorable", "tokens"]

TokenKind = Literal["path", "word", "single", "double", "ticked", "number", "operator", "(", ")", ",", "end"]

MAX_TOKENS = 20_000
"""words, marks, numbers and texts of a search: what is read costs 3 us each, whether it makes sense or not"""

_QUOTES = ("'", '"', "`")
_SHOWN = 60
"""characters of a text that an error shows"""

# Every repetition is possessive: a match that fails is not tried again in pieces.
_SINGLE = r"'(?:[^']++|'')*+'"
_DOUBLE = r'"(?:[^"]++|"")*+"'
_TICKED = r"`(?:[^`]++|``)*+`"
_WORD = r"[^\W\d][\w$#]*+"
_PART = r"[\w$#]++"
_NUMBER = r"-?(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?+(?![\w.$#])"
_TOKEN = re.compile(
    rf"""(?P<number>{_NUMBER})
    | (?P<path>(?P<entity>{_WORD}|{_TICKED}|{_DOUBLE})\.
        (?P<key>{_TICKED}|{_DOUBLE}|{_SINGLE}|{_PART}(?:\.{_PART})*+))
    | (?P<word>{_WORD}) | (?P<single>{_SINGLE}) | (?P<double>{_DOUBLE}) | (?P<ticked>{_TICKED})
    | (?P<operator>[=<>!~]++) | (?P<mark>[(),])""",
    re.VERBOSE,
)
_SPACE = re.compile(r"\s*+")
# No database takes a NUL in a text, and no encoder half of a surrogate pair.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Token(msgspec.Struct, frozen=True):
    """One piece of a search.

    Of a path (`metrics."my key"`) `entity` is what stands before the dot and `value` the key; quotes are
    taken off, and a quote written twice within quotes is one. `at` counts characters from 0.
    """

    kind: TokenKind
    text: str
    value: str
    at: int
    entity: str = ""


def excerpt(text: str) -> str:
    """A text as an error may show it: short, and such as every encoder and log takes."""
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return shown.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def place(at: int) -> str:
    """How an error names a place in the text of a search."""
    return f"character {at + 1}"


def refuse_unstorable(text: str) -> None:
    """Raise `Invalid` for a text that no database keeps, so that none is asked for it."""
    if found := _UNSTORABLE.search(text):
        raise Invalid(
            "Invalid clause(s) in filter string: a NUL or half of a surrogate pair",
            hint="take it out",
            where=place(found.start()),
        )


def tokens(text: str) -> tuple[Token, ...]:
    """The tokens of a search, closed by one of kind `end`.

    `Invalid` names the first place where the text is none (an open quote, a mark that means nothing here), or
    where there are more than `MAX_TOKENS`.
    """
    refuse_unstorable(text)
    found: list[Token] = []
    at = _past_space(text, 0)
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _stray(text, at)
        if len(found) == MAX_TOKENS:
            raise Invalid(
                f"the search has more than {MAX_TOKENS} words and marks",
                hint="ask in several parts",
                where=place(at),
            )
        found.append(_token(match))
        at = _past_space(text, match.end())
    return (*found, Token("end", "", "", len(text)))


def _past_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return at if space is None else space.end()


def _token(match: re.Match[str]) -> Token:
    text, at = match[0], match.start()
    if match["path"]:
        return Token("path", text, _unquoted(match["key"]), at, _unquoted(match["entity"]))
    kind = text if match["mark"] else match.lastgroup
    return Token(cast("TokenKind", kind), text, _unquoted(text), at)


def _unquoted(text: str) -> str:
    quote = text[:1]
    return text[1:-1].replace(quote * 2, quote) if quote in _QUOTES else text


def _stray(text: str, at: int) -> Invalid:
    """The error for a place where no token begins."""
    if text[at] == ";" and text[at + 1 :].strip():
        return Invalid(
            f"Search filter contained multiple expression {excerpt(text)!r}. Provide AND-ed expression list.",
            hint="put AND instead of the semicolon",
            where=place(at),
        )
    return Invalid(
        f"Invalid clause(s) in filter string: '{excerpt(text[at:])}'",
        hint="close the quote" if text[at] in _QUOTES else "put a key with marks in it in backticks",
        where=place(at),
    )
