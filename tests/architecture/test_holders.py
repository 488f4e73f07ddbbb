"""Every module that keeps rows is declared by a holder, which erasure asks."""

import ast

from loopwright.loops.erasing import HOLDERS
from tests.architecture.sources import dotted, modules, parsed

CARRIERS = {
    "data/cursors.py": "the place of a source without the value that went",
    "data/parcels.py": "bytes of a question's answer, compared with those of the last time",
    "data/reading.py": "an empty file that stands for a column nobody has",
    "data/verbs.py": "an export, which is the caller's",
}
SLICES = (
    "data",
    "features",
    "tracking",
    "registry",
    "tuning",
    "gates",
    "serving",
    "monitoring",
    "alerts",
    "llm",
)
ROOMS = (*SLICES, "loops", "app")
WRITES = {"prepare_segment", "write_segment", "put_record", "keep_record", "note_reading"}


def _keeps_rows(call: ast.Call) -> bool:
    name = dotted(call.func)
    return name in WRITES or name.endswith(
        (".tables.write", ".tables.write_batches", "online.push", "._online.push")
    )


def _writers() -> set[str]:
    return {
        module
        for module in modules(*ROOMS)
        if any(isinstance(node, ast.Call) and _keeps_rows(node) for node in ast.walk(parsed(module)))
    }


def test_every_module_that_writes_rows_is_declared_by_one_holder() -> None:
    declared = [module for holder in HOLDERS for module in holder.keeps]
    assert len(declared) == len(set(declared))
    assert _writers() == set(declared) | set(CARRIERS)


def test_a_writer_is_seen() -> None:
    call = ast.parse("ctx.ports.tables.write(table)").body[0]
    assert isinstance(call, ast.Expr)
    assert isinstance(call.value, ast.Call)
    assert _keeps_rows(call.value)
