"""Whether an endpoint may look features up for what it is there for."""

from __future__ import annotations

import msgspec

from loopwright.core.addresses import Address, ByNumber
from loopwright.core.nouns import Event, Version
from loopwright.data.allowing import has_rules
from loopwright.engine.context import Context, Principal
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.features.plans import check_asked
from loopwright.features.verbs import service_of
from loopwright.registry.nouns import KIND as MODEL
from loopwright.registry.servable import is_package
from loopwright.registry.verbs import body_of
from loopwright.serving.nouns import EndpointConfig

__all__ = ["changes_permission", "check_permitted", "check_served"]

_RULES = "policy:purposes/"
_ANSWERED = frozenset({"access.granted", "access.refused"})


def changes_permission(event: Event) -> bool:
    """Whether what endpoints may read has changed: rules of purposes, or a grant."""
    return event.subject.startswith(_RULES) or event.kind in _ANSWERED


def check_served(ctx: Context, version: Version) -> None:
    """As `check_permitted`, of an endpoint's version, for who made it: grants are theirs."""
    config = msgspec.convert(manifest_of(ctx, version).body, EndpointConfig)
    check_permitted(ctx.acting_as(Principal(name=version.created_by)), config)


def check_permitted(ctx: Context, config: EndpointConfig) -> None:
    """Raise `Denied` when features its models look up may not be read for the endpoint's purpose.

    A model that came as a package looks nothing up: all its inputs are in the request.
    """
    if not has_rules(ctx):
        return
    for number in dict.fromkeys((*(route.version for route in config.routes), *config.shadow)):
        model = resolve(ctx, Address(kind=MODEL, name=config.model, selector=ByNumber(number)))
        if not is_package(ctx, model):
            service = service_of(ctx, body_of(ctx, model).service)
            check_asked(ctx, service, config.purpose, looked_up=False)
