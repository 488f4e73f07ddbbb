"""The relay: at least once, in order per subject, one reactor's fault stopping nobody else."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Unavailable
from loopwright.core.nouns import Event
from loopwright.engine.context import Context
from loopwright.engine.operation import Reactor
from loopwright.engine.relay import Relay
from loopwright.testing.builders import SetClock, memory_context


def _tell(ctx: Context, subject: str, number: int, kind: str = "thing.done") -> None:
    ctx.write(lambda tx: ctx.record(tx, kind, subject, {"n": number}))


def _relay(ctx: Context, function: object, *kinds: str) -> Relay:
    reactor = Reactor(name="r", kinds=kinds or ("thing.",), function=function)  # type: ignore[arg-type]  # any function of a test
    return Relay(ctx, [reactor], context_for=lambda event: ctx)


def test_events_arrive_once_when_nothing_fails_and_only_those_asked_for() -> None:
    ctx, seen = memory_context(), []
    for number in range(5):
        _tell(ctx, "a:x", number)
        _tell(ctx, "a:x", number, kind="other.done")
    relay = _relay(ctx, lambda _, event: seen.append(event.payload["n"]))
    relay.step()
    relay.step()
    assert seen == [0, 1, 2, 3, 4]


def test_a_new_relay_goes_on_where_the_last_one_was() -> None:
    ctx, seen = memory_context(), []
    _tell(ctx, "a:x", 1)
    _relay(ctx, lambda _, event: seen.append(event.payload["n"])).step()
    _tell(ctx, "a:x", 2)
    _relay(ctx, lambda _, event: seen.append(event.payload["n"])).step()
    assert seen == [1, 2]


@given(
    events=st.lists(st.sampled_from("abc"), min_size=1, max_size=25),
    failures=st.dictionaries(st.integers(0, 24), st.integers(1, 3), max_size=6),
)
def test_order_per_subject_holds_whatever_fails(events: list[str], failures: dict[int, int]) -> None:
    ctx = memory_context()
    clock = ctx.ports.clock
    assert isinstance(clock, SetClock)
    left, done = dict(failures), list[tuple[str, int]]()

    def react(_: Context, event: Event) -> None:
        number = event.payload["n"]
        if left.get(number, 0) > 0:
            left[number] -= 1
            raise Unavailable("try again")
        done.append((event.subject, number))

    for number, name in enumerate(events):
        _tell(ctx, f"s:{name}", number)
    relay = _relay(ctx, react)
    for _ in range(80):
        relay.step()
        clock.advance(timedelta(seconds=61))
    for name in set(events):
        wanted = [number for number, n in enumerate(events) if n == name]
        assert [number for subject, number in done if subject == f"s:{name}"] == wanted


def test_a_stuck_subject_does_not_hold_up_the_others_and_is_given_up_in_the_end() -> None:
    ctx, seen = memory_context(), list[str]()
    clock = ctx.ports.clock
    assert isinstance(clock, SetClock)

    def react(_: Context, event: Event) -> None:
        if event.subject == "s:bad" and event.payload["n"] == 0:
            raise ValueError("broken")
        seen.append(event.subject)

    _tell(ctx, "s:bad", 0)
    _tell(ctx, "s:good", 1)
    _tell(ctx, "s:bad", 2)
    relay = _relay(ctx, react)
    relay.step()
    assert seen == ["s:good"]
    for _ in range(20):
        clock.advance(timedelta(minutes=5))
        relay.step()
    assert seen == ["s:good", "s:bad"]
    with ctx.read() as tx:
        given_up = [e for e in tx.journal.read(0, 100) if e.kind == "reaction.given_up"]
    assert [e.payload["seq"] for e in given_up] == [1]


def test_lines_that_concern_nobody_cost_no_write_and_are_not_lost() -> None:
    ctx, seen = memory_context(), list[object]()

    def kept_at() -> int:
        with ctx.read() as tx:
            body = tx.documents.get("default", "relay", "r")
        return 0 if body is None else int(body["seq"])

    relay = _relay(ctx, lambda _, event: seen.append(event.payload["n"]))
    for number in range(3):
        _tell(ctx, "s:x", number, kind="other.done")
        relay.step()
    assert (kept_at(), seen) == (0, [])
    _tell(ctx, "s:x", 3)
    relay.step()
    assert (kept_at(), seen) == (4, [3])
    _tell(ctx, "s:x", 4, kind="other.done")
    relay.step()
    _tell(ctx, "s:x", 5)
    _relay(ctx, lambda _, event: seen.append(event.payload["n"])).step()  # of another process
    relay.step()
    assert (kept_at(), seen) == (6, [3, 5])
