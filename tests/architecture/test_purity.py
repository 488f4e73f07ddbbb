"""`core` and `stats` read no clock, draw no chance, see no environment and touch no file."""

import ast

import pytest

from tests.architecture.sources import dotted, imported, modules, parsed

IMPURE_MODULES = {
    "asyncio", "http", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "shutil",
    "socket", "sqlite3", "subprocess", "sys", "tempfile", "threading", "time", "urllib.request", "uuid",
}  # fmt: skip
PURE_NAMES = {"pathlib.PurePath", "pathlib.PurePosixPath"}
CLOCK_CALLS = {"now", "utcnow", "today"}
IMPURE_BUILTINS = {"open", "print", "input", "eval", "exec", "breakpoint", "__import__"}
SEEDED = {"Generator", "SeedSequence", "BitGenerator", "PCG64", "Philox", "default_rng"}


def is_impure_name(name: str) -> bool:
    """Whether an imported name comes from a module that reaches the world."""
    return name not in PURE_NAMES and any(name == bad or name.startswith(f"{bad}.") for bad in IMPURE_MODULES)


def impurities(tree: ast.Module) -> list[str]:
    """What in a module reaches the world, with the line it does so."""
    found: list[str] = []
    for node in ast.walk(tree):
        found += [f"line {node.lineno}: imports {name}" for name in imported(node) if is_impure_name(name)]  # type: ignore[attr-defined]  # imports have lines
        if isinstance(node, ast.Call) and is_impure_call(node):
            found.append(f"line {node.lineno}: calls {dotted(node.func)}")
    return found


def is_impure_call(call: ast.Call) -> bool:
    """Whether a call reads the clock, the world, or numpy's unseeded chance."""
    name = dotted(call.func)
    *before, last = name.split(".")
    if not before:
        return name in IMPURE_BUILTINS
    if before[-1] in {"datetime", "date"}:
        return last in CLOCK_CALLS
    if before[-1] == "random":
        return last not in SEEDED or (last == "default_rng" and not call.args and not call.keywords)
    return False


def test_core_and_stats_are_pure() -> None:
    """Time and seeds come in as arguments."""
    found = {module: impurities(parsed(module)) for module in modules("core", "stats")}
    assert {module: lines for module, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import random",
        "from os import environ",
        "import datetime\ndatetime.datetime.now()",
        "open('x')",
        "import numpy as np\nnp.random.normal()",
        "import numpy as np\nnp.random.default_rng()",
        "from pathlib import Path",
    ],
)
def test_the_check_sees(source: str) -> None:
    """A check that finds nothing would pass as well."""
    assert impurities(ast.parse(source))


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import datetime\ndatetime(2013, 1, 1)",
        "import numpy as np\nnp.random.default_rng(seed)",
    ],
)
def test_the_check_lets_pass(source: str) -> None:
    """Values of time and seeded chance are no side effects."""
    assert impurities(ast.parse(source)) == []
