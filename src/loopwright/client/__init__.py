"""A server's operations with the same calling face as a workspace; the HTTP library loads with `Client`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from loopwright.client.index import Entry, Index, Parameter, load_index

if TYPE_CHECKING:
    from loopwright.client.calling import Client

__all__ = ["Client", "Entry", "Index", "Parameter", "load_index"]


def __getattr__(name: str) -> Any:
    if name == "Client":
        return import_module("loopwright.client.calling").Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
