"""Group commit: who shares a commit, who fails alone, who is released when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from loopwright.adapters.sql.group import LONGEST_S, MOST_WORKS, GroupWriter
from loopwright.core.errors import Unavailable


class ListStore:
    """A store whose rows are a list; it can be told to fail."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.groups: list[list[Any]] = []
        self.told: list[Any] = []
        self.fail_begin = self.fail_commit = False
        self.closed = False
        self._open: list[Any] | None = None

    def begin(self) -> None:
        if self.fail_begin:
            raise Unavailable("busy")
        self._open = []

    def run(self, function: Callable[[Any], Any]) -> Any:
        assert self._open is not None
        before = len(self._open)
        try:
            return function(self._open)
        except BaseException:
            if self._open is not None:
                del self._open[before:]
            raise

    def lose(self) -> None:
        """What SQLite does on a full disk."""
        self._open = None

    def is_open(self) -> bool:
        return self._open is not None

    def commit(self) -> list[Any]:
        assert self._open is not None
        if self.fail_commit:
            raise Unavailable("full")
        self.rows += self._open
        self.groups.append(self._open)
        self._open = None
        return self.groups[-1]

    def rollback(self) -> None:
        self._open = None

    def released(self, committed: Any) -> None:
        self.told.append(committed)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def store() -> ListStore:
    return ListStore()


@pytest.fixture
def writer(store: ListStore) -> Iterator[GroupWriter]:
    made = GroupWriter(store, name="writer")
    yield made
    made.close()
    assert store.closed


def queue_behind(
    writer: GroupWriter, works: list[Callable[[Any], Any]], meanwhile: Callable[[], None] = lambda: None
) -> list[Future[Any]]:
    """Submit works from threads of their own while the writer is held, so that all of them wait at once.

    The one that holds it and the one behind it, which takes longer than a group may, write nothing: their
    group is `[]`.
    """
    held, go = threading.Event(), threading.Event()

    def hold(_: Any) -> None:
        held.set()
        go.wait(20)

    with ThreadPoolExecutor(len(works) + 2) as pool:
        pool.submit(writer.submit, hold)
        assert held.wait(20)
        submitted = []
        for work in [lambda _: time.sleep(LONGEST_S), *works]:
            before = writer.waiting
            submitted.append(pool.submit(writer.submit, work))
            while writer.waiting == before:
                time.sleep(0.0005)
        meanwhile()
        go.set()
    return submitted[1:]


def put(value: Any) -> Callable[[list[Any]], Any]:
    def work(rows: list[Any]) -> Any:
        rows.append(value)
        return value

    return work


def test_a_lone_work_is_committed_at_once(writer: GroupWriter, store: ListStore) -> None:
    assert [writer.submit(put(n)) for n in range(3)] == [0, 1, 2]
    assert store.groups == [[0], [1], [2]]


def test_works_that_wait_share_a_commit(writer: GroupWriter, store: ListStore) -> None:
    done = queue_behind(writer, [put(n) for n in range(10)])
    assert [future.result() for future in done] == list(range(10))
    assert store.groups == [[], list(range(10))]


def test_a_group_ends_after_so_many_works(writer: GroupWriter, store: ListStore) -> None:
    queue_behind(writer, [put(n) for n in range(MOST_WORKS + 10)])
    sizes = [len(group) for group in store.groups]
    assert sizes == [0, MOST_WORKS, 10]


def test_a_group_ends_after_so_long(writer: GroupWriter, store: ListStore) -> None:
    def slow(rows: list[Any]) -> None:
        time.sleep(LONGEST_S * 2)
        rows.append("slow")

    queue_behind(writer, [put(1), slow, put(2)])
    assert store.groups[-1] == [2]
    assert store.rows == [1, "slow", 2]


def test_works_that_came_while_the_first_waited_long_are_in_its_group(
    writer: GroupWriter, store: ListStore
) -> None:
    """The first question of a group waits for other processes, which is no reason to end it."""
    arrived = threading.Event()

    def waits(rows: list[Any]) -> None:
        arrived.wait(20)
        time.sleep(2 * LONGEST_S)
        rows.append("first")

    with ThreadPoolExecutor(2) as pool:
        pool.submit(writer.submit, waits)
        while writer.waiting:
            time.sleep(0.0005)
        writer.post(put("second"), lambda *_: None)
        pool.submit(writer.submit, put("third"))
        while writer.waiting < 2:
            time.sleep(0.0005)
        arrived.set()
    assert store.groups == [["first", "second", "third"]]


def test_a_failing_work_fails_alone(writer: GroupWriter, store: ListStore) -> None:
    def fails(rows: list[Any]) -> None:
        rows.append("half")
        raise KeyError("mine")

    done = queue_behind(writer, [put(1), fails, put(2)])
    with pytest.raises(KeyError, match="mine"):
        done[1].result()
    assert [done[0].result(), done[2].result()] == [1, 2]
    assert store.rows == [1, 2]


def test_a_group_of_failing_works_is_not_committed(writer: GroupWriter, store: ListStore) -> None:
    def fails(_: list[Any]) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        writer.submit(fails)
    assert store.groups == []
    assert store.told == []


def test_works_whose_transaction_was_lost_by_another_are_repeated(
    writer: GroupWriter, store: ListStore
) -> None:
    def loses(_: list[Any]) -> None:
        store.lose()
        raise Unavailable("the disk is full")

    done = queue_behind(writer, [put(1), put(2), loses, put(3)])
    with pytest.raises(Unavailable, match="full"):
        done[2].result()
    assert [done[n].result() for n in (0, 1, 3)] == [1, 2, 3]
    assert sorted(store.rows) == [1, 2, 3]


@pytest.mark.parametrize("part", ["fail_begin", "fail_commit"])
def test_a_group_that_cannot_be_kept_fails_for_all_and_the_next_goes_on(
    writer: GroupWriter, store: ListStore, part: str
) -> None:
    done = queue_behind(writer, [put(1), put(2)], lambda: setattr(store, part, True))
    errors = [future.exception() for future in done]
    assert all(isinstance(error, Unavailable) for error in errors)
    assert errors[0] is not errors[1]
    setattr(store, part, False)
    assert writer.submit(put(3)) == 3
    assert store.rows == [3]


def test_listeners_are_told_after_the_commit_and_in_order(writer: GroupWriter, store: ListStore) -> None:
    queue_behind(writer, [put(n) for n in range(MOST_WORKS * 2)])
    writer.close()
    assert [value for group in store.told for value in group] == store.rows


def test_closing_finishes_what_waits_and_refuses_what_comes(store: ListStore) -> None:
    writer = GroupWriter(store, name="writer")
    done = []

    def close_later(_: list[Any]) -> None:
        threading.Thread(target=writer.close).start()

    with ThreadPoolExecutor(3) as pool:
        done.append(pool.submit(writer.submit, put(1)))
        done.append(pool.submit(writer.submit, close_later))
    assert done[0].result() == 1
    writer.close()
    with pytest.raises(Unavailable, match="closed"):
        writer.submit(put(2))


def test_posted_works_are_told_of_after_their_commit(writer: GroupWriter, store: ListStore) -> None:
    told: list[tuple[Any, Any, int]] = []

    def then(value: Any, error: BaseException | None) -> None:
        told.append((value, error, len(store.groups)))
        raise RuntimeError("whoever asked has gone")

    def fail(_: Any) -> None:
        raise KeyError("x")

    writer.post(put(1), then)
    writer.post(fail, then)
    writer.submit(put(2))
    assert [value for value, _, _ in told] == [1, None]
    assert isinstance(told[1][1], KeyError)
    assert told[0][2] >= 1


def test_nothing_is_posted_to_a_closed_writer() -> None:
    writer = GroupWriter(ListStore(), name="writer")
    writer.close()
    with pytest.raises(Unavailable):
        writer.post(put(1), lambda *_: None)
