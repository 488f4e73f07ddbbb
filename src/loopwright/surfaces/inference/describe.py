"""Describes endpoints as V2 models: their inputs, their outputs, what the server can do."""

from __future__ import annotations

from loopwright import __version__
from loopwright.serving.tables import RouteTable
from loopwright.surfaces.inference.datatypes import NATURAL
from loopwright.surfaces.inference.wire import ModelMetadata, TensorMetadata

__all__ = ["OUTPUTS", "model_index", "model_metadata", "server_metadata"]

OUTPUTS = {"score": "FP64", "model_version": "INT64", "prediction_id": "BYTES"}
"""What every endpoint answers, one value a row, and its data type."""


def server_metadata() -> dict[str, object]:
    """What the server says of itself."""
    return {
        "name": "loopwright",
        "version": __version__,
        "extensions": ["binary_tensor_data"],
    }


def model_metadata(table: RouteTable) -> ModelMetadata:
    """What an endpoint says of itself; an input that may be left out is marked optional."""
    inputs = [
        TensorMetadata(
            name=column.name,
            datatype=NATURAL[column.type],
            shape=[-1],
            parameters={"optional": True} if column.nullable else {},
        )
        for column in table.inputs.columns
    ]
    flavors = {model.flavor for model in table.models.values()}
    return ModelMetadata(
        name=table.endpoint,
        versions=[str(version) for version in sorted(table.models)],
        platform=f"loopwright_{'_'.join(sorted(flavors))}",
        inputs=inputs,
        outputs=[TensorMetadata(name=name, datatype=kind, shape=[-1]) for name, kind in OUTPUTS.items()],
    )


def model_index(tables: dict[str, RouteTable]) -> list[dict[str, str]]:
    """The versions that are loaded, as the repository extension lists them."""
    return [
        {"name": name, "version": str(version), "state": "READY", "reason": ""}
        for name, table in sorted(tables.items())
        for version in sorted(table.models)
    ]
