"""Backup files made to be restored by somebody else: nothing is put anywhere, and none is read for ever."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from loopwright.core.errors import LoopwrightError
from loopwright.engine.backups import inspect_backup

HUGE = 1 << 60


def header(name: str, **told: object) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    for key, value in told.items():
        setattr(entry, key, value)
    return entry


def sparse_header(name: str, size: int) -> bytes:
    """A member of GNU's old sparse form: `size` bytes long by its header, with none in the file."""
    block = bytearray(header(name, type=tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT)[:512])
    block[386:410] = b"%011o\0%011o\0" % (0, 0)
    block[483:495] = b"\x80" + size.to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def sparse_by_pax(name: str, size: int) -> bytes:
    told = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": name}
    entry = header("x", pax_headers={**told, "GNU.sparse.realsize": str(size)}, size=512)
    return entry.tobuf(tarfile.PAX_FORMAT) + b"1\n0\n0\n".ljust(512, b"\0")


def member(name: str, content: bytes, **told: object) -> bytes:
    entry = header(name, size=len(content), **told)
    return entry.tobuf(tarfile.GNU_FORMAT) + content + b"\0" * (-len(content) % 512)


ENDED = b"\0" * 1024
ARCHIVES: dict[str, Callable[[], bytes]] = {
    "a sparse ledger": lambda: sparse_header("ledger.jsonl", HUGE) + ENDED,
    "a sparse manifest": lambda: sparse_header("manifest.json", HUGE) + ENDED,
    "a sparse object": lambda: sparse_header("objects/" + "0" * 64, HUGE) + ENDED,
    "a sparse ledger by PAX": lambda: sparse_by_pax("ledger.jsonl", HUGE) + ENDED,
    "a sparse manifest by PAX": lambda: sparse_by_pax("manifest.json", HUGE) + ENDED,
    "a length beyond the file": lambda: header("ledger.jsonl", size=HUGE).tobuf(tarfile.GNU_FORMAT) + ENDED,
    "a negative length": lambda: header("ledger.jsonl", size=-1).tobuf(tarfile.GNU_FORMAT) + ENDED,
    "a hundred thousand empty members": lambda: member("ledger.jsonl", b"") * 100_000 + ENDED,
    "a path upwards": lambda: member("files/../../../x", b"x") + ENDED,
    "a path by PAX": lambda: header("x", pax_headers={"path": "/tmp/x"}).tobuf(tarfile.PAX_FORMAT) + ENDED,
    "a link": lambda: member("files/journal.heads", b"", type=tarfile.SYMTYPE, linkname="/etc/x") + ENDED,
    "a device": lambda: member("ledger.jsonl", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=5) + ENDED,
    "a name of a megabyte": lambda: member("objects/" + "x" * 1_000_000, b"x") + ENDED,
    "an object that is another": lambda: member("objects/" + "0" * 64, b"mine") + ENDED,
    "a manifest of lies": lambda: member("manifest.json", b'{"format":1,"files":[' + b"[" * 100_000) + ENDED,
    "nothing": lambda: b"",
    "zeros": lambda: b"\0" * 100_000,
    "a zip": lambda: b"PK\x03\x04" + b"\0" * 1000,
}  # fmt: skip


@pytest.mark.parametrize("made", ARCHIVES.values(), ids=ARCHIVES)
def test_a_hostile_archive_is_refused(tmp_path: Path, made: Callable[[], bytes]) -> None:
    file = tmp_path / "backup.tar"
    file.write_bytes(made())
    with pytest.raises(LoopwrightError) as caught:
        inspect_backup(file)
    assert caught.value.hint
    assert caught.value.status < 500 or caught.value.code in {"corrupt", "unavailable"}
    assert [each.name for each in tmp_path.iterdir()] == ["backup.tar"]


def test_archives_of_any_bytes_are_refused(tmp_path: Path) -> None:
    rng, file = random.Random(3), tmp_path / "backup.tar"
    right = io.BytesIO()
    with tarfile.open(fileobj=right, mode="w") as archive:
        for name in ("ledger.jsonl", "files/journal.heads", "manifest.json"):
            archive.addfile(header(name, size=9), io.BytesIO(b"{}\n[]\n{}\n"))
    for _ in range(300):
        body = bytearray(right.getvalue()[: rng.choice([600, 2048, 10_240])])
        for _ in range(rng.randint(1, 8)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        file.write_bytes(bytes(body))
        with pytest.raises(LoopwrightError):
            inspect_backup(file)
