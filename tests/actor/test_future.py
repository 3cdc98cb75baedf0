"""One future for loops and threads: nobody who waits is forgotten, whoever settles it and when."""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pykka
import pytest

from tests.support.actors import HANG_S, Died, LoopThread, in_threads, step_runtime
from zfoo_py.actor import LoopFuture, Runtime, refuse_blocking, running_loop
from zfoo_py.errors import BlockingCallError, ZfooError

ROUNDS = 300


@pytest.fixture
def impatient() -> Iterator[None]:
    """Let the interpreter change threads after nearly every instruction."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


async def wait(future):
    return await future


# ------------------------------------------------------------------------------------------------ settling
def test_a_new_future_is_pending():
    future = LoopFuture()
    assert (future.done(), future.value(), future.exception()) == (False, None, None)
    assert isinstance(future, pykka.Future)


def test_the_first_outcome_wins():
    for first in ({"value": 1}, {"error": ValueError()}):
        future = LoopFuture()
        assert future.settle(**first) is True
        assert future.settle(2) is False
        assert future.settle(error=KeyError()) is False
        assert (future.done(), future.value(), future.exception()) == (True, first.get("value"), first.get("error"))


def test_of_many_threads_that_settle_exactly_one_wins(impatient):
    for _ in range(ROUNDS):
        future = LoopFuture()
        wins = []

        def settle(number, future=future, wins=wins):
            if future.settle(number) if number % 2 else future.settle(error=ZfooError(number)):
                wins.append(number)

        in_threads(*(lambda number=number: settle(number) for number in range(3)))
        (winner,) = wins
        if winner % 2:
            assert (future.value(), future.exception()) == (winner, None)
        else:
            assert (future.value(), future.exception().args) == (None, (winner,))


def test_set_exception_without_an_exception_is_an_error_of_its_own():
    future = LoopFuture()
    future.set_exception()
    with pytest.raises(RuntimeError, match="without an exception"):
        future.get()


def test_set_exception_keeps_the_traceback():
    future = LoopFuture()
    try:
        {}["missing"]
    except KeyError:
        future.set_exception()
        current = sys.exc_info()
    assert (type(future.exception()), future.exception(), future.exception().__traceback__) == current


# ------------------------------------------------------------------------------------------------ callbacks
def test_callbacks_run_once_in_order_in_the_thread_that_settles():
    future = LoopFuture()
    calls = []
    for number in range(3):
        future.add_done_callback(lambda done, number=number: calls.append((number, done, threading.get_ident())))
    assert calls == []
    idents = []
    in_threads(lambda: (idents.append(threading.get_ident()), future.settle()))
    assert calls == [(number, future, idents[0]) for number in range(3)]
    future.settle()
    assert len(calls) == 3


def test_a_callback_of_a_settled_future_runs_at_once():
    future = LoopFuture()
    future.settle(7)
    values = []
    future.add_done_callback(lambda done: values.append(done.value()))
    assert values == [7]


@pytest.mark.parametrize("error", [ValueError(), Died()])
def test_a_callback_that_raises_harms_neither_the_settler_nor_the_other_waiters(error):
    def raise_it(_):
        raise error

    async def main():
        future = LoopFuture()
        future.add_done_callback(raise_it)
        task = asyncio.create_task(wait(future))
        await asyncio.sleep(0)
        future.add_done_callback(raise_it)
        values = []
        future.add_done_callback(lambda done: values.append(done.value()))
        assert future.settle("value") is True
        assert values == ["value"]
        assert await task == "value"
        future.add_done_callback(raise_it)

    asyncio.run(main())


# ------------------------------------------------------------------------------------------------ coroutines
@pytest.mark.parametrize("home", [True, False])
def test_awaiting_gives_the_value_or_raises_the_error_before_and_after(home):
    async def main():
        runtime = Runtime(asyncio.get_running_loop()) if home else None
        for when in ("before", "after"):
            for outcome in ({"value": 5}, {"error": ZfooError("told")}):
                future = LoopFuture(runtime)
                if when == "before":
                    future.settle(**outcome)
                tasks = [asyncio.create_task(wait(future)) for _ in range(3)]
                await asyncio.sleep(0)
                future.settle(**outcome)
                results = await asyncio.gather(*tasks, return_exceptions=True)
                assert results == [next(iter(outcome.values()))] * 3

    asyncio.run(main())


def test_awaiting_a_settled_future_does_not_suspend():
    future = LoopFuture()
    future.settle(3)
    coroutine = wait(future)
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    assert stopped.value.value == 3


@pytest.mark.parametrize("when", ["before", "after"])
def test_stop_iteration_becomes_a_runtime_error_instead_of_a_hang(when):
    async def main():
        future = LoopFuture()
        error = StopIteration("from a receiver")
        if when == "before":
            future.settle(error=error)
        task = asyncio.create_task(wait(future))
        await asyncio.sleep(0)
        future.settle(error=error)
        with pytest.raises(RuntimeError) as caught:
            await task
        assert caught.value.__cause__ is error

    asyncio.run(main())


def test_cancelling_one_that_awaits_leaves_the_future_and_the_others():
    async def main():
        future = LoopFuture()
        gone, stays = (asyncio.create_task(wait(future)) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert not future.done()
        future.settle("value")
        assert await stays == "value"
        assert await future == "value"

    asyncio.run(main())


def test_a_timeout_around_an_await_works_and_leaves_the_future():
    async def main():
        future = LoopFuture()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await future
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wait(future), 0)
        assert future.settle(1)

    asyncio.run(main())


def test_one_future_wakes_coroutines_of_several_loops_and_waiting_threads():
    with LoopThread() as one, LoopThread() as other:
        for home in (one.runtime, None):
            future = LoopFuture(home)
            waiting = [
                asyncio.run_coroutine_threadsafe(wait(future), thread.runtime.loop)
                for thread in (one, other)
                for _ in range(3)
            ]
            with ThreadPoolExecutor(4) as pool:
                waiting += [pool.submit(future.get, timeout=HANG_S) for _ in range(4)]
                in_threads(lambda future=future: future.settle("all"))
                assert [each.result(HANG_S) for each in waiting] == ["all"] * 10


def test_a_future_settled_on_its_home_wakes_a_coroutine_of_another_loop():
    with LoopThread() as home, LoopThread() as other:
        future = LoopFuture(home.runtime)
        waiting = asyncio.run_coroutine_threadsafe(wait(future), other.runtime.loop)
        home.call(future.settle, "from home")
        assert waiting.result(HANG_S) == "from home"


def test_a_loop_that_was_closed_meanwhile_does_not_disturb_the_rest():
    future = LoopFuture()
    loop = asyncio.new_event_loop()
    coroutine = wait(future)
    task = loop.create_task(coroutine)
    loop.run_until_complete(asyncio.sleep(0))
    task.cancel()
    calls = []
    future.add_done_callback(calls.append)
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    future._waiters.insert(0, loop.create_future())  # one that was still there when the loop closed
    assert future.settle(1)
    assert calls == [future]


# ------------------------------------------------------------------------------------------------ threads
def test_get_waits_without_limit_with_limit_and_not_at_all():
    future = LoopFuture()
    for timeout in (0, -1, 0.0):
        with pytest.raises(pykka.Timeout, match="seconds"):
            future.get(timeout=timeout)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(future.get), pool.submit(future.get, timeout=HANG_S)]
        future.settle(1)
        assert [each.result(HANG_S) for each in waiting] == [1, 1]
    assert future.get() == future.get(timeout=0) == 1


def test_get_raises_the_error_itself():
    future = LoopFuture()
    error = ZfooError("told")
    future.settle(error=error)
    for _ in range(2):
        with pytest.raises(ZfooError) as caught:
            future.get()
        assert caught.value is error


def test_blocking_waits_are_refused_where_a_loop_runs_unless_nothing_is_waited_for():
    async def main():
        pending, hooked, settled = LoopFuture(), LoopFuture(), LoopFuture()
        hooked.set_get_hook(lambda _: 1)
        settled.settle(1)
        assert settled.get() == 1
        for blocking in (pending.get, hooked.get, lambda: pykka.get_all([pending])):
            with pytest.raises(BlockingCallError, match=r"get\(\) would block the event loop.*await the future"):
                blocking()
        assert await asyncio.to_thread(hooked.get) == 1
        assert hooked.get() == 1

    asyncio.run(main())


def test_refuse_blocking_and_running_loop():
    async def main():
        assert running_loop() is asyncio.get_running_loop()
        with pytest.raises(BlockingCallError, match=r"^a nap would block the event loop.*: sleep at home instead$"):
            refuse_blocking("a nap", "sleep at home")

    assert running_loop() is None
    refuse_blocking("a nap", "sleep at home")
    asyncio.run(main())


# ------------------------------------------------------------------------------------------------ races
def test_no_waiter_is_lost_while_threads_register_and_another_settles(impatient):
    """Threads add callbacks while one settles; each callback runs exactly once."""
    each = 20
    for _ in range(ROUNDS):
        future = LoopFuture()
        calls = queue.SimpleQueue()

        def register(future=future, calls=calls):
            for number in range(each):
                future.add_done_callback(lambda _, number=number: calls.put(number))

        in_threads(register, register, future.settle)
        assert calls.qsize() == 2 * each


class SettledMeanwhile(list):
    """The waiters of a future that another thread settles at the worst moment of a registration."""

    def __init__(self, future):
        super().__init__()
        self.future = future
        future._waiters = self

    def append(self, waiter):
        self.future.settle("meanwhile")
        super().append(waiter)


def test_who_registers_while_the_future_settles_looks_again():
    future = LoopFuture()
    calls = []
    SettledMeanwhile(future)
    future.add_done_callback(calls.append)
    assert calls == [future]

    async def main():
        future = LoopFuture()
        SettledMeanwhile(future)
        return await future

    assert asyncio.run(main()) == "meanwhile"


def test_two_that_wake_the_same_waiters_do_not_trip_over_each_other():
    class Emptied(list):
        def pop(self, index):
            self.clear()  # by the other one, after this one has looked
            return super().pop(index)

    future = LoopFuture()
    future._waiters = Emptied()
    future.add_done_callback(lambda _: None)
    assert future.settle()


def test_no_thread_waits_for_ever_when_it_asks_while_the_future_settles(impatient):
    for number in range(ROUNDS):
        future = LoopFuture()
        results = []

        def get(future=future, results=results):
            results.append(future.get(timeout=HANG_S))

        in_threads(get, lambda future=future, number=number: future.settle(number), get)
        assert results == [number, number]


@pytest.mark.parametrize("home", [True, False])
def test_no_coroutine_waits_for_ever_when_it_awaits_while_the_future_settles(impatient, home):
    """A thread settles thousands of futures in the very order in which coroutines of two loops await them."""
    count = 2000

    async def await_all(futures, start):
        start.wait(HANG_S)
        return [await future for future in futures]

    with LoopThread() as one, LoopThread() as other:
        futures = [LoopFuture(one.runtime if home else None) for _ in range(count)]
        start = threading.Barrier(3)
        waiting = [
            asyncio.run_coroutine_threadsafe(await_all(futures, start), thread.runtime.loop) for thread in (one, other)
        ]
        start.wait(HANG_S)
        for number, future in enumerate(futures):
            future.settle(number)
        assert [each.result(HANG_S) for each in waiting] == [list(range(count))] * 2


def test_cancellations_that_race_with_settling_lose_nobody(impatient):
    async def main():
        for number in range(ROUNDS):
            future = LoopFuture()
            tasks = [asyncio.create_task(wait(future)) for _ in range(4)]
            await asyncio.sleep(0)
            settled = asyncio.to_thread(future.settle, number)
            for task in tasks[::2]:
                task.cancel()
            await settled
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert results[1::2] == [number, number]

    asyncio.run(main())


# -------------------------------------------------------------------------- derived futures beyond Pykka's
def test_map_runs_in_the_thread_that_settles_and_its_error_is_the_outcome():
    source = LoopFuture()
    mapped = source.map(lambda _: threading.get_ident())
    failed = source.map(lambda _: 1 / 0)
    killed = source.map(lambda _: sys.exit(3))
    ident = []
    in_threads(lambda: (ident.append(threading.get_ident()), source.settle(1)))
    assert mapped.value() == ident[0]
    assert isinstance(failed.exception(), ZeroDivisionError)
    assert isinstance(killed.exception(), SystemExit)


def test_a_joined_future_fails_with_the_first_error_and_waits_for_all_values():
    parts = [LoopFuture() for _ in range(3)]
    joined, failing = parts[0].join(*parts[1:]), LoopFuture()
    early = parts[0].join(failing)
    failing.settle(error=ZfooError("first"))
    assert str(early.exception()) == "first"
    for number in (2, 0, 1):
        assert not joined.done()
        parts[number].settle(number)
    assert joined.value() == [0, 1, 2]
    assert parts[0].join().value() == [0]


def test_a_joined_future_ends_when_its_parts_end_in_several_threads(impatient):
    for _ in range(ROUNDS):
        parts = [LoopFuture() for _ in range(3)]
        joined = parts[0].join(*parts[1:])
        in_threads(*(lambda part=part: part.settle(1) for part in parts))
        assert joined.value() == [1, 1, 1]


def test_futures_of_pykkas_own_kind_can_be_joined_with_ours():
    theirs, ours = pykka.ThreadingFuture(), LoopFuture()
    joined = ours.join(theirs)
    ours.settle(1)
    theirs.set(2)
    assert joined.get(timeout=HANG_S) == [1, 2]

    async def main():
        return await ours.join(theirs)

    assert asyncio.run(main()) == [1, 2]


def test_a_hooked_future_can_be_awaited_without_blocking_the_loop():
    async def main():
        gate, future = threading.Event(), LoopFuture()
        future.set_get_hook(lambda _: gate.wait(HANG_S))
        task = asyncio.create_task(wait(future.map(str)))
        await asyncio.sleep(0)
        gate.set()
        assert await task == "True"
        assert await future is True

    asyncio.run(main())


def test_reply_futures_of_actors_need_no_home():
    runtime, _ = step_runtime()
    assert LoopFuture(runtime)._home is runtime
    assert LoopFuture()._home is None
