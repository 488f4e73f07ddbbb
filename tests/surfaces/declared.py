"""Operations of every form, and a host that serves them, for the tests of surfaces and client."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, cast

import msgspec

from loopwright.adapters.world import RandomIds, SystemClock
from loopwright.core.addresses import AssetName
from loopwright.core.errors import Conflict, Fault, NotFound, PolicyBlocked, Unavailable
from loopwright.core.nouns import Job, JobState, Json
from loopwright.engine.context import Context, Ports, Principal
from loopwright.engine.live import LiveFeed
from loopwright.engine.operation import Blob, Upload, invoke, operation, operations_in
from loopwright.ports.ledger import Page
from loopwright.testing.ledger import MemoryLedger
from loopwright.workspace.settings import Settings

AT = datetime(2013, 7, 1, tzinfo=UTC)


class Colour(StrEnum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """A value with all sorts of fields."""

    name: str
    size: int
    colour: Colour = Colour.RED
    ratio: float | None = None
    at: datetime = AT
    tags: dict[str, str] = {}
    parts: tuple[str, ...] = ()


class Echo(msgspec.Struct, frozen=True, kw_only=True):
    """What arrived."""

    name: str
    principal: str
    space: str
    wanted: tuple[str, ...] = ()
    colour: Colour | None = None
    at: datetime | None = None
    box: Box | None = None
    limit: int = 0


@operation("boxes.show", scope="box:read", route="GET /boxes/{name}")
def show(
    ctx: Context,
    name: AssetName,
    *,
    wanted: tuple[str, ...] = (),
    colour: Colour | None = None,
    at: datetime | None = None,
    box: Box | None = None,
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000, description="how many at most")] = 10,
) -> Echo:
    """Show a box.

    The second paragraph says more.
    """
    return Echo(
        name=name,
        principal=ctx.principal.name,
        space=ctx.space,
        wanted=wanted,
        colour=colour,
        at=at,
        box=box,
        limit=limit,
    )


@operation("boxes.make", scope="box:write", route="POST /boxes/{name}", status=201)
def make(ctx: Context, name: AssetName, size: int, *, box: Box | None = None, reason: str = "") -> Box:
    """Make a box."""
    return Box(name=name, size=size, tags={"reason": reason, "by": ctx.principal.name}, parts=("a", "b"))


@operation("boxes.list", scope="box:read", route="GET /boxes")
def list_boxes(ctx: Context, *, limit: int = 3, token: str = "") -> Page[Box]:
    """List boxes."""
    start = int(token or 0)
    items = tuple(Box(name=f"box {i}", size=i) for i in range(start, min(start + limit, 7)))
    return Page(items=items, next_token=str(start + limit) if start + limit < 7 else "")


@operation("boxes.stream", scope="box:read", route="GET /stream")
def stream(
    ctx: Context, *, count: int = 5, fail_at: int | None = None, with_fault: bool = False
) -> Iterator[Box]:
    """Give boxes one after the other."""
    for i in range(count):
        if i == fail_at:
            if with_fault:
                raise ZeroDivisionError("the secret detail")
            raise Unavailable("the shelf is out of reach", hint="fetch a ladder", where=f"box {i}")
        yield Box(name=f"box {i}", size=i)


@operation("boxes.download", scope="box:read", route="GET /boxes/{name}/content")
def download(ctx: Context, name: AssetName, *, size: int = 1000) -> Blob:
    """Download a box."""
    data = bytes(i % 251 for i in range(size))
    return Blob(
        file=io.BytesIO(data), size_bytes=size, media_type="application/x-box", filename=f"{name}.box"
    )


@operation("boxes.upload", scope="box:write", route="POST /boxes/{name}/content")
def upload(ctx: Context, name: AssetName, content: Upload, *, note: str = "") -> Json:
    """Upload a box."""
    size, total = 0, 0
    for piece in content.chunks:
        size += len(piece)
        total = (total + sum(piece)) % 1_000_003
    return {"name": name, "size": size, "sum": total, "type": content.media_type, "note": note}


@operation("boxes.refuse", scope="box:write", route="POST /boxes/{name}/refuse-content")
def refuse(ctx: Context, name: AssetName, content: Upload) -> Json:
    """Refuse a box before reading it."""
    raise NotFound(f"there is no shelf {name!r}", hint="make the shelf first")


@operation("boxes.ship", scope="box:write", route="POST /boxes/{name}/ship")
def ship(ctx: Context, name: AssetName) -> Job:
    """Ship a box."""
    return Job(
        id="j1",
        space=ctx.space,
        operation="boxes.ship",
        arguments={"name": name},
        state=JobState.QUEUED,
        created_at=AT,
        created_by=ctx.principal.name,
        not_before=AT,
    )


@operation("jobs.show", scope="job:read", route="GET /jobs/{job_id}")
def show_job(ctx: Context, job_id: str) -> Job:
    """Show a job."""
    return msgspec.structs.replace(ship(ctx, "x"), id=job_id, state=JobState.DONE)


@operation("boxes.fail", scope="box:write", route="POST /fail/{how}")
def fail(ctx: Context, how: str) -> None:
    """Fail in a given way."""
    match how:
        case "blocked":
            raise PolicyBlocked(
                "the gate said no", decision_id="d1", hint="look at decision:d1", where="gate"
            )
        case "conflict":
            raise Conflict("changed meanwhile", hint="read again")
        case "fault":
            raise Fault("we did wrong")
        case "crash":
            raise ZeroDivisionError("the secret detail")


@operation("boxes.wait", scope="box:write", route="POST /wait")
def wait(ctx: Context, seconds: float) -> None:
    """Take a while."""
    time.sleep(seconds)


@operation("boxes.measure", scope="box:read", local=True, command="measure")
def measure(ctx: Context, file: str, *, key: tuple[str, ...] = ()) -> Json:
    """Measure a file of one's own."""
    with open(file, "rb") as opened:
        return {"bytes": len(opened.read()), "key": list(key)}


class MemoryPorts:
    """The ports these operations need: a ledger in memory, a clock and ids."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.clock = SystemClock()
        self.ids = RandomIds()


class DeclaredHost:
    """A host over the operations above, with a ledger in memory."""

    def __init__(self, settings: Settings | None = None, *, is_told: bool = True) -> None:
        self.operations = operations_in([sys.modules[__name__]])
        self.live = LiveFeed()
        self.settings = settings or Settings(workspace="/nowhere", user="ada")
        self.ports = MemoryPorts()
        self.principal = Principal(name=self.settings.principal)
        if is_told:
            self.ports.ledger.subscribe(self.live.publish)

    def context(self, principal: Principal | None = None, space: str | None = None) -> Context:
        """As the workspace gives it."""
        ports = cast(Ports, self.ports)
        return Context(ports, principal=principal or self.principal, space=space or self.settings.space)

    def call(self, name: str, /, **arguments: Any) -> Any:
        """As the workspace calls."""
        upload = arguments.pop("upload", None)
        return invoke(self.operations[name], self.context(), arguments, upload=upload)

    def record(self, kind: str, *, space: str | None = None, **payload: Any) -> str:
        """Write one line of the journal."""
        ctx = self.context(space=space)
        return ctx.write(lambda tx: ctx.record(tx, kind, "box:1", payload))
