"""An exception to a check names the check and says why."""

import re

from tests.architecture.sources import PACKAGE, ROOT, TESTS

# A code, then the reason in words on the same line.
REASONED = {
    "noqa": re.compile(r"# noqa: [A-Z]+[0-9]+(, ?[A-Z]+[0-9]+)*\s*[-#:(]+\s*\w+"),
    "type: ignore": re.compile(r"# type: ignore\[[\w-]+(, ?[\w-]+)*\]\s*#\s*\w+"),
    "pragma: no cover": re.compile(r"# pragma: no cover\s*-\s*\w+"),
}
PATHS = sorted(
    path for top in (PACKAGE, TESTS) for path in top.rglob("*.py") if path.parent.name != "architecture"
)


def bare(line: str) -> bool:
    """Whether a line sets a check aside without saying why."""
    return any(f"# {mark}" in line and not pattern.search(line) for mark, pattern in REASONED.items())


def test_every_ignore_has_its_reason() -> None:
    """The next reader must know whether it may go."""
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in PATHS
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if bare(line)
    ]
    assert found == []


def test_the_check_sees() -> None:
    """A check that finds nothing would pass as well."""
    assert bare("x = 1  # noqa: E501")
    assert bare("x = 1  # type: ignore[misc]")
    assert not bare("x = 1  # noqa: E501 - a table")
    assert not bare("x = 1  # type: ignore[misc]  # the stub is wrong")
