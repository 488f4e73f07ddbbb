"""Writes replies to inference requests: JSON tensors, or a JSON head with raw tensors behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from loopwright.core.errors import Invalid
from loopwright.serving.nouns import Reply
from loopwright.surfaces.inference.describe import OUTPUTS
from loopwright.surfaces.inference.tensors import bytes_of_strings
from loopwright.surfaces.inference.wire import (
    InferRequest,
    InferResponse,
    OutputTensor,
    RequestedOutput,
    TensorParameters,
    encode,
)

__all__ = ["check_outputs", "write_reply"]

_ALL = [RequestedOutput(name) for name in OUTPUTS]


def check_outputs(request: InferRequest) -> None:
    """Refuse outputs that no endpoint has, before anything is predicted."""
    for output in request.outputs or ():
        if output.name not in OUTPUTS:
            raise Invalid(
                f"there is no output {output.name[:80]!r}", hint=f"the outputs are {', '.join(OUTPUTS)}"
            )


def write_reply(request: InferRequest, endpoint: str, reply: Reply) -> tuple[bytes, int | None]:
    """The body, and the length of its JSON head when tensors follow it as bytes."""
    values: dict[str, Sequence[Any]] = {
        "score": reply.scores,
        "model_version": reply.versions,
        "prediction_id": reply.prediction_ids,
    }
    tensors: list[OutputTensor] = []
    tail: list[bytes] = []
    for output in request.outputs or _ALL:
        asked = output.parameters.binary_data
        binary = request.parameters.binary_data_output if asked is None else asked
        tensors.append(_tensor(output.name, values[output.name], tail if binary else None))
    version = (
        reply.versions[0] if len(set(reply.versions)) == 1 else max(reply.versions, key=reply.versions.count)
    )
    head = encode(InferResponse(endpoint, str(version), reply.request_id, tensors))
    return (head + b"".join(tail), len(head)) if tail else (head, None)


def _tensor(name: str, values: Sequence[Any], tail: list[bytes] | None) -> OutputTensor:
    """The tensor with its data, or with its size when its bytes were put on the tail."""
    kind, shape = OUTPUTS[name], [len(values)]
    if tail is None:
        return OutputTensor(name, kind, shape, list(values))
    if kind == "BYTES":
        data = bytes_of_strings(values)
    else:
        data = np.asarray(values, dtype="<f8" if kind == "FP64" else "<i8").tobytes()
    tail.append(data)
    return OutputTensor(name, kind, shape, None, TensorParameters(binary_data_size=len(data)))
