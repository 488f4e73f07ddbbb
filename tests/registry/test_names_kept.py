"""A guarded model keeps its name, by whatever way another one is asked for."""

import pytest

from loopwright.core.errors import Conflict
from loopwright.core.nouns import Asset
from loopwright.engine.platform import rename
from loopwright.engine.publishing import ensure_asset
from loopwright.registry.verbs import guard
from loopwright.testing.builders import memory_context


def test_a_guarded_model_is_not_renamed_out_of_its_gate() -> None:
    ctx = memory_context()
    ctx.write(lambda tx: ensure_asset(ctx, tx, "model", "m"))
    guard(ctx, "m", "champion", ("policy:gate/m",))
    with pytest.raises(Conflict, match="guard its alias 'champion'"):
        rename(ctx, "model", "m", "free")


def test_a_model_nobody_guards_is_renamed() -> None:
    ctx = memory_context()
    ctx.write(lambda tx: ensure_asset(ctx, tx, "model", "m"))
    renamed: Asset = rename(ctx, "model", "m", "free")
    assert renamed.name == "free"
