"""A future that is cancelled by hand, or when the last task that awaits it goes."""

from __future__ import annotations

import asyncio
import threading

import pytest

from zfoo_py.actor import CancellableFuture, Runtime


class Given(CancellableFuture):
    """Counts how often it was given up."""

    times = 0

    def given_up(self):
        self.times += 1


async def waits_for(future):
    return await future


def on_loop(body):
    """Run ``body(future)`` with a future that is at home on the running loop."""

    async def main():
        await body(Given(Runtime(asyncio.get_running_loop())))

    asyncio.run(main())


def test_cancelled_by_hand_every_waiter_hears_it_and_nobody_can_settle_it_again():
    async def body(future):
        tasks = [asyncio.create_task(waits_for(future)) for _ in range(2)]
        await asyncio.sleep(0)
        assert not future.cancelled()
        assert future.cancel()
        assert not future.cancel()
        assert not future.settle(1)
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)
        assert (future.times, future.cancelled()) == (1, True)
        with pytest.raises(asyncio.CancelledError):
            await future

    on_loop(body)


def test_a_settled_one_cannot_be_cancelled():
    async def body(future):
        future.settle("value")
        assert not future.cancel()
        assert (await future, future.times, future.cancelled()) == ("value", 0, False)

    on_loop(body)


def test_the_last_task_that_goes_cancels_it_and_the_first_does_not():
    async def body(future):
        first, last = (asyncio.create_task(waits_for(future)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        assert (future.done(), future.times) == (False, 0)
        last.cancel()
        await asyncio.wait([last])
        assert (future.cancelled(), future.times) == (True, 1)

    on_loop(body)


def test_a_task_cancelled_at_the_moment_of_the_outcome_does_not_cancel_it():
    async def body(future):
        task = asyncio.create_task(waits_for(future))
        await asyncio.sleep(0)
        future.settle("value")
        task.cancel()
        await asyncio.wait([task])
        assert (future.value(), future.times) == ("value", 0)

    on_loop(body)


def test_callbacks_of_the_framework_keep_it_no_longer_than_its_tasks():
    async def body(future):
        ends = []
        future.add_done_callback(lambda done: ends.append(done.cancelled()))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(future, 0)
        assert future.times == 0  # it was never awaited: wait_for gave up before
        task = asyncio.create_task(waits_for(future))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert ends == [True]

    on_loop(body)


@pytest.mark.parametrize("keeps", ["flag", "thread"])
def test_what_else_waits_keeps_it(keeps):
    async def body(future):
        got = []
        thread = threading.Thread(target=lambda: got.append(future.get(timeout=20)))
        if keeps == "flag":
            future.is_kept = True
        else:
            thread.start()
            while not future.is_kept:
                await asyncio.sleep(0)
        task = asyncio.create_task(waits_for(future))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert (future.done(), future.times) == (False, 0)
        future.settle("value")
        if keeps == "thread":
            await asyncio.to_thread(thread.join, 20)
            assert got == ["value"]

    on_loop(body)


def test_a_task_of_another_loop_counts_too():
    async def body(future):
        began = threading.Event()
        ends = []

        async def elsewhere():
            task = asyncio.create_task(waits_for(future))
            await asyncio.sleep(0)
            began.set()
            ends.append(await asyncio.wait([task]))
            ends.append(task.cancelled())

        thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
        thread.start()
        await asyncio.to_thread(began.wait, 20)
        here = asyncio.create_task(waits_for(future))
        await asyncio.sleep(0)
        here.cancel()
        await asyncio.wait([here])
        assert not future.done()
        future.cancel()
        await asyncio.to_thread(thread.join, 20)
        assert ends[-1] is True

    on_loop(body)
