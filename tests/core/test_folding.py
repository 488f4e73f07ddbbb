"""Letters without their case, against the whole of Unicode."""

from __future__ import annotations

import sys
from collections import defaultdict

from loopwright.core.folding import folded, spellings


def test_spellings_are_all_letters_that_are_folded_alike() -> None:
    alike: defaultdict[str, set[str]] = defaultdict(set)
    letters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    for letter in letters:
        alike[folded(letter)].add(letter)
    for letter in letters:
        if letter.isalpha() or len(alike[folded(letter)]) > 1:
            assert set(spellings(letter)) == alike[folded(letter)], letter


def test_folding_does_not_look_at_neighbours() -> None:
    assert folded("ΟΔΟΣ") == "οδοσ"
    assert folded("İSTANBUL") == "İstanbul"
    assert folded("MÜLLER 273 \u212a") == "müller 273 k"
