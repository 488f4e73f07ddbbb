"""What spans of other instrumentations say in words of their own, in the words that are used here. Pure.

Sources: OpenTelemetry's semantic conventions for generative AI, OpenInference, and OpenLLMetry (Traceloop).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from loopwright.core.nesting import is_moderate
from loopwright.llm.nouns import CACHED, INPUTS, OUTPUTS, SPAN_TYPE, SPAN_USAGE

__all__ = ["translated"]

MODEL = "mlflow.llm.model"
PROVIDER = "mlflow.llm.provider"
_UNKNOWN = "UNKNOWN"

_KINDS: tuple[tuple[str, Mapping[str, str]], ...] = (
    (
        "openinference.span.kind",
        {
            kind: kind
            for kind in (
                "TOOL",
                "CHAIN",
                "LLM",
                "RETRIEVER",
                "EMBEDDING",
                "AGENT",
                "RERANKER",
                _UNKNOWN,
                "GUARDRAIL",
                "EVALUATOR",
            )
        },
    ),
    (
        "gen_ai.operation.name",
        {
            "chat": "CHAT_MODEL",
            "create_agent": "AGENT",
            "embeddings": "EMBEDDING",
            "execute_tool": "TOOL",
            "generate_content": "LLM",
            "invoke_agent": "AGENT",
            "text_completion": "LLM",
            "response": "LLM",
        },
    ),
    (
        "traceloop.span.kind",
        {"workflow": "WORKFLOW", "task": "TASK", "agent": "AGENT", "tool": "TOOL", "unknown": _UNKNOWN},
    ),
)
_INPUTS = ("input.value", "gen_ai.input.messages", "gen_ai.tool.call.arguments", "traceloop.entity.input")
_OUTPUTS = ("output.value", "gen_ai.output.messages", "gen_ai.tool.call.result", "traceloop.entity.output")
_MODELS = (
    "llm.response.model_name",
    "llm.model_name",
    "llm.request.model_name",
    "embedding.model_name",
    "gen_ai.response.model",
    "gen_ai.request.model",
)
_PROVIDERS = ("llm.provider", "gen_ai.provider.name", "gen_ai.system")
# Input, output, total, cache read, cache written.
_TOKENS: tuple[tuple[str, str, str, str, str], ...] = (
    (
        "llm.token_count.prompt",
        "llm.token_count.completion",
        "llm.token_count.total",
        "llm.token_count.prompt_details.cache_read",
        "llm.token_count.prompt_details.cache_write",
    ),
    (
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
        "",
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_write.input_tokens",
    ),
    ("gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens", "llm.usage.total_tokens", "", ""),
)


def translated(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a span, with type, inputs, outputs, tokens and model in our words too."""
    found = {key: unwrapped(value) for key, value in attributes.items()}
    kind = _kind(found)
    if kind is not None and found.get(SPAN_TYPE) in (None, _UNKNOWN):
        found[SPAN_TYPE] = kind
    for name, sources in ((INPUTS, _INPUTS), (OUTPUTS, _OUTPUTS), (MODEL, _MODELS), (PROVIDER, _PROVIDERS)):
        value = next((found[each] for each in sources if found.get(each)), None)
        if value is not None and name not in found:
            found[name] = value
    if SPAN_USAGE not in found:
        usage = _usage(found)
        if usage:
            found[SPAN_USAGE] = usage
    return found


def unwrapped(value: Any) -> Any:
    """A text that is the JSON of a text, a list or an object, as what it is: clients write attributes so."""
    if isinstance(value, str) and value[:1] in {'"', "[", "{"}:
        try:
            return json.loads(value) if is_moderate(value) else value
        except (ValueError, RecursionError):
            return value
    return value


def _kind(attributes: Mapping[str, Any]) -> str | None:
    for name, known in _KINDS:
        value = attributes.get(name)
        if isinstance(value, str) and value in known:
            return known[value]
    return None


def _usage(attributes: Mapping[str, Any]) -> dict[str, int]:
    for names in _TOKENS:
        told = [_count(attributes.get(name)) if name else None for name in names]
        given, made, total = told[:3]
        if given is None and made is None and total is None:
            continue
        if total is None and given is not None and made is not None:
            total = given + made
        values = zip(
            ("input_tokens", "output_tokens", "total_tokens", *CACHED[:2]),
            (given, made, total, *told[3:]),
            strict=True,
        )
        return {key: value for key, value in values if value is not None}
    return {}


def _count(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        return int(value)
    except ValueError:
        return None
