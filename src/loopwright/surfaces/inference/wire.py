"""The shapes of V2 messages as they stand in JSON, and how they are read and written."""

from __future__ import annotations

from typing import Any

import msgspec

from loopwright.core.errors import Invalid

__all__ = [
    "InferRequest",
    "InferResponse",
    "InputTensor",
    "ModelMetadata",
    "OutputTensor",
    "RequestedOutput",
    "TensorMetadata",
    "encode",
    "read_request",
]


class TensorParameters(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the binary tensor extension says of one tensor."""

    binary_data_size: int | None = None
    binary_data: bool | None = None


class RequestParameters(msgspec.Struct, frozen=True):
    """What the binary tensor extension says of a whole request."""

    binary_data_output: bool = False


class InputTensor(msgspec.Struct, frozen=True):
    """One input of a request; its data is decoded once its column is known."""

    name: str
    datatype: str
    shape: list[int]
    data: msgspec.Raw = msgspec.Raw(b"")
    """empty: the values follow as bytes"""
    parameters: TensorParameters = TensorParameters()


class RequestedOutput(msgspec.Struct, frozen=True):
    """An output the caller asks for."""

    name: str
    parameters: TensorParameters = TensorParameters()


class InferRequest(msgspec.Struct, frozen=True):
    """A request for predictions."""

    inputs: list[InputTensor]
    id: str = ""
    outputs: list[RequestedOutput] | None = None
    parameters: RequestParameters = RequestParameters()


class OutputTensor(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One output of a reply: its data here, or its size when it follows as bytes."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | None = None
    parameters: TensorParameters = TensorParameters()


class InferResponse(msgspec.Struct, frozen=True, gc=False):
    """The reply to a request."""

    model_name: str
    model_version: str
    id: str
    outputs: list[OutputTensor]


class TensorMetadata(msgspec.Struct, frozen=True, omit_defaults=True):
    """An input or output a model is described by; -1 stands for the number of rows."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] = {}


class ModelMetadata(msgspec.Struct, frozen=True):
    """What a model says of itself."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


_REQUEST = msgspec.json.Decoder(InferRequest)
encode = msgspec.json.Encoder().encode
"""A value as JSON bytes."""


def read_request(head: bytes | memoryview) -> InferRequest:
    """Decode the JSON head of a request; `Invalid` says where it is wrong."""
    try:
        return _REQUEST.decode(head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(
            f"the body is not a V2 inference request: {error}", hint="see POST /v2/models/NAME/infer"
        ) from error
