"""Every module that keeps rows, or bytes that may hold some, is declared by a holder, which erasure asks."""

import ast

import pytest

from loopwright.loops.erasing import HOLDERS
from tests.architecture.sources import dotted, modules, parsed

CARRIERS = {
    "data/cursors.py": "the place of a source without the value that went",
    "data/downloading.py": "an export, which is the caller's",
    "data/parcels.py": "bytes of a question's answer, compared with those of the last time",
    "data/reading.py": "an empty file that stands for a column nobody has",
}
FILES = {
    "app/doctor.py": "a text of its own, put there and read back",
    "loops/importing.py": "files of runs and models that another store keeps",
    "monitoring/definitions.py": "bins of a reference's columns",
    "registry/adopting.py": "manifests of models",
    "registry/keeping.py": "files of models",
    "registry/verbs.py": "files of models",
    "registry/versions.py": "manifests of models",
    "tracking/artifacts.py": "files of runs",
}
"""what is no rows: erasure looks for the values in these bytes, and tells of them (`loops/mentions`)"""
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
        (
            ".tables.write",
            ".tables.write_batches",
            "online.push",
            "._online.push",
            "objects.put",
            "objects.put_stream",
            "objects.put_file",
        )
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
    assert not set(declared) & {*CARRIERS, *FILES}
    assert _writers() == {*declared, *CARRIERS, *FILES}


@pytest.mark.parametrize(
    "text",
    [
        "ctx.ports.tables.write(table)",
        "self._objects.put(page)",
        "self._objects.put_file(path, link=True)",
        "ctx.ports.objects.put_stream(pieces)",
    ],
)
def test_a_writer_is_seen(text: str) -> None:
    call = ast.parse(text).body[0]
    assert isinstance(call, ast.Expr)
    assert isinstance(call.value, ast.Call)
    assert _keeps_rows(call.value)
