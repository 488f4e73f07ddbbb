from __future__ import annotations

from loopwright.client.index import INDEX_FILE, load_index
from loopwright.surfaces.cli.indexing import index_text


def test_the_shipped_index_is_that_of_the_declarations() -> None:
    """When this fails, run `python -m loopwright.surfaces.cli.indexing`."""
    assert INDEX_FILE.read_bytes() == index_text()


def test_every_operation_has_a_command_of_its_own_and_a_summary() -> None:
    entries = load_index().entries.values()
    assert len({entry.command for entry in entries}) == len(entries)
    assert all(entry.summary.endswith(".") for entry in entries)
