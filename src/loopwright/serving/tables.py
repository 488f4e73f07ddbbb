"""Route tables: everything needed to answer at an endpoint, loaded once and swapped whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import Address, ByAlias, ByNumber
from loopwright.core.digests import digest_value
from loopwright.core.errors import Invalid
from loopwright.core.nouns import Version
from loopwright.core.schema import Schema
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.features.assembly import Assembler
from loopwright.features.nouns import FeatureService
from loopwright.features.verbs import service_of
from loopwright.ports.predictors import Predictor
from loopwright.registry.nouns import KIND as MODEL
from loopwright.registry.servable import servable
from loopwright.serving.inputs import RowReader
from loopwright.serving.log import Sheet
from loopwright.serving.nouns import ENDPOINT, LIVE, EndpointConfig
from loopwright.serving.rules import Splitter

__all__ = ["LoadedModel", "RouteTable", "live_version", "load_table"]


class LoadedModel(NamedTuple):
    """A model version ready to answer. Models of one `recipe` are fed the same vectors."""

    version: int
    flavor: str
    features: tuple[str, ...]
    predictor: Predictor
    assembler: Assembler
    recipe: str
    sheet: Sheet


class RouteTable:
    """A snapshot of an endpoint that never changes: configuration, loaded versions, split, checks."""

    def __init__(
        self,
        endpoint: str,
        number: int,
        config: EndpointConfig,
        inputs: Schema,
        models: Mapping[int, LoadedModel],
    ) -> None:
        self.endpoint = endpoint
        self.number = number
        self.config = config
        self.inputs = inputs
        self.models = models
        self.reader = RowReader(inputs)
        self.splitter = Splitter(endpoint, config.routes)
        self.shadows = tuple(models[version] for version in config.shadow)
        self.sticky = config.sticky
        self.is_one_recipe = len({models[route.version].recipe for route in config.routes}) == 1
        """whether all versions that answer are fed the same vectors"""
        self.is_fast = all(models[route.version].predictor.fast for route in config.routes)
        """whether a small call may be answered on the event loop"""

    def model(self, version: int) -> LoadedModel | None:
        """The loaded model of that version, or None."""
        return self.models.get(version)


def live_version(ctx: Context, endpoint: str) -> Version:
    """The configuration an endpoint answers by, else `NotFound`."""
    return resolve(ctx, Address(kind=ENDPOINT, name=endpoint, selector=ByAlias(LIVE)))


def load_table(ctx: Context, version: Version, before: RouteTable | None) -> RouteTable:
    """The route table of an endpoint's configuration; model versions already loaded are taken over.

    Raises `Invalid` when a model asks for inputs the endpoint lacks.
    """
    if before is not None and before.number == version.number:
        return before
    config = msgspec.convert(manifest_of(ctx, version).body, EndpointConfig)
    inputs = service_of(ctx, config.service).request
    held = before.models if before is not None and before.config.model == config.model else {}
    loader = _Loader(ctx, version.name, config, inputs, held)
    numbers = dict.fromkeys((*(route.version for route in config.routes), *config.shadow))
    models = {number: loader.load(number) for number in numbers}
    return RouteTable(version.name, version.number, config, inputs, models)


class _Loader:
    """Loads the versions of a model for an endpoint; those held stay, equal recipes share an assembler."""

    def __init__(
        self,
        ctx: Context,
        endpoint: str,
        config: EndpointConfig,
        inputs: Schema,
        held: Mapping[int, LoadedModel],
    ) -> None:
        self._ctx = ctx
        self._endpoint = endpoint
        self._model, self._service = config.model, config.service
        self._inputs = inputs
        self._held = {number: model for number, model in held.items() if model.sheet.inputs == inputs}
        self._assemblers = {model.recipe: model.assembler for model in self._held.values()}

    def load(self, number: int) -> LoadedModel:
        if number in self._held:
            return self._held[number]
        address = str(Address(kind=MODEL, name=self._model, selector=ByNumber(number)))
        model = servable(self._ctx, address, self._service)
        service = service_of(self._ctx, model.service)
        _check_inputs(address, service, self._inputs)
        trained = replace(service, categorical=model.categorical)
        recipe = digest_value(trained)
        if recipe not in self._assemblers:
            self._assemblers[recipe] = Assembler(self._ctx.ports.online, trained, self._ctx.ports.functions)
        return LoadedModel(
            version=number,
            flavor=model.flavor,
            features=model.features,
            predictor=model.predictor,
            assembler=self._assemblers[recipe],
            recipe=recipe,
            sheet=Sheet(endpoint=self._endpoint, inputs=self._inputs, features=model.features),
        )


def _check_inputs(model: str, service: FeatureService, inputs: Schema) -> None:
    given = {column.name: column.type for column in inputs.columns}
    for column in service.request.columns:
        if given.get(column.name) is not column.type:
            raise Invalid(
                f"{model} needs the input {column.name!r} ({column.type}), which the endpoint is not given",
                hint="deploy it at an endpoint of its own feature service",
            )
