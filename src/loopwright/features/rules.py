"""Pure checks of definitions: every name that is used exists."""

from __future__ import annotations

from collections.abc import Mapping

from loopwright.core.addresses import check_name
from loopwright.core.errors import Invalid
from loopwright.core.expressions import columns_of
from loopwright.core.instants import duration
from loopwright.core.schema import Schema
from loopwright.features.nouns import FeatureService, FeatureView, feature_names

__all__ = ["check_service", "check_view"]


def check_view(view: FeatureView, source: Schema) -> None:
    """Raise `Invalid` unless every column the view uses is in its source."""
    check_name(view.name)
    if not view.entity or not feature_names(view):
        raise Invalid(
            f"feature view {view.name!r} lacks an entity or features", hint="name at least one of each"
        )
    clash = set(view.latest) & set(view.windows)
    if clash or "." in view.name:
        raise Invalid(f"feature view {view.name!r} has an ambiguous name: {sorted(clash) or view.name}")
    duration(view.ttl)
    used = {
        *view.entity,
        view.event_time,
        view.known_at,
        *view.latest,
        *filter(None, (view.order, view.row_id)),
    }
    for window in view.windows.values():
        duration(window.over)
        used |= columns_of(window)
    missing = sorted(used - set(source.names))
    if missing:
        raise Invalid(
            f"view {view.name!r} uses {', '.join(missing)}, which dataset:{view.source} does not have",
            hint=f"its columns are {', '.join(source.names)}",
        )


def check_service(service: FeatureService, views: Mapping[str, FeatureView]) -> None:
    """Raise `Invalid` unless every lookup can be keyed and every output's columns exist."""
    check_name(service.name)
    known = set(service.request.names)
    for lookup in service.lookups:
        view = views[lookup.view]
        if len(lookup.keys) != len(view.entity):
            raise Invalid(
                f"service {service.name!r} asks {view.name!r} by {list(lookup.keys)}",
                hint=f"name one request column for each part of its entity, {list(view.entity)}, in order",
            )
        for column in lookup.keys:
            service.request.column(column)
        known |= {f"{view.name}.{feature}" for feature in feature_names(view)}
    names = [output.name for output in service.outputs]
    if len(set(names)) != len(names) or not names:
        raise Invalid(f"service {service.name!r} has no outputs or two of one name")
    for output in service.outputs:
        missing = sorted(columns_of(output.expr) - known)
        if missing:
            raise Invalid(
                f"output {output.name!r} of {service.name!r} uses {', '.join(missing)}, which nothing gives",
                hint=f"there are {', '.join(sorted(known))}",
            )
    strange = sorted(set(service.categorical) - set(names))
    if strange:
        raise Invalid(f"service {service.name!r} has levels for {', '.join(strange)}, which are no outputs")
