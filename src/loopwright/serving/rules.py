"""Decides, purely: which version answers a key, which configurations are legal, how a split moves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b

from msgspec.structs import replace

from loopwright.core.errors import Invalid
from loopwright.serving.nouns import EndpointConfig, Route

__all__ = ["Splitter", "check_config", "next_step", "primary", "with_shadow", "with_split"]

_TOLERANCE = 1e-6
_SCALE = 2.0**-64
MAX_ROUTES = 16


def check_config(config: EndpointConfig) -> EndpointConfig:
    """The configuration itself when its routes can be followed, else `Invalid`."""
    routed = [route.version for route in config.routes]
    if not 1 <= len(routed) <= MAX_ROUTES:
        raise Invalid(
            f"an endpoint has 1 to {MAX_ROUTES} routes, not {len(routed)}", hint="route one version"
        )
    if len(set(routed)) != len(routed) or len(set(config.shadow)) != len(config.shadow):
        raise Invalid("a version is routed or shadowed twice", hint="name each version once")
    if any(not 0.0 < route.percent <= 100.0 for route in config.routes):
        raise Invalid(
            "a route's percent is over 0 and at most 100", hint="leave out versions that answer nothing"
        )
    total = math.fsum(route.percent for route in config.routes)
    if abs(total - 100.0) > _TOLERANCE:
        raise Invalid(f"the routes sum to {total:g} percent", hint="they have to sum to 100")
    if len(config.shadow) > MAX_ROUTES:
        raise Invalid(
            f"{len(config.shadow)} versions in shadow are too many", hint=f"keep at most {MAX_ROUTES}"
        )
    return config


def primary(config: EndpointConfig) -> int:
    """The version that answers most; of equal ones the first."""
    return max(config.routes, key=lambda route: route.percent).version


def with_split(config: EndpointConfig, version: int, percent: float) -> EndpointConfig:
    """The configuration in which `version` answers `percent` of the keys; the others share the rest.

    A version that begins to answer leaves the shadow; one at 0 percent leaves the routes.
    """
    if not 0.0 <= percent <= 100.0:
        raise Invalid(f"{percent} is not a percentage", hint="give 0 to 100")
    if percent < _TOLERANCE:
        percent = 0.0
    others = [route for route in config.routes if route.version != version]
    left = 100.0 - percent
    if left > _TOLERANCE and not others:
        raise Invalid(f"nobody would answer the other {left:g} percent", hint="route another version first")
    held = math.fsum(route.percent for route in others)
    kept = tuple(
        replace(route, percent=min(route.percent * left / held, 100.0))
        for route in others
        if left > _TOLERANCE
    )
    added = (
        (Route(version=version, percent=100.0 - math.fsum(r.percent for r in kept)),) if percent > 0 else ()
    )
    shadow = tuple(number for number in config.shadow if number != version or percent <= 0)
    return check_config(replace(config, routes=kept + added, shadow=shadow))


def with_shadow(config: EndpointConfig, version: int, *, shadowed: bool) -> EndpointConfig:
    """The configuration in which `version` is (or is no longer) asked behind every live call."""
    others = tuple(number for number in config.shadow if number != version)
    return check_config(replace(config, shadow=(*others, version) if shadowed else others))


def next_step(steps: Sequence[float], current: float) -> float | None:
    """The first canary step above the current percent, or None at the end."""
    if list(steps) != sorted(set(steps)) or not steps or steps[0] <= 0 or steps[-1] > 100:
        raise Invalid(f"{list(steps)} are not rising percentages", hint="write steps such as 5, 25, 100")
    return next((step for step in steps if step > current + _TOLERANCE), None)


class Splitter:
    """Chooses the version of a key by weighted rendezvous hashing, the same one in every process.

    Every version draws an exponential variate from the hash of (endpoint, version, key), divided by its
    weight; the least wins, so a version gets its percentage of keys, and raising one version's percentage
    only adds keys to it: no key leaves it. (Thaler and Ravishankar 1998; weights after Schindelhauer and
    Schomaker 2005.)
    """

    def __init__(self, endpoint: str, routes: Sequence[Route]) -> None:
        self._arms = tuple(
            (route.version, route.percent, blake2b(f"{endpoint}\0{route.version}\0".encode(), digest_size=8))
            for route in routes
        )
        self.only = routes[0].version if len(routes) == 1 else None
        """the version that answers everything, where there is one"""

    def choose(self, key: str) -> int:
        """The version that answers this key; about 1 us a route."""
        if self.only is not None:
            return self.only
        data = key.encode("utf-8", "surrogatepass")
        best, least = 0, math.inf
        for version, weight, seeded in self._arms:
            draw = seeded.copy()
            draw.update(data)
            uniform = (int.from_bytes(draw.digest(), "big") + 0.5) * _SCALE
            rank = -math.log(uniform) / weight
            if rank < least:
                best, least = version, rank
        return best
