"""Modules and functions stay small enough to be read at one sitting; tables of data do not count."""

import ast

from tests.architecture.sources import PACKAGE, ROOT, TESTS, Function, functions, modules, parsed

MODULE_LINES = 500
FUNCTION_LINES = 60
MIGRATIONS = "migrations/versions/"  # a migration is a table of data, written out
BANNED = {
    "utils",
    "util",
    "helpers",
    "helper",
    "common",
    "manager",
    "managers",
    "base",
    "misc",
    "impl",
    "models",
}
TABLE = (ast.List, ast.Dict, ast.Tuple, ast.Set, ast.Constant)


def span(node: ast.stmt | ast.expr) -> int:
    """How many lines a node takes."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def table_lines(tree: ast.Module) -> int:
    """Lines of literal tables at the top level of a module."""
    assigned = [node for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign)]
    return sum(span(node) for node in assigned if isinstance(node.value, TABLE) and span(node) > 1)


def code_lines(function: Function) -> int:
    """Lines of a function without its docstring."""
    documented = ast.get_docstring(function, clean=False) is not None
    return span(function) - (span(function.body[0]) if documented else 0)


def test_modules_are_small() -> None:
    """At most 500 lines, tables of data apart: a longer one is split by concept."""
    lengths = {
        module: len((PACKAGE / module).read_text().splitlines()) - table_lines(parsed(module))
        for module in modules()
    }
    assert {module: lines for module, lines in lengths.items() if lines > MODULE_LINES} == {}


def test_functions_are_small() -> None:
    """At most 60 lines without the docstring: the parts of a longer one get names."""
    lengths = {
        f"{module}:{function.name}": code_lines(function)
        for module in modules()
        if MIGRATIONS not in module
        for function in functions(parsed(module))
    }
    assert {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES} == {}


def test_no_module_is_named_for_nothing() -> None:
    """A name like `utils` says where code was put, not what it is."""
    paths = [*PACKAGE.rglob("*.py"), *TESTS.rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    named = {path.stem.removeprefix("_").removeprefix("test_") for path in paths}
    folders = {path.parent.name for path in paths}
    assert (named | folders) & BANNED == set()
