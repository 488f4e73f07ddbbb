"""Features that are named one by one: `weather:temp`, `weather@3:temp`, `weather:*`."""

from __future__ import annotations

from collections.abc import Sequence

from loopwright.core.errors import Invalid
from loopwright.core.nouns import Version
from loopwright.engine.context import Context
from loopwright.features.nouns import FeatureView
from loopwright.features.offline import Picked, view_of

__all__ = ["parsed", "picked"]


def parsed(reference: str) -> tuple[str, str]:
    """The view and the feature that a reference names; the feature may be `*`."""
    view, _, feature = reference.rpartition(":")
    if not view or not feature:
        raise Invalid(
            f"{reference[:80]!r} names no feature", hint="write view:feature, or view:* for all of a view"
        )
    return view, feature


def picked(ctx: Context, references: Sequence[str]) -> tuple[tuple[Picked, ...], tuple[str, ...]]:
    """The views that are referred to, and the columns of all that is wanted as `view.feature`, in order.

    A feature that is named twice is there once. `Invalid` for one that its view does not have, or where two
    versions of a view are referred to.
    """
    found: dict[str, tuple[FeatureView, Version]] = {}
    wanted: dict[tuple[str, str], None] = {}
    for reference in references:
        address, feature = parsed(reference)
        if address not in found:
            found[address] = view_of(ctx, address)
        view = found[address][0]
        for name in view.features if feature == "*" else (feature,):
            if name not in view.features:
                raise Invalid(
                    f"the view {view.name!r} has no feature {name!r}",
                    hint=f"its features are {', '.join(view.features)}",
                )
            wanted[view.name, name] = None
    views = {view.name: (view, version) for view, version in found.values()}
    _check_one_version(found)
    chosen = tuple(
        Picked(view=view, version=version, names=tuple(n for v, n in wanted if v == view.name))
        for view, version in views.values()
    )
    return chosen, tuple(f"{view}.{name}" for view, name in wanted)


def _check_one_version(found: dict[str, tuple[FeatureView, Version]]) -> None:
    numbers: dict[str, int] = {}
    for view, version in found.values():
        if numbers.setdefault(view.name, version.number) != version.number:
            raise Invalid(
                f"two versions of the view {view.name!r} are referred to",
                hint="use one, or a feature service that gives them different names",
            )
