"""The HTTP surface: the API of all operations, probes, metrics, the live feed, and what is mounted beside."""

from loopwright.surfaces.http.api import PRINCIPAL
from loopwright.surfaces.http.gate import REPLY, Application, build_app
from loopwright.surfaces.http.host import Host, Limits

__all__ = ["PRINCIPAL", "REPLY", "Application", "Host", "Limits", "build_app"]
