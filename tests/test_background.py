"""Items that are read ahead and calls that are carried out behind, in threads."""

import threading
from collections.abc import Iterator

import pytest

from posebridge.background import CallsBehind, read_ahead


class Source:
    """Numbers from 0, of which ``taken`` have been asked for so far."""

    def __init__(self, count: int):
        self.count, self.taken = count, 0
        self.more = threading.Condition()

    def __iter__(self) -> Iterator[int]:
        for i in range(self.count):
            with self.more:
                self.taken += 1
                self.more.notify_all()
            yield i

    def wait_for(self, taken: int) -> bool:
        with self.more:
            return self.more.wait_for(lambda: self.taken >= taken, timeout=10)


@pytest.mark.parametrize("count", [1, 3, 50])
def test_all_items_in_order(count):
    assert list(read_ahead(range(20), count)) == [*range(20)]
    assert list(read_ahead([], count)) == []


def test_a_bounded_number_is_read_ahead():
    source = Source(100)
    items = read_ahead(source, 2)
    assert next(items) == 0
    assert source.wait_for(3)  # the thread goes on while nothing is asked for
    assert source.taken == 3
    items.close()
    assert source.taken == 3


def test_errors_come_after_the_items_before_them():
    def broken():
        yield 1
        yield 2
        raise KeyError("three")

    items = read_ahead(broken(), 5)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(KeyError, match="three"):
        next(items)


def test_items_are_made_in_one_thread_beside_this_one():
    def names():
        for _ in range(4):
            yield threading.current_thread()

    (thread,) = set(read_ahead(names(), 2))
    assert thread is not threading.current_thread()
    assert not thread.is_alive()


def test_calls_are_finished_in_order_on_exit():
    done = []
    with CallsBehind(2) as calls:
        for i in range(9):
            calls.add(done.append, i)
            assert len(done) >= i - 2
    assert done == [*range(9)]


def refuse() -> None:
    raise KeyError("refused")


def test_errors_of_calls_are_raised():
    with pytest.raises(KeyError, match="refused"), CallsBehind(1) as calls:
        calls.add(refuse)

    def refused_by_the_next() -> None:
        with CallsBehind(1) as calls:
            calls.add(refuse)
            calls.add(print)
            raise AssertionError

    with pytest.raises(KeyError, match="refused"):
        refused_by_the_next()


def test_waiting_calls_are_dropped_after_an_error():
    begun, go, done = threading.Event(), threading.Event(), []

    def wait() -> None:
        begun.set()
        go.wait(10)

    def fail() -> None:
        with CallsBehind(3) as calls:
            calls.add(wait)
            calls.add(done.append, 1)
            assert begun.wait(10)
            threading.Timer(0.1, go.set).start()
            raise KeyError("elsewhere")

    with pytest.raises(KeyError, match="elsewhere"):
        fail()
    assert done == []
