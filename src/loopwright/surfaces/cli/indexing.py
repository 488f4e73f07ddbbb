"""Writes the index of operations from their declarations: `python -m loopwright.surfaces.cli.indexing`."""

from __future__ import annotations

import sys

import msgspec

from loopwright.client.describing import index_of
from loopwright.client.index import INDEX_FILE
from loopwright.engine.operation import operations_in
from loopwright.surfaces.cli.output import whole_file
from loopwright.workspace.catalogue import slice_modules

__all__ = ["index_text", "main"]


def index_text() -> bytes:
    """The index as it should be on disk."""
    entries = list(index_of(operations_in(slice_modules()).values()).entries.values())
    return msgspec.json.format(msgspec.json.encode(entries), indent=1) + b"\n"


def main() -> int:
    """Write the index anew; with `--check` only say whether it is what it should be (exit 1 when not)."""
    text = index_text()
    is_same = INDEX_FILE.exists() and INDEX_FILE.read_bytes() == text
    if "--check" in sys.argv[1:]:
        return 0 if is_same else 1
    if not is_same:
        with whole_file(INDEX_FILE) as file:
            file.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
