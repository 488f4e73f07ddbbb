"""`python -m tests.attacks.fuzzing [TARGET...] [FLAGS OF LIBFUZZER]`: bytes that reach new places."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from itertools import count
from pathlib import Path

_RUNS = "-runs="


def main() -> None:
    """Search in each target, or in those that are named, until the flags say so or something breaks.

    Then the bytes are in a file `crash-...`. Each is a process of its own, forked once all is loaded: what
    counts where bytes lead is put into every function of ours, which takes a while.
    """
    sys.path.append(os.environ["FUZZING_PACKAGES"])
    atheris = import_module("atheris")

    with atheris.instrument_imports(include=["loopwright", "tests.attacks.fuzzing"]):
        from tests.attacks.fuzzing.targets import SEEDS, TARGETS, asked
    runs = int(next((each.removeprefix(_RUNS) for each in sys.argv[1:] if each.startswith(_RUNS)), -1))
    flags = [each for each in sys.argv[1:] if each.startswith("-") and not each.startswith(_RUNS)]
    names = [each for each in sys.argv[1:] if not each.startswith("-")] or list(TARGETS)
    broken = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            for number, seed in enumerate(SEEDS[name.partition(" ")[0]]):
                (Path(folder) / str(number)).write_bytes(seed)

            def search(folder: str = folder, name: str = name) -> None:
                tries = count(1)

                def attempt(data: bytes) -> None:
                    asked(TARGETS[name], data)
                    if next(tries) == runs:
                        # libFuzzer's own end waits for Arrow's threads, and they for the interpreter it holds
                        os.write(2, b"Done %d runs in %s\n" % (runs, name.encode()))
                        os._exit(0)

                atheris.Setup([sys.argv[0], *flags, folder], attempt)
                atheris.Fuzz()

            if _is_broken(search):
                broken.append(name)
    print(f"searched {len(names)}, broken: {', '.join(broken) or 'none'}", flush=True)  # noqa: T201 - its reply
    sys.exit(bool(broken))


def _is_broken(search: Callable[[], None]) -> bool:
    child = os.fork()
    if child == 0:
        search()
        os._exit(70)  # the search ends its process by itself
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0


if __name__ == "__main__":
    main()
