"""Packages of models made to do harm, sent to a server: nothing runs, nothing is left, each is told why."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loopwright.adapters.frameworks.sklearn import SklearnPackager
from loopwright.core.digests import canonical, digest_bytes
from loopwright.core.errors import LoopwrightError
from loopwright.ports.predictors import Grant
from loopwright.registry.framing import MEDIA_TYPE, framed
from loopwright.registry.packages import META, SIGNATURE, PackageMeta, read_package, sealed
from loopwright.registry.trust import granted
from tests.attacks.worlds import World, answered, furnished

KNOWN = {"sklearn": SklearnPackager()}
MLMODEL = b"flavors:\n  sklearn:\n    pickled_model: model.skops\n    serialization_format: skops\n"


class Owning:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._mark),)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with furnished(tmp_path_factory.mktemp("packages"), is_serving=False) as found:
        yield found


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    """What is there afterwards when something of a package ran."""
    found = tmp_path / "owned"
    yield found
    assert not found.exists()
    assert list(tmp_path.iterdir()) == []


def skops_with(members: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


def signed(world: World, files: Mapping[str, bytes], **changes: Any) -> dict[str, bytes]:
    """As this workspace would have signed them, had it made them."""
    made = PackageMeta(
        made_at=world.workspace.context().now(),
        made_with="1",
        flavor="sklearn",
        python="3.11",
        environment="0" * 64,
        code={},
        files={},
    )
    return sealed(files, msgspec.structs.replace(made, **changes), world.workspace.ports.signer)


def sent(world: World, stream: bytes) -> Any:
    return world.ask(
        "POST", "/api/v1/logged-models?name=m", body=stream, headers={"content-type": MEDIA_TYPE}
    )


def loaded(world: World, files: Mapping[str, bytes]) -> None:
    """As a caller of this workspace would load it, who trusts nobody else."""
    signer = world.workspace.ports.signer
    package = read_package(files, KNOWN, signer)
    package.open(KNOWN[package.section.name], granted(package, signer.public_key, ()))


def pickles(mark: Path) -> dict[str, Callable[[], dict[str, bytes]]]:
    evil = pickle.dumps(Owning(mark))
    other = MLMODEL.replace(b"serialization_format: skops", b"serialization_format: %b")
    schema = {"__class__": "mkdir", "__module__": "os", "__loader__": "FunctionNode", "content": "os.mkdir"}
    found: dict[str, Callable[[], dict[str, bytes]]] = {
        "in the place of skops": lambda: {"MLmodel": MLMODEL, "model.skops": evil},
        "within a skops archive": lambda: {
            "MLmodel": MLMODEL,
            "model.skops": skops_with({"schema.json": b"{}", "1.pkl": evil, "../../owned": evil}),
        },
        "a function in a skops archive": lambda: {
            "MLmodel": MLMODEL,
            "model.skops": skops_with({"schema.json": json.dumps(schema).encode()}),
        },
        "as an example": lambda: {"MLmodel": MLMODEL, "model.skops": b"", "input_example.json": evil},
        "as the manifest": lambda: {"MLmodel": MLMODEL, "model.skops": b"", META: evil, SIGNATURE: evil},
        "as MLmodel": lambda: {"MLmodel": evil, "model.skops": evil},
        "as an array of objects": lambda: {
            "MLmodel": MLMODEL,
            "model.skops": skops_with({"schema.json": b"{}", "1.npy": b"\x93NUMPY\x01\x00" + evil}),
        },
    }
    for form in (b"pickle", b"cloudpickle", b"joblib", b"dill", b"''", b"[]", b"null"):
        found[f"of the form {form.decode()}"] = partial(dict, {"MLmodel": other % form, "model.skops": evil})
    return found


NAMES = list(pickles(Path()))


@pytest.mark.parametrize("where", NAMES)
def test_no_pickle_runs_wherever_it_stands(world: World, mark: Path, where: str) -> None:
    files = pickles(mark)[where]()
    answered(sent(world, b"".join(framed(files))), where)
    with pytest.raises(LoopwrightError) as caught:
        loaded(world, files)
    assert caught.value.hint
    assert caught.value.status < 500 or caught.value.code == "corrupt"


@pytest.mark.parametrize(
    "line",
    [
        b'{"path":"../../owned","size":1}',
        b'{"path":"/etc/owned","size":1}',
        b'{"path":"a/%2e%2e/%2e%2e/owned","size":1}',
        b'{"path":"a\\\\..\\\\owned","size":1}',
        b'{"path":"C:\\\\owned","size":1}',
        b'{"path":"a\\u0000","size":1}',
        b'{"path":"","size":1}',
        b'{"path":".","size":1}',
        b'{"path":"a","size":-1}',
        b'{"path":"a","size":9223372036854775807}',
        b'{"path":"a","size":1e400}',
        b'{"path":"a","size":1,"link":"/etc/passwd"}',
        b'{"path":"a","size":1,"path":"../b"}',
        b'{"path":"a","size":1,"x":' + b"[" * 20_000,
        b"[" * 30_000,
        b"x" * 100_000,
        b"\xff" * 100,
    ],
)
def test_a_stream_of_files_leads_nowhere_else(world: World, mark: Path, line: bytes) -> None:
    answer = sent(world, b"".join(framed({"MLmodel": MLMODEL, "model.skops": b""})) + line + b"\nx")
    assert 400 <= answer.status < 500
    answered(answer, repr(line[:80]))


def test_files_of_one_name_are_refused(world: World, mark: Path) -> None:
    one = b"".join(framed({"MLmodel": MLMODEL}))
    assert sent(world, one + one).status == 400


@pytest.mark.parametrize(
    "text",
    [
        b"flavors: {sklearn: " + b"[" * 100_000,
        b"flavors: &a [*a]",
        b"a: &a [x]\n" + b"".join(b"b%d: [*a, *a]\n" % at for at in range(1_000)) + MLMODEL,
        b"- a\n" * 400_000,
        b"flavors: " + b"1:" * 500_000 + b"1",
        b"x" * (5 << 20),
        MLMODEL + b"signature: {inputs: '" + b"[" * 200_000 + b"'}\n",
        MLMODEL + b"signature: {inputs: '[" + b"{}," * 300_000 + b"{}]'}\n",
        MLMODEL + b"signature: 7\n",
        MLMODEL.replace(b"model.skops", b"../../../etc/passwd"),
        MLMODEL.replace(b"model.skops", b"%2e%2e/%2e%2e/etc/passwd"),
        MLMODEL.replace(b"model.skops", b"file:///etc/passwd"),
        MLMODEL + b"    code: code\n",
    ],
)
def test_a_hostile_mlmodel_is_refused(world: World, mark: Path, text: bytes) -> None:
    answer = sent(world, b"".join(framed({"MLmodel": text, "model.skops": b""})))
    assert 400 <= answer.status < 500, text[:80]
    answered(answer, repr(text[:80]))


def test_what_is_read_whole_has_a_limit(world: World, mark: Path) -> None:
    """The manifest and its signature too, before they are looked into."""
    great = b" " * (17 << 20)
    for name in ("MLmodel", META, SIGNATURE):
        files = {"MLmodel": MLMODEL, "model.skops": b"", META: b"{}", SIGNATURE: b"{}", name: great}
        assert sent(world, b"".join(framed(files))).status == 413, name


def forgeries(world: World) -> Iterator[tuple[str, dict[str, bytes]]]:
    files = {"MLmodel": MLMODEL, "model.skops": b"right", "other": b"other"}
    right = signed(world, files)
    seal, meta = json.loads(right[SIGNATURE]), json.loads(right[META])
    swapped = {**meta["files"], "other": meta["files"]["model.skops"], "model.skops": meta["files"]["other"]}
    yield "digests swapped", {**right, META: canonical({**meta, "files": swapped})}
    yield "files swapped", {**right, "other": b"right", "model.skops": b"other"}
    yield (
        "a digest that fits, unsigned",
        {
            **right,
            "other": b"x",
            META: canonical({**meta, "files": {**meta["files"], "other": digest_bytes(b"x")}}),
        },
    )
    yield "no signature", {name: data for name, data in right.items() if name != SIGNATURE}
    yield "no manifest", {name: data for name, data in right.items() if name != META}
    yield "a file more", {**right, "more": b"x"}
    yield "a file less", {name: data for name, data in right.items() if name != "other"}
    for name, value in (
        ("signature", ""),
        ("signature", "0" * 128),
        ("signature", seal["signature"][:-2]),
        ("signature", seal["signature"].upper() + "00"),
        ("signature", "zz" * 64),
        ("signer", ""),
        ("signer", "ed25519:"),
        ("signer", "ed25519:" + "0" * 64),
        ("signer", "ed25519:" + "f" * 64),
        ("signer", "none:" + seal["signer"]),
        ("signer", seal["signer"] + "00"),
    ):
        yield f"{name} {value[:20]!r}", {**right, SIGNATURE: canonical({**seal, name: value})}
    for name in (META, SIGNATURE):
        yield f"{name} deep", {**right, name: b"[" * 100_000}
        yield f"{name} no UTF-8", {**right, name: b'{"signer":"\xff"}'}
        yield f"{name} twice", {**right, name: right[name][:-1] + b"," + right[name][1:]}


def test_forged_signatures_and_manifests_are_refused(world: World, mark: Path) -> None:
    for what, files in forgeries(world):
        answer = sent(world, b"".join(framed(files)))
        assert 400 <= answer.status < 500, f"{what}: {answer.status} {answer.body[:200]!r}"
        answered(answer, what)


def test_the_key_of_no_order_signs_nothing_here(world: World) -> None:
    """The neutral point signs every text for who checks signatures without a care."""
    signer = world.workspace.ports.signer
    neutral = "01" + "00" * 31
    assert (
        not signer.verify(f"ed25519:{neutral}", b"any", neutral + "00" * 32)
        or not granted(
            read_package({"MLmodel": MLMODEL, "model.skops": b""}, KNOWN, signer),
            signer.public_key,
            (),
        ).code
    )


def test_flipped_bytes_are_found_and_nothing_runs(world: World, mark: Path) -> None:
    rng = random.Random(11)
    right = signed(world, {"MLmodel": MLMODEL, "model.skops": pickle.dumps(Owning(mark))})
    for _ in range(300):
        name = rng.choice(sorted(right))
        data = bytearray(right[name])
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        with pytest.raises(LoopwrightError):
            read_package({**right, name: bytes(data)}, KNOWN, world.workspace.ports.signer)


def test_no_grant_is_taken_from_a_file(world: World, mark: Path) -> None:
    """Who signed it says nothing of what it may do here."""
    evil = pickle.dumps(Owning(mark))
    text = MLMODEL.replace(b"format: skops", b"format: cloudpickle")
    package = read_package({"MLmodel": text, "model.skops": evil}, KNOWN, world.workspace.ports.signer)
    with pytest.raises(LoopwrightError):
        package.open(KNOWN["sklearn"], Grant())
