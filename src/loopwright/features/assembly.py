"""Puts the inputs of a model together for requests: compiled once, then a few bisections a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np

from loopwright.core.errors import Invalid
from loopwright.core.expressions import Col, Scalar, evaluate
from loopwright.features.formulas import calling
from loopwright.features.nouns import FeatureService, Formula, FreeFunction
from loopwright.features.rules import feature_of, reads_of
from loopwright.ports.functions import Functions
from loopwright.ports.online import Online

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Assembler"]

_NAN = float("nan")
_GIVEN, _COMPUTED = -1, -2

Row = Mapping[str, Scalar]
Looked = Sequence[Mapping[str, Scalar]]
"""what each lookup found for a row"""
Read = Callable[[Row, Looked], Scalar]
Run = Callable[[Row, Looked], Iterable[Scalar]]
"""reads or computes outputs that follow one another"""


class Assembler:
    """The vectors of a published feature service, from the online store. Thread safe.

    For the same instant they are those of the offline join, bit for bit. `Invalid` where an input is made by
    a free Python function that this process was not given.
    """

    def __init__(self, online: Online, service: FeatureService, functions: Functions | None = None) -> None:
        unsettled = [lookup.view for lookup in service.lookups if not lookup.store]
        if unsettled:
            raise Invalid(
                f"the lookup of {unsettled[0]!r} is not settled",
                hint="publish the feature service and use the published version",
            )
        self._online = online
        self._lookups = tuple((lookup.store, lookup.columns) for lookup in service.lookups)
        self._runs = _runs(service, functions)
        self._levels = tuple(
            (place, {level: float(i) for i, level in enumerate(service.categorical[output.name])})
            for place, output in enumerate(service.outputs)
            if output.name in service.categorical
        )
        self._service = service

    def vectors(self, rows: Sequence[Row], at_us: int) -> NDArray[np.float64]:
        """The model inputs of each row as known at an instant (microseconds): `(n, d)`, NaN for null.

        `Invalid` names the place of a row that lacks a column or holds a text where a number is needed.
        """
        return self.assembled(rows, self.looked_up(rows, at_us))

    def assembled(self, rows: Sequence[Row], looked: Sequence[Looked]) -> NDArray[np.float64]:
        """The same from what `looked_up` found for these rows."""
        flat: list[Scalar] = []
        runs, levels = self._runs, self._levels
        for place, (row, *found) in enumerate(zip(rows, *looked, strict=True)):
            begins = len(flat)
            try:
                for run in runs:
                    flat += run(row, found)
            except KeyError as error:
                raise self._lacking(place, error) from error
            for at, of in levels:
                flat[begins + at] = _level(of, flat[begins + at], self._service.outputs[at].name)
        return self._numbers(flat, len(rows))

    def _numbers(self, flat: list[Scalar], rows: int) -> NDArray[np.float64]:
        width = len(self._service.outputs)
        if str in set(map(type, flat)):
            at = next(i for i, value in enumerate(flat) if isinstance(value, str))
            raise Invalid(
                f"the input {self._service.outputs[at % width].name!r} of row {at // width} is a text",
                hint="give a number",
            )
        return np.array(flat, dtype=np.float64).reshape(rows, width)

    def looked_up(self, rows: Sequence[Row], at_us: int) -> list[list[Mapping[str, Scalar]]]:
        """For each lookup, what its view says of each row; equal keys are read once."""
        keys = [self._keys(columns, rows) for _, columns in self._lookups]
        different = [each if len(each) < 2 else list(dict.fromkeys(each)) for each in keys]
        stores = [store for store, _ in self._lookups]
        if not stores:
            return []
        found = self._online.read_many(list(zip(stores, different, strict=True)), at_us)
        return [
            list(values) if len(each) == len(asked) else _spread(each, asked, values)
            for each, asked, values in zip(keys, different, found, strict=True)
        ]

    def _keys(self, columns: Sequence[str], rows: Sequence[Row]) -> list[tuple[Scalar, ...]]:
        try:
            return [tuple([row[column] for column in columns]) for row in rows]
        except KeyError as error:
            raise self._lacking(
                next(i for i, row in enumerate(rows) if error.args[0] not in row), error
            ) from error

    def _lacking(self, place: int, error: KeyError) -> Invalid:
        return Invalid(
            f"row {place} has no {error.args[0]!r}",
            hint=f"a request of {self._service.name} has {', '.join(self._service.request.names)}",
        )


def _spread(
    keys: Sequence[tuple[Scalar, ...]], asked: Sequence[tuple[Scalar, ...]], values: Looked
) -> list[Mapping[str, Scalar]]:
    found = dict(zip(asked, values, strict=True))
    return [found[key] for key in keys]


def _level(levels: Mapping[str, float], value: Scalar, name: str) -> float:
    if value is None:
        return _NAN
    if not isinstance(value, str):
        raise Invalid(
            f"the categorical input {name!r} is not a text", hint="give one of its levels as a text"
        )
    return levels.get(value, _NAN)


def _runs(service: FeatureService, functions: Functions | None) -> tuple[Run, ...]:
    """What reads the outputs, in order: plain references to one place in a row are one look."""
    runs: list[Run] = []
    for origin, group in groupby(service.outputs, key=lambda output: _origin(output.expr, service)):
        exprs = [output.expr for output in group]
        if origin == _COMPUTED:
            runs += [_computed(expr, service, functions) for expr in exprs]
        else:
            names = [expr.name for expr in exprs if isinstance(expr, Col)]
            runs.append(_taken(origin, [name if origin < 0 else _feature(name, service) for name in names]))
    return tuple(runs)


def _origin(expr: Formula, service: FeatureService) -> int:
    """The lookup that a plain reference reads, or one of the two below."""
    if not isinstance(expr, Col):
        return _COMPUTED
    found = feature_of(expr.name, service.lookups)
    return _GIVEN if found is None else found[0]


def _feature(reference: str, service: FeatureService) -> str:
    found = feature_of(reference, service.lookups)
    assert found is not None  # its origin is a lookup
    return found[1]


def _taken(origin: int, names: list[str]) -> Run:
    get = itemgetter(*names)
    if origin == _GIVEN:
        return (lambda row, looked: get(row)) if len(names) > 1 else (lambda row, looked: (get(row),))
    if len(names) > 1:
        return lambda row, looked: get(looked[origin])
    return lambda row, looked: (get(looked[origin]),)


def _computed(expr: Formula, service: FeatureService, functions: Functions | None) -> Run:
    if isinstance(expr, FreeFunction):
        return _called(expr, service, functions)
    reads = {name: _reference(name, service) for name in sorted(reads_of(expr))}
    return lambda row, looked: (evaluate(expr, {name: read(row, looked) for name, read in reads.items()}),)


def _called(free: FreeFunction, service: FeatureService, functions: Functions | None) -> Run:
    if functions is None:
        raise Invalid(
            f"the Python function {free.name} is not portable, and no functions are at hand",
            hint="compute it where the program that defines it runs",
        )
    call = calling(functions, free)
    reads = [_reference(name, service) for name in free.reads]
    return lambda row, looked: (call([read(row, looked) for read in reads]),)


def _reference(name: str, service: FeatureService) -> Read:
    found = feature_of(name, service.lookups)
    if found is None:
        return lambda row, looked: row[name]
    place, feature = found
    return lambda row, looked: looked[place][feature]
