"""Driver tasks: a receiver lives in a Task from its first line to its last, and no other receiver notices."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.drivers import NOTE, Bench, run, value
from tests.support.routers import HANG_S
from zfoo_py.router import drivers as drivers_file
from zfoo_py.router.call import current_call


def test_a_thousand_receivers_that_do_not_suspend_need_one_task():
    """One Task serves them all, and the next ones, too."""

    async def scenario(bench):
        bench.put(**{str(number): value for number in range(1000)})
        await bench.until("999")
        assert len(bench.ended) == 1000
        assert set(bench.ended.values()) == {("a value", None)}
        assert bench.suspended == []
        assert bench.batches > 1
        for number in range(1000, 1005):  # the same driver sleeps and is woken
            bench.put(**{str(number): value})
            await bench.until(str(number))
        assert bench.tasks == 1

    run(scenario)


def test_they_start_in_order_and_what_is_not_admitted_is_left_out():
    """What is refused is the refuser's from then on."""
    order = []

    def numbered(number):
        async def receiver():
            order.append(number)

        return receiver

    async def scenario(bench):
        bench.put(**{str(number): numbered(number) for number in range(10)})
        await bench.until("9")
        assert order == [0, 1, 2, 4, 5, 6, 7, 8, 9]
        assert "3" not in bench.ended

    run(scenario, admit=lambda call: call.name != "3")


def test_at_the_first_suspension_another_driver_takes_the_rest():
    """Nobody waits behind a receiver that waits, and its Task is used again when it ends."""

    async def scenario(bench):
        gate = asyncio.Event()

        async def waits():
            await gate.wait()
            return "waited"

        bench.put(a=waits, b=value, c=waits, d=value)
        await bench.until("b", "d")
        assert set(bench.ended) == {"b", "d"}
        assert bench.suspended == ["a", "c"]
        assert bench.ended_late == []
        assert bench.tasks == 3
        gate.set()
        await bench.until("a", "c")
        assert bench.ended_late == ["a", "c"]
        assert bench.ended["a"] == bench.ended["c"] == ("waited", None)
        bench.put(e=value, f=value)
        await bench.until("f")
        assert bench.tasks == 3, "the three are used again"

    run(scenario)


def test_idle_drivers_are_bounded(monkeypatch):
    """A burst leaves no Tasks behind but the few that are kept."""
    monkeypatch.setattr(drivers_file, "MAX_IDLE_DRIVERS", 4)

    async def scenario(bench):
        gate = asyncio.Event()
        names = [str(number) for number in range(50)]
        bench.put(**dict.fromkeys(names, gate.wait))
        await spin()
        assert len(bench.drivers._tasks) >= 50
        gate.set()
        await bench.until(*names)
        await spin()
        assert len(bench.drivers._tasks) == len(bench.drivers._idle) == 4

    run(scenario)


async def spin(times=200):
    """Let callbacks run that are ready."""
    for _ in range(times):
        await asyncio.sleep(0)


def test_asyncio_works_from_the_first_line_to_the_last():
    """Timeouts, groups and the current Task need a real Task around every line."""

    async def with_timeout():
        async with asyncio.timeout(0.0):
            await asyncio.get_running_loop().create_future()

    async def with_inner_timeout():
        try:
            async with asyncio.timeout(0.0):
                await asyncio.get_running_loop().create_future()
        except TimeoutError:
            return asyncio.current_task().cancelling()

    async def with_group():
        async def child(number):
            await asyncio.sleep(0)
            return number

        async with asyncio.TaskGroup() as group:
            children = [group.create_task(child(number)) for number in range(3)]
        return [child.result() for child in children]

    async def with_failing_group():
        async def fails():
            raise LookupError

        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            await asyncio.get_running_loop().create_future()

    async def same_task():
        before = asyncio.current_task()
        await asyncio.sleep(0)
        return before is asyncio.current_task() is not None

    async def wait_for():
        return await asyncio.wait_for(asyncio.sleep(0, "slept"), HANG_S)

    async def scenario(bench):
        bench.put(
            timeout=with_timeout,
            inner=with_inner_timeout,
            group=with_group,
            failing=with_failing_group,
            task=same_task,
            wait_for=wait_for,
            after=value,
        )
        await bench.until("timeout", "inner", "group", "failing", "task", "wait_for", "after")
        assert isinstance(bench.ended["timeout"][1], TimeoutError)
        assert bench.ended["inner"] == (0, None)
        assert bench.ended["group"] == ([0, 1, 2], None)
        assert isinstance(bench.ended["failing"][1], ExceptionGroup)
        assert bench.ended["task"] == (True, None)
        assert bench.ended["wait_for"] == ("slept", None)
        assert bench.ended["after"] == ("a value", None)

    run(scenario)


def test_each_receiver_has_a_context_of_its_own_and_its_tokens_work():
    """One context from first line to last, so that a token can be reset after an await."""
    seen = []

    async def receiver():
        seen.append(NOTE.get())
        token = NOTE.set("mine")
        await asyncio.sleep(0)
        seen.append(NOTE.get())
        NOTE.reset(token)
        seen.append(NOTE.get())
        NOTE.set("left behind")
        await asyncio.create_task(child())

    async def child():
        seen.append(NOTE.get())
        seen.append(current_call.get().name)

    async def quick():
        seen.append(NOTE.get())
        NOTE.reset(NOTE.set("changed"))
        NOTE.set("also left behind")

    async def scenario(bench):
        bench.put(a=receiver)
        await bench.until("a")
        assert bench.ended["a"] == (None, None)
        bench.put(b=quick, c=quick)
        await bench.until("b", "c")
        assert seen == ["untouched", "mine", "untouched", "left behind", "a", "untouched", "untouched"]
        assert NOTE.get() == "untouched"
        assert current_call.get() is None

    run(scenario)


class Own(BaseException):
    """A BaseException of an application."""


KINDS = [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit, Own, StopAsyncIteration]


@pytest.mark.parametrize("when", ["at once", "after a suspension"])
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_receiver_raises_harms_only_itself(kind, when):
    """Neither its neighbours nor the driver end by it."""

    async def scenario(bench):
        async def raises():
            if when != "at once":
                await asyncio.sleep(0)
            raise kind("a text")

        async def neighbour():
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return "fine"

        bench.put(before=neighbour, bad=raises, after=neighbour, quick=value)
        await bench.until("before", "bad", "after", "quick")
        assert type(bench.ended["bad"][1]) is kind
        assert bench.ended["before"] == bench.ended["after"] == ("fine", None)
        bench.put(later=value)
        await bench.until("later")

    run(scenario)


def test_a_receiver_that_cancels_itself_gets_it_and_nobody_else():
    """A cancellation that is still pending when it ends must not hit the next receiver."""

    async def scenario(bench):
        async def cancels_itself():
            asyncio.current_task().cancel()
            await asyncio.sleep(0)

        async def cancels_and_ends():
            """The cancellation would come at the next await, which is somebody else's."""
            asyncio.current_task().cancel()
            return "done"

        async def waits():
            await asyncio.sleep(0)
            return "waited"

        bench.put(a=cancels_and_ends, b=waits, c=cancels_itself, d=waits, e=cancels_and_ends, f=value)
        await bench.until(*"abcdef")
        assert bench.ended["a"] == bench.ended["e"] == ("done", None)
        assert bench.ended["b"] == bench.ended["d"] == ("waited", None)
        assert isinstance(bench.ended["c"][1], asyncio.CancelledError)
        assert bench.ended["f"] == ("a value", None)

    run(scenario)


def test_a_driver_that_is_cancelled_while_it_sleeps_is_replaced():
    """Also when it has been chosen already."""

    async def scenario(bench):
        kept = []

        async def keeps_its_task():
            kept.append(asyncio.current_task())

        bench.put(a=keeps_its_task)
        await bench.until("a")
        await spin(3)
        kept[0].cancel()
        bench.put(b=value)
        await bench.until("b")
        bench.put(c=keeps_its_task)
        await bench.until("c")
        await spin(3)
        bench.put(d=value)  # the sleeper is chosen, and cancelled before it runs
        kept[1].cancel()
        await bench.until("d")

    run(scenario)


def test_a_driver_that_is_cancelled_before_its_first_step_is_replaced():
    """As by somebody who cancels all tasks of the loop; what was ready is not lost."""

    async def scenario(bench):
        bench.put(a=value)
        [driver] = [task for task in asyncio.all_tasks() if task.get_name() == "zfoo_py driver"]
        driver.cancel()
        await bench.until("a")
        bench.put(b=value)
        await bench.until("b")
        assert bench.ended["a"] == bench.ended["b"] == ("a value", None)

    run(scenario)


@pytest.mark.parametrize("swallows", [True, False])
def test_a_driver_cancelled_from_outside_while_its_receiver_waits_hits_that_receiver_only(swallows):
    """Even if the receiver goes on, its task is not used again."""

    async def scenario(bench):
        tasks = []

        async def waits():
            tasks.append(asyncio.current_task())
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                if not swallows:
                    raise
            return "went on"

        async def looks():
            await asyncio.sleep(0)
            tasks.append(asyncio.current_task())

        bench.put(a=waits)
        await spin(5)
        tasks[0].cancel()
        bench.put(b=looks, c=looks)
        await bench.until("a", "b", "c")
        outcome, error = bench.ended["a"]
        assert outcome == "went on" if swallows else isinstance(error, asyncio.CancelledError)
        assert bench.ended["b"] == bench.ended["c"] == (None, None)
        await spin(5)
        assert tasks[0].done()
        assert tasks[0] not in tasks[1:]

    run(scenario)


def test_a_call_that_makes_others_ready_at_its_end_has_them_run():
    """What gets ready between the last call and the driver's sleep is not forgotten."""

    async def scenario(bench):
        batch_done = bench.batch_done

        def more():
            batch_done()
            if "b" not in bench.ended and "a" in bench.ended and not bench.drivers.ready:
                bench.put(b=value)

        bench.drivers._batch_done = more
        bench.put(a=value)
        await bench.until("b")

    run(scenario)


def test_stop_cancels_those_that_are_suspended_and_starts_nothing_more():
    """They may clean up, with awaits."""
    cleaned = []

    async def scenario(bench):
        async def waits():
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                await asyncio.sleep(0)
                cleaned.append("up")

        bench.put(a=waits, b=waits)
        await spin(5)
        async with asyncio.timeout(HANG_S):
            await bench.drivers.stop()
        assert cleaned == ["up", "up"]
        assert all(isinstance(error, asyncio.CancelledError) for _, error in bench.ended.values())
        bench.put(c=value)
        await spin(5)
        assert "c" not in bench.ended

    run(scenario)


def test_stop_does_not_wait_for_ever_for_a_receiver_that_swallows_its_cancellation(monkeypatch):
    """It is abandoned, and harms nobody when it ends after all."""
    monkeypatch.setattr(drivers_file, "CANCEL_WAIT_S", 0.0)

    async def main():
        bench, gate = Bench(), asyncio.Event()

        async def swallows():
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                await gate.wait()

        bench.put(a=swallows)
        await spin(5)
        async with asyncio.timeout(HANG_S):
            await bench.drivers.stop()
        assert "a" not in bench.ended
        gate.set()
        await bench.until("a")
        await spin(5)

    asyncio.run(main())


@pytest.mark.parametrize(("ready", "batch"), [(3, 4), (16, 4), (40, 10), (128, 32), (320, 32)])
def test_answers_of_a_long_batch_are_sent_before_its_end(ready, batch):
    """The asker can work on the first ones meanwhile."""

    async def scenario(bench):
        seen = []

        async def looks():
            seen.append(bench.batches)

        bench.put(**{str(number): looks for number in range(ready)})
        await bench.until(str(ready - 1))
        assert seen == [(number + 1) // batch for number in range(ready)]

    run(scenario)
