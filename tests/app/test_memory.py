"""Threads share few heaps of the C library."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from loopwright.app.memory import bound_arenas

SCRIPT = textwrap.dedent(
    """
    import ctypes, sys, threading
    from loopwright.app.memory import bound_arenas

    if sys.argv[1] == "bounded":
        assert bound_arenas()
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    gate = threading.Barrier(16)
    heaps = set()

    def take():
        gate.wait()
        heaps.add(libc.malloc(ctypes.c_size_t(1000)) >> 26)  # glibc's heaps begin at multiples of 64 MB
        gate.wait()

    threads = [threading.Thread(target=take) for _ in range(16)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    print(len(heaps))
    """
)


def heaps(kind: str) -> int:
    done = subprocess.run([sys.executable, "-c", SCRIPT, kind], check=True, capture_output=True, text=True)
    return int(done.stdout)


@pytest.mark.skipif(not bound_arenas(), reason="the C library is another one than glibc")
def test_threads_share_two_heaps() -> None:
    assert heaps("free") > 4
    assert heaps("bounded") <= 2
