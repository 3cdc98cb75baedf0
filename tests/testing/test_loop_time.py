"""A loop under a fake clock: it never sleeps, time jumps only when everything waits, and real work is waited for."""

import asyncio
import socket
import threading
import time

import pytest

from zfoo_py.errors import ConfigError
from zfoo_py.testing import FakeClock, loop_time
from zfoo_py.testing.loop_time import fake_time


def run(main):
    """Run a coroutine function with (clock, times) on a loop under fake time; it must not take real time."""

    async def outer():
        clock = FakeClock()
        with fake_time(clock) as times:
            return await main(clock, times)

    return asyncio.run(outer())


def test_sleeping_takes_fake_time_only():
    """asyncio.sleep, asyncio.timeout and loop.time follow the clock."""

    async def main(clock, _):
        loop = asyncio.get_running_loop()
        real_s, fake_s, loop_s = time.monotonic(), clock.time(), loop.time()
        await asyncio.sleep(1000)
        assert clock.time() - fake_s == pytest.approx(1000, abs=1e-3)
        assert loop.time() - loop_s == pytest.approx(1000, abs=1e-3)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(500):
                await asyncio.Event().wait()
        assert clock.time() - fake_s == pytest.approx(1500, abs=1e-3)
        assert time.monotonic() - real_s < 5

    run(main)


def test_no_time_passes_while_anything_can_run():
    async def main(clock, _):
        waiting = asyncio.create_task(asyncio.sleep(0.001))
        before_s = clock.time()
        for _ in range(100):
            await asyncio.sleep(0)
        assert clock.time() == before_s
        await waiting
        assert clock.time() > before_s

    run(main)


def test_things_happen_in_order_of_time_whoever_set_the_timer():
    """At one time the clock's timers (a node's) come before the loop's (an asyncio.sleep)."""

    async def main(clock, _):
        seen, tenths = [], list(range(1, 40))  # sums of tenths are rounded, from each zero in another way

        async def sleeper(number):
            await asyncio.sleep(number / 10)
            seen.append((number, "loop"))

        async with asyncio.TaskGroup() as group:
            for number in reversed(tenths):
                group.create_task(sleeper(number))
            for number in tenths:
                clock.call_later(number / 10, seen.append, (number, "clock"))
        assert seen == [(number, whose) for number in tenths for whose in ("clock", "loop")]

    run(main)


def test_a_timer_of_the_clock_that_is_due_runs_in_the_next_turn():
    """As loop.call_later(0, …) does: somebody may spin until it has run."""

    async def main(clock, _):
        ran = []
        clock.call_later(0, ran.append, 1)
        for _ in range(3):
            await asyncio.sleep(0)
        assert ran == [1]

    run(main)


def test_settling_waits_for_all_that_happens_at_this_time_and_no_longer():
    async def main(clock, times):
        steps = []

        async def chain():
            for step in range(50):
                await asyncio.sleep(0)
                steps.append(step)
            await asyncio.sleep(1)
            steps.append("later")

        task = asyncio.create_task(chain())
        before_s = clock.time()
        await asyncio.gather(times.settle(), times.settle())
        assert steps == list(range(50))
        assert clock.time() == before_s
        await task
        assert steps[-1] == "later"

    run(main)


def test_executor_jobs_are_waited_for_in_real_time():
    """A thread cannot be seen to wait; a deadline must not pass it by."""

    async def main(clock, times):
        before_s = clock.time()
        async with asyncio.timeout(0.001):
            assert await asyncio.to_thread(lambda: time.sleep(0.02) or "done") == "done"
        job = asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.02)
        await times.settle()
        assert job.done()
        assert clock.time() == before_s

    run(main)


def test_a_thread_that_never_ends_is_not_waited_for_for_ever(monkeypatch):
    """It may wait for what only fake time brings; another that begins later gets the same patience again."""
    monkeypatch.setattr(loop_time, "THREAD_PATIENCE_S", 0.05)

    async def main(clock, times):
        go_on = threading.Event()
        blocked = asyncio.create_task(asyncio.to_thread(go_on.wait))
        before_s = clock.time()
        await asyncio.sleep(10)
        assert clock.time() - before_s == pytest.approx(10, abs=1e-3)
        async with asyncio.timeout(0.001):
            await asyncio.to_thread(time.sleep, 0.02)
        go_on.set()
        await blocked

    run(main)


def test_counted_threads_are_waited_for_until_they_idle():
    async def main(clock, times):
        counts = iter([1, 1, 1, 0, 0, 0])
        times.threads_at_work.append(lambda: next(counts, 0))
        await times.settle()
        assert len(list(counts)) <= 2

    run(main)


def test_sockets_get_a_little_real_time():
    """An answer over real TCP, from somebody who takes some milliseconds, comes before a deadline of fake time."""

    def answer_one(server):
        peer, _ = server.accept()
        with peer:
            asked = peer.recv(100)
            time.sleep(0.01)
            peer.sendall(asked)

    async def main(clock, _):
        before_s = clock.time()
        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=answer_one, args=(server,))  # the loop does not know of it
            thread.start()
            async with asyncio.timeout(1.0):
                reader, writer = await asyncio.open_connection(*server.getsockname())
                writer.write(b"hello\n")
                assert await reader.readline() == b"hello\n"
            assert clock.time() == before_s
            await asyncio.sleep(3.0)  # an idle connection stops no time
            writer.close()
            await writer.wait_closed()
            thread.join()

    run(main)


def test_the_loop_gets_its_time_back():
    """After the last of those who share it; until then both follow one clock."""

    async def main():
        loop = asyncio.get_running_loop()
        before = (loop.time, loop.run_in_executor, loop._selector.select)
        clock = FakeClock()
        with fake_time(clock) as times:
            with fake_time(clock) as again:
                assert again is times
            await asyncio.sleep(100)
            assert loop.time != before[0]
        assert (loop.time, loop.run_in_executor, loop._selector.select) == before
        began_s = time.monotonic()
        await asyncio.sleep(0.01)
        assert time.monotonic() - began_s > 0.005

    asyncio.run(main())


def test_two_clocks_on_one_loop_are_refused():
    async def main():
        with (
            fake_time(FakeClock()),
            pytest.raises(ConfigError, match="follows another FakeClock"),
            fake_time(FakeClock()),
        ):
            pass

    asyncio.run(main())


def test_other_loops_are_refused_with_what_to_do():
    uvloop = pytest.importorskip("uvloop")

    async def main():
        with pytest.raises(ConfigError, match=r"uvloop\.Loop: let an `async def` test ask for"), fake_time(FakeClock()):
            pass

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_asyncio_still_has_what_is_replaced():
    """If this fails, a new Python has moved the one private name that loop_time needs."""
    loop = asyncio.SelectorEventLoop()
    assert callable(loop._selector.select)
    assert len(loop._selector.get_map()) == 1, "the loop's own"
    loop.close()
