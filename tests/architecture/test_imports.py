"""Imports stand at the top of a module, a slice's files keep their order, and a bare import stays light."""

import ast
import json
import subprocess
import sys

import grimp
import pytest

from tests.architecture.sources import PACKAGE, dotted, functions, imported, modules, parsed

# Modules that may import our own modules inside a function, each with its reason.
LAZY = {
    "__init__.py": "the facade loads a room when its name is first used",
    "adapters/sql/opening.py": "a command on SQLite starts without what PostgreSQL needs",
    "workspace/catalogue.py": "loads only the adapters that the settings name",
    "workspace/feature_modules.py": "loads modules of whoever runs the server, whose names it is told",
    "workspace/sources.py": "loads only the adapter that an address names",
    "app/assembling.py": "what is mounted loads at its first request, not when the server starts",
    "client/__init__.py": "the client alone brings the HTTP library",
    "client/index.py": "an operation's slice loads when that operation is called",
    "testing/builders.py": "the table engine loads only for tests that ask for tables",
    "surfaces/cli/tree.py": "`--help` loads none of what carries a command out",
}
SLICES = [
    "llm", "agents", "governance", "alerts", "monitoring", "serving", "gates", "tuning", "pipelines",
    "registry", "tracking", "features", "data",
]  # fmt: skip
INNER_ORDER = [{"react"}, {"verbs"}, {"rules"}, {"nouns"}]
HEAVY = {
    "alembic", "duckdb", "fsspec", "lightgbm", "numpy", "onnxruntime", "optuna", "pandas", "polars",
    "pyarrow", "scipy", "sklearn", "sqlalchemy", "starlette", "uvicorn",
}  # fmt: skip
LEARNING = {"duckdb", "lightgbm", "onnxruntime", "optuna", "pandas", "scipy", "sklearn"}


def local_imports(tree: ast.Module) -> list[str]:
    """Imports of our own modules inside functions, by statement or by name, with their lines."""
    found = {
        f"line {node.lineno}: {name}"
        for function in functions(tree)
        for node in ast.walk(function)
        for name in [*imported(node), *imported_by_name(node)]
        if isinstance(node, ast.stmt | ast.expr) and name.split(".")[0] == "loopwright"
    }
    return sorted(found)


def imported_by_name(node: ast.AST) -> list[str]:
    """The module that a call of `import_module` names; `loopwright` where the name is computed."""
    if not (isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] == "import_module" and node.args):
        return []
    texts = [part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)]
    return [str(text) for text in texts] or ["loopwright"]


def test_no_import_of_ours_hides_in_a_function() -> None:
    """It would hide a ring, or a cost."""
    found = {module: local_imports(parsed(module)) for module in modules() if module not in LAZY}
    assert {module: lines for module, lines in found.items() if lines} == {}


@pytest.mark.parametrize("module", sorted(LAZY))
def test_each_lazy_module_needs_its_leave(module: str) -> None:
    """A leave that nothing uses is taken away."""
    assert not (PACKAGE / module).exists() or local_imports(parsed(module)), LAZY[module]


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    import loopwright.core",
        "def f():\n    from loopwright.core import nouns",
        "def f(name):\n    return importlib.import_module(f'loopwright.adapters.{name}')",
        "def f(name):\n    return import_module(name)",
    ],
)
def test_the_check_sees(source: str) -> None:
    """A check that finds nothing would pass as well."""
    assert local_imports(ast.parse(source))


def test_every_slice_keeps_its_inner_order() -> None:
    """React above verbs above rules above nouns, through every other file of the slice too."""
    graph = grimp.build_graph("loopwright")
    slices = {f"loopwright.{name}" for name in SLICES} & graph.modules
    assert slices
    for container in sorted(slices):
        parts = [{part for part in layer if f"{container}.{part}" in graph.modules} for layer in INNER_ORDER]
        layers = [layer for layer in parts if layer]
        wrong = graph.find_illegal_dependencies_for_layers(layers, containers={container})
        assert wrong == set(), container


def loaded_by(program: str) -> set[str]:
    """The modules, two names deep, that a fresh interpreter holds after running `program`."""
    report = "\nimport sys, json; print(json.dumps(['.'.join(m.split('.')[:2]) for m in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", program + report], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_a_bare_import_loads_nothing_heavy() -> None:
    """`import loopwright` is for notebooks: what is slow to load waits until it is used."""
    assert loaded_by("import loopwright") & HEAVY == set()


def test_help_loads_no_slice_and_nothing_heavy() -> None:
    """It is built from the index of operations that was written beforehand."""
    program = (
        "import sys; sys.argv = ['loopwright', '--help']; from loopwright.app.main import main\ntry: main()"
    )
    loaded = loaded_by(f"{program}\nexcept SystemExit: pass\n")
    assert loaded & (HEAVY | {f"loopwright.{name}" for name in SLICES}) == set()


def test_the_server_loads_no_learning_library() -> None:
    """They come with the first training or prediction that needs them, not with the server."""
    assert loaded_by("import loopwright.app.server, loopwright.app.up") & LEARNING == set()


def test_public_names_are_listed() -> None:
    """A module that holds more than its docstring says in `__all__` what is for others."""
    exempt = ("__main__.py", "adapters/sql/migrations/")
    silent = [
        module
        for module in modules()
        if not module.startswith(exempt)
        and len(parsed(module).body) > 1
        and not names_its_public(parsed(module))
    ]
    assert silent == []


def names_its_public(tree: ast.Module) -> bool:
    """Whether a module assigns `__all__`."""
    return any(isinstance(node, ast.Assign) and dotted(node.targets[0]) == "__all__" for node in tree.body)
