"""Online lookups, by hand: compiled services, JSON by msgspec, and no thread where answers are in memory.

The generic route of the operation stays beside it, and answers (or refuses) whatever is out of the ordinary.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from loopwright.core.addresses import check_name
from loopwright.core.errors import Corrupt, Invalid, NotFound
from loopwright.core.instants import parse_instant
from loopwright.core.nesting import check_json
from loopwright.core.nouns import Event
from loopwright.data.allowing import PURPOSES_PREFIX
from loopwright.data.nouns import POLICY
from loopwright.engine.context import Context
from loopwright.features.nouns import SERVICE, Purpose
from loopwright.features.plans import Asker, LookupPlan, LookupPlans
from loopwright.features.verbs import Rows
from loopwright.surfaces.http.host import Host
from loopwright.surfaces.http.replies import WholeReply
from loopwright.surfaces.http.threads import Pool

__all__ = ["LOOKUP", "Lookups"]

LOOKUP = "features.lookup"
_INLINE = 256
"""keys up to which an answer from memory is made on the event loop: under a millisecond"""

Otherwise = Callable[[bytes], Awaitable[Response]]


class _Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    rows: Rows
    at: str | None = None
    looked_up: bool = False
    purpose: Purpose = ""


_ASKED = msgspec.json.Decoder(_Asked)


class Lookups:
    """Answers `POST /features/services/{name}/lookup`."""

    def __init__(self, host: Host, pool: Pool, deadline_s: float) -> None:
        self._host = host
        self._pool = pool
        self._deadline_s = deadline_s
        self._plans = LookupPlans()
        self._news = host.live.subscribe(limit=100)

    def close(self) -> None:
        """Listen no more."""
        self._host.live.unsubscribe(self._news)

    async def answer(
        self, ctx: Context, name: str, request: Request, body: bytes, otherwise: Otherwise
    ) -> Response:
        """The reply for an authorised caller; `otherwise` is the operation's generic route."""
        asked = _read(body)
        if asked is None or request.scope["query_string"] or "loopwright-run" in request.headers:
            return await otherwise(body)
        rows, at, all_told = asked.rows, _instant(asked.at) or ctx.now(), asked.looked_up
        self._follow()
        asker = Asker(ctx.space, name, ctx.principal.name, asked.purpose, all_told)
        plan = self._plans.at_hand(asker)
        try:
            if plan is None or not _is_quick(ctx, plan, len(rows)):
                return WholeReply(
                    await self._pool.run(
                        lambda: (plan or self._load(ctx, asker)).written(rows, at, looked_up=all_told),
                        deadline_s=self._deadline_s,
                        doing=LOOKUP,
                    )
                )
            return WholeReply(plan.written(rows, at, looked_up=all_told))
        except (Corrupt, NotFound):  # told with what is around it
            return await otherwise(body)

    def _load(self, ctx: Context, asker: Asker) -> LookupPlan:
        check_name(asker.service)
        return self._plans.load(ctx, asker)

    def _follow(self) -> None:
        """Let go of plans when a service, or what columns may be read for, was changed in this process."""
        missed, self._news.missed = self._news.missed, False
        if missed or any(_is_of_plans(item) for item in self._news.drain()):
            self._plans.drop()


def _is_of_plans(item: Any) -> bool:
    return isinstance(item, Event) and (
        item.subject.startswith((f"{SERVICE}:", f"{POLICY}:{PURPOSES_PREFIX}"))
        or item.kind.startswith("access.")
    )


def _is_quick(ctx: Context, plan: LookupPlan, rows: int) -> bool:
    return ctx.ports.online.at_hand and not plan.calls and rows * max(plan.lookups, 1) <= _INLINE


def _read(body: bytes) -> _Asked | None:
    """What is asked, or None for what the generic route is to read or to refuse."""
    if b"\\u0000" in body:
        return None
    check_json(body)
    try:
        return _ASKED.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_instant(text)
    except Invalid as error:
        raise Invalid(error.message, hint=error.hint, where="body $.at") from error
