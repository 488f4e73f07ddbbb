"""Identifiers of many countries by Presidio, without a model and without a network."""

from __future__ import annotations

import json
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pytest

from loopwright.core.errors import Unavailable
from loopwright.data.appending import append
from loopwright.data.personal import PersonalColumn
from loopwright.data.presidio import found_in
from loopwright.data.purposes import personal
from loopwright.testing.builders import memory_context
from tests.environments import environment_of

ROOT = Path(__file__).parents[2]
KNOWN = {  # numbers that are published as examples
    "es_nif": "12345678Z",
    "pl_pesel": "44051401359",
    "uk_nhs": "943 476 5919",
    "credit_card": "4111 1111 1111 1111",
    "iban_code": "GB82 WEST 1234 5698 7654 32",
}
ASKED = """
import json, socket, sys
sys.path.insert(0, sys.argv[1])
def refuse(*args, **kwargs):
    raise SystemExit("asked the network")
socket.socket.connect = socket.getaddrinfo = refuse
from loopwright.data.presidio import presidio_finder
find = presidio_finder()
print(json.dumps([sorted(find(text)) for text in json.loads(sys.argv[2])]))
"""


def test_a_column_is_told_when_more_than_half_of_it_is_personal() -> None:
    def find(text: str) -> frozenset[str]:
        return frozenset({"es_nif"} if text.startswith("n") else ())

    assert found_in("c", ["n1", "n2", "x"], find) == (
        PersonalColumn(column="c", tag="pii.es_nif", by="presidio", share=2 / 3),
    )
    assert found_in("c", ["n1", "x"], find) == ()
    assert found_in("c", [], find) == ()


@pytest.mark.skipif(find_spec("presidio_analyzer") is not None, reason="Presidio is installed here")
def test_what_is_not_installed_is_told() -> None:
    ctx = memory_context()
    append(ctx, "people", pa.table({"note": ["a", "b"]}))
    assert personal(ctx, "people") == ()
    with pytest.raises(Unavailable, match="Presidio"):
        personal(ctx, "people", presidio=True)


@pytest.mark.peer
def test_published_numbers_are_found_and_wrong_ones_are_not() -> None:
    python = environment_of("presidio", ROOT / "tests/data/requirements-presidio.txt") / "bin/python"
    wrong = {
        kind: text[:-1] + ("A" if text[-1] == "Z" else str((int(text[-1]) + 1) % 10))
        for kind, text in KNOWN.items()
    }
    texts = [*KNOWN.values(), *wrong.values(), "Newark", "a tax number, 12345678Z, in words"]
    asked = [str(python), "-c", ASKED, str(ROOT / "src"), json.dumps(texts)]
    found = json.loads(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)
    for at, kind in enumerate(KNOWN):
        assert kind in found[at]
        assert kind not in found[at + len(KNOWN)]
    assert found[-2:] == [[], ["es_nif"]]
