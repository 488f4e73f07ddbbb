"""Models as endpoints need them: those trained here, and those of packages that were brought along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from loopwright.core.addresses import Address, ByNumber
from loopwright.core.errors import Invalid, Untrusted
from loopwright.core.expressions import col
from loopwright.core.nouns import Version
from loopwright.core.schema import Column, ColumnType, Schema
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.features.nouns import FeatureService, Output
from loopwright.features.verbs import define_service, service_of
from loopwright.ports.predictors import OpenedModel, Predictor
from loopwright.registry.mlmodel import MLMODEL
from loopwright.registry.nouns import KIND
from loopwright.registry.packages import Package, read_package
from loopwright.registry.signatures import ColumnSpec, ModelSignature, TensorSpec
from loopwright.registry.trust import advised, granted
from loopwright.registry.verbs import body_of, files_of, load

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Servable", "is_package", "opened", "servable", "service_of_model"]

_TYPES: Mapping[str, ColumnType] = {
    "boolean": ColumnType.BOOL,
    "integer": ColumnType.INT,
    "long": ColumnType.INT,
    "float": ColumnType.FLOAT,
    "double": ColumnType.FLOAT,
}
_WIDEST = 10_000


class Servable(msgspec.Struct, frozen=True, kw_only=True):
    """A model version ready to answer, and the feature service that makes its inputs."""

    flavor: str
    features: tuple[str, ...]
    categorical: dict[str, tuple[str, ...]]
    service: str
    predictor: Predictor


class _Scoring:
    """An opened package as a predictor."""

    def __init__(self, opened: OpenedModel, features: tuple[str, ...]) -> None:
        self._opened = opened
        self.features = features
        self.fast = opened.fast

    def predict(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """One number a row."""
        return self._opened.score(x)


def is_package(ctx: Context, version: Version) -> bool:
    """Whether a version is a package that was brought along."""
    return any(entry.path == MLMODEL for entry in manifest_of(ctx, version).entries)


def opened(ctx: Context, version: Version) -> tuple[Package, OpenedModel]:
    """Load the package of a version by the trust that the settings give, else `Untrusted`."""
    package = read_package(files_of(ctx, version), ctx.ports.packagers, ctx.ports.signer)
    grant = granted(package, ctx.ports.signer.public_key, ctx.ports.trusted)
    try:
        return package, package.open(ctx.ports.packagers[package.section.name], grant)
    except Untrusted as error:
        raise advised(error, package) from error


def servable(ctx: Context, address: str, service: str) -> Servable:
    """A version ready to answer; a package's inputs are the outputs of the endpoint's feature service.

    `Invalid` when they are not those of its signature, `Untrusted` when loading would run code of somebody
    whom the settings do not name.
    """
    version = resolve(ctx, address, kind=KIND)
    if not is_package(ctx, version):
        _, body, predictor = load(ctx, address)
        return Servable(
            flavor=body.flavor,
            features=body.features,
            categorical=body.categorical,
            service=body.service,
            predictor=predictor,
        )
    package, model = opened(ctx, version)
    features = tuple(output.name for output in service_of(ctx, service).outputs)
    wanted = tuple(column.name for column in _columns(version, package.signature))
    if features != wanted:
        raise Invalid(
            f"{version.ref} takes {', '.join(wanted[:20])}, which are not what the feature service makes",
            hint="leave the endpoint's service out: one is made of the model's signature",
        )
    return Servable(
        flavor=package.section.name,
        features=features,
        categorical={},
        service=service,
        predictor=_Scoring(model, features),
    )


def service_of_model(ctx: Context, name: str, number: int) -> str:
    """The address of the feature service that makes a version's inputs; a package's signature is one."""
    version = resolve(ctx, Address(kind=KIND, name=name, selector=ByNumber(number)))
    if not is_package(ctx, version):
        return body_of(ctx, version).service
    package = read_package(files_of(ctx, version), ctx.ports.packagers, ctx.ports.signer)
    columns = _columns(version, package.signature)
    made = FeatureService(
        name=f"{name}-inputs",
        request=Schema(columns=columns),
        lookups=(),
        outputs=tuple(Output(name=column.name, expr=col(column.name)) for column in columns),
        description=f"the inputs of {version.ref}, as its signature has them",
    )
    return str(define_service(ctx, made).ref)


def _columns(version: Version, signature: ModelSignature | None) -> tuple[Column, ...]:
    """The columns an endpoint is asked with; `Invalid` for a model that takes anything but numbers."""
    inputs = () if signature is None else signature.inputs
    match inputs:
        case ():
            raise Invalid(
                f"{version.ref} does not say what its inputs are",
                hint="save it with input_example=, or signature=",
            )
        case (TensorSpec(shape=(-1, width)),) if 0 < width <= _WIDEST:
            return tuple(Column(name=f"x{at}", type=ColumnType.FLOAT, nullable=False) for at in range(width))
    return tuple(_column(version, spec) for spec in inputs)


def _column(version: Version, spec: ColumnSpec | TensorSpec) -> Column:
    kind = _TYPES.get(spec.type) if isinstance(spec, ColumnSpec) else None
    if kind is None or not spec.name or not isinstance(spec, ColumnSpec):
        raise Invalid(
            f"{version.ref} takes more than columns of numbers, which is all an endpoint gives a package",
            hint="encode texts and times as numbers before the model",
        )
    return Column(name=spec.name, type=kind, nullable=not spec.required)
