"""`lw.feature_service`: the inputs of a model, of what is looked up and of what is sent with a request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from loopwright.app.faces import Face, face_at
from loopwright.app.feature_functions import FeatureFunction, column_type, hand_over
from loopwright.app.feature_views import DefinedView, Instant, instant_of, named_features
from loopwright.app.open_services import OpenService
from loopwright.core.errors import Invalid
from loopwright.core.expressions import Col, Scalar, Window
from loopwright.core.nouns import Version
from loopwright.core.schema import Column, Schema
from loopwright.features.nouns import FeatureService, FeatureView, Lookup, LookupReply, Output
from loopwright.features.picking import parsed
from loopwright.features.rules import reads_of

__all__ = ["DefinedService", "feature_service", "functions_of", "references_of"]


class DefinedService:
    """A published version of a feature service; made by `lw.feature_service`."""

    def __init__(
        self,
        definition: FeatureService,
        version: Version,
        functions: Sequence[FeatureFunction] = (),
        to: Face | None = None,
    ) -> None:
        self.definition = definition
        self.version = version
        self.functions = tuple(functions)
        self._to = to

    @property
    def name(self) -> str:
        """Its name."""
        return self.definition.name

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the model's inputs, in order."""
        return self.definition.names

    def __repr__(self) -> str:
        return f"<{self.version.ref}: {len(self.inputs)} inputs>"

    def lookup(
        self,
        rows: Sequence[Mapping[str, Scalar]],
        at: Instant | None = None,
        *,
        looked_up: bool = False,
        purpose: str = "",
    ) -> LookupReply:
        """The model inputs of request rows from the online store, as known at an instant (now).

        With `looked_up` the reply also has what the views said. `Denied` where a column that the answers are
        made of may not be read for the purpose.
        """
        with face_at(self._to) as face:
            hand_over(face, self.functions)
            when = None if at is None else instant_of(at)
            reply: LookupReply = face.call(
                "features.lookup",
                name=self.name,
                rows=list(rows),
                at=when,
                looked_up=looked_up,
                purpose=purpose,
            )
            return reply

    @contextmanager
    def open(self, *, purpose: str = "", looked_up: bool = False) -> Iterator[OpenService]:
        """The service held open for many lookups: `with service.open() as online: online.lookup(rows)`.

        It is compiled, and whether it may be asked for the purpose decided, now and not for each of them.
        """
        with face_at(self._to) as face:
            hand_over(face, self.functions)
            yield OpenService(face, self.name, purpose=purpose, looked_up=looked_up)


def references_of(features: Iterable[Any]) -> tuple[str, ...]:
    """References to features as `view:feature`; a view stands for all of its features."""
    return tuple(each["*"] if isinstance(each, DefinedView) else str(each) for each in features)


def functions_of(features: Iterable[Any]) -> list[FeatureFunction]:
    """The Python functions of the views among these."""
    return [each for view in features if isinstance(view, DefinedView) for each in view.functions]


def feature_service(
    name: str,
    *,
    features: Sequence[Any],
    request: Mapping[str, Any] | None = None,
    categorical: Mapping[str, Sequence[str]] | None = None,
    description: str = "",
    to: Face | None = None,
) -> DefinedService:
    """Publish a feature service: the inputs of a model in their order, the same in training and serving.

    `features` are views, references (`"weather:temp"`, `"weather:*"`, which are called `weather.temp` then),
    and what is computed at the request: a mapping of names to expressions, or to functions
    (`lw.feature_function`), over features as `view.feature` and over what is sent with the request. `request`
    gives the types of what is sent (`{"distance": float}`); the entities of the views are added to it.
    `categorical` lists the levels of inputs that are texts.
    """
    with face_at(to) as face:
        views = _Views(face)
        outputs, functions = _outputs(features, views)
        given = tuple(
            Column(name=column, type=column_type(kind, f"the request's {column!r}"))
            for column, kind in (request or {}).items()
        )
        definition = FeatureService(
            name=name,
            request=Schema(columns=(*views.entities(skip={column.name for column in given}), *given)),
            lookups=tuple(Lookup(view=address) for address in views.addresses),
            outputs=outputs,
            categorical={key: tuple(levels) for key, levels in (categorical or {}).items()},
            description=description,
        )
        hand_over(face, functions)
        version = face.call("features.publish_service", service=definition)
    return DefinedService(definition, version, functions, to)


class _Views:
    """The views that a service looks up, as they are referred to."""

    def __init__(self, face: Face) -> None:
        self._face = face
        self._found: dict[str, tuple[str, FeatureView]] = {}

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(address for address, _ in self._found.values())

    def of(self, address: str) -> FeatureView:
        name, _, version = address.partition("@")
        if name not in self._found:
            view = self._face.call("features.show", name=name, version=version).view
            self._found[name] = (address, view)
        elif version and self._found[name][0] != address:
            raise Invalid(
                f"two versions of the view {name!r} are referred to",
                hint="give one of them an alias, by lw.FeatureService",
            )
        return self._found[name][1]

    def entities(self, skip: set[str]) -> tuple[Column, ...]:
        """The columns that name the entities, with the types they have in the sources."""
        found: dict[str, Column] = {}
        for _, view in self._found.values():
            schema = self._face.call("data.show", name=view.source).columns
            found |= {n: Column(name=n, type=schema.column(n).type) for n in view.entity if n not in skip}
        return tuple(found.values())


def _outputs(
    features: Sequence[Any], views: _Views
) -> tuple[tuple[Output, ...], tuple[FeatureFunction, ...]]:
    outputs: list[Output] = []
    functions = functions_of(features)
    for each in features:
        if isinstance(each, DefinedView | str):
            outputs += _looked_up(references_of([each])[0], views)
            continue
        for name, feature in named_features(each if isinstance(each, Mapping) else [each]).items():
            if isinstance(feature, FeatureFunction):
                functions.append(feature)
            made = feature.definition if isinstance(feature, FeatureFunction) else feature
            outputs.append(_computed(name, made, views))
    return tuple(outputs), tuple(functions)


def _looked_up(reference: str, views: _Views) -> list[Output]:
    address, feature = parsed(reference)
    view = views.of(address)
    names = view.features if feature == "*" else (feature,)
    return [Output(name=f"{view.name}.{name}", expr=Col(f"{view.name}.{name}")) for name in names]


def _computed(name: str, feature: Any, views: _Views) -> Output:
    if isinstance(feature, Window) or not isinstance(feature, msgspec.Struct):
        raise Invalid(
            f"the input {name!r} is no expression over one request", hint="put windows into a feature view"
        )
    output = msgspec.convert(msgspec.to_builtins({"name": name, "expr": feature}), Output)
    for reference in sorted(reads_of(output.expr)):
        if "." in reference:
            views.of(reference.partition(".")[0])
    return output
