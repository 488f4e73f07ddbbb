"""A context with an experiment, a run with files, and a few ways to make models."""

from __future__ import annotations

from datetime import UTC, datetime

from loopwright.core.nouns import Run, Version
from loopwright.engine.context import Context
from loopwright.ports.ledger import Artifact
from loopwright.registry import registered, versions
from loopwright.registry.nouns import NewVersion
from loopwright.testing.builders import SetClock, memory_context, memory_ports
from loopwright.tracking import experiments, lifecycle
from loopwright.tracking.lifecycle import NewRun

__all__ = ["NOON", "made_experiment", "made_run", "made_version", "put_file", "world"]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def world() -> Context:
    """An empty workspace in memory at a noon."""
    return memory_context(memory_ports(clock=SetClock(NOON)))


def made_experiment(ctx: Context, name: str = "home") -> str:
    """The id of a new experiment."""
    return experiments.make(ctx, name).id


def made_run(ctx: Context, experiment_id: str) -> Run:
    """A new run of an experiment."""
    return lifecycle.create_run(ctx, NewRun(experiment_id=experiment_id, started_at=NOON))


def put_file(ctx: Context, owner: str, path: str, data: bytes) -> str:
    """Keep a file of an owner; the digest of its bytes."""
    digest = ctx.ports.objects.put(data)
    file = Artifact(
        space=ctx.space, owner=owner, path=path, digest=digest, size_bytes=len(data), at=ctx.now()
    )
    ctx.write(lambda tx: tx.artifacts.put(file))
    return digest


def made_version(ctx: Context, name: str, source: str = "s3://bucket/x", **tags: str) -> Version:
    """The next version of a model, which is made when it is not there."""
    with ctx.read() as tx:
        is_there = tx.assets.find(ctx.space, "model", name) is not None
    if not is_there:
        registered.create(ctx, name)
    return versions.create(ctx, name, NewVersion(source=source, tags=tags))
