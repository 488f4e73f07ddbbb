"""The reference pages say what the code declares, all of it."""

from loopwright.client.index import load_index
from loopwright.core import errors
from loopwright.workspace import Settings
from tests.architecture.sources import ROOT
from tools import reference


def page(name: str) -> str:
    """One reference page as it is on disk."""
    return (ROOT / "docs/reference" / name).read_text()


def test_no_page_is_stale() -> None:
    """`make docs` writes them anew."""
    assert reference.stale() == []


def test_every_operation_has_its_entry() -> None:
    """With its command."""
    text = page("operations.md")
    entries = load_index().entries.values()
    assert [entry.name for entry in entries if f"`loopwright {entry.command}`" not in text] == []


def test_every_error_has_its_entry() -> None:
    """With its code."""
    text = page("errors.md")
    codes = [getattr(errors, name).code for name in errors.__all__ if name != "LoopwrightError"]
    assert [code for code in codes if f"`{code}`" not in text] == []


def test_every_setting_has_its_entry_and_says_what_it_is() -> None:
    """A row whose last cell is empty tells nobody anything."""
    rows = {line.split("`")[1]: line for line in page("settings.md").splitlines() if line.startswith("| `")}
    assert set(rows) == set(Settings.__struct_fields__)
    assert [name for name, row in rows.items() if row.endswith("|  |")] == []
