"""Working ahead on another thread: the same items in the same order, its errors, and no thread that stays behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from lmsys_rs.prefetch import prefetched


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "lmsys-prefetch"]


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    yield
    assert threads() == []


@pytest.mark.parametrize("depth", [1, 2, 50])
@pytest.mark.parametrize("n", [0, 1, 2, 500])
def test_items_come_in_order(n: int, depth: int) -> None:
    assert list(prefetched(range(n), depth)) == list(range(n))


def test_any_value_is_an_item() -> None:
    items = [None, False, (), StopIteration, ValueError("an error is a value too"), Ellipsis]
    assert list(prefetched(items)) == items


def test_items_are_made_on_another_thread() -> None:
    made_on = list(prefetched(threading.get_ident() for _ in range(3)))
    assert len(set(made_on)) == 1
    assert threading.get_ident() not in made_on


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)


@pytest.mark.parametrize("depth", [1, 3])
def test_next_items_are_made_while_one_is_used_but_no_more_than_depth_and_one(depth: int) -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for i in range(20):
            made.append(i)
            yield i

    ahead = prefetched(items(), depth)
    for used in range(3):
        assert next(ahead) == used
        # as many as wait in the queue, and one that waits for its place
        wait_until(lambda n=used + depth + 2: len(made) >= n)  # type: ignore[misc]  # of this round
        time.sleep(0.03)
        assert len(made) == used + depth + 2
    ahead.close()


class Stopped(BaseException):
    """Neither an Exception nor known to anybody."""


@pytest.mark.parametrize("error", [ValueError("third"), KeyboardInterrupt(), Stopped(), MemoryError()])
def test_error_comes_out_after_the_items_before_it(error: BaseException) -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise error

    ahead = prefetched(items())
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(type(error)) as raised:
        next(ahead)
    assert raised.value is error


def test_error_of_the_user_ends_the_thread() -> None:
    def use() -> None:
        for item in prefetched(range(10**9)):
            if item == 3:
                raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        use()
    # without a word from the user, as soon as nothing holds the iterator any more
    wait_until(lambda: threads() == [])
    assert threads() == []


def test_leaving_early_ends_the_thread_at_once() -> None:
    started = time.perf_counter()
    ahead = prefetched(iter(range(10**9)))
    for item in ahead:
        if item == 3:
            break
    ahead.close()
    assert threads() == []
    assert time.perf_counter() - started < 5


def test_nothing_starts_before_the_first_item_is_asked_for() -> None:
    ahead = prefetched(range(3))
    assert threads() == []
    assert next(ahead) == 0
    ahead.close()


def test_error_while_making_the_iterator_comes_out() -> None:
    class Broken:
        def __iter__(self) -> Iterator[int]:
            raise OSError("no such file")

    with pytest.raises(OSError, match="no such file"):
        list(prefetched(Broken()))
