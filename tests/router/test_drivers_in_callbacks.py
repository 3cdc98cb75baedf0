"""Receivers that start in a callback of the loop: in the name of an idle driver, whose Task they go on in."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.drivers import NOTE, in_a_callback, value
from tests.support.routers import HANG_S


def test_in_a_callback_receivers_run_at_once_in_the_task_of_a_driver():
    """The task that sleeps on is the same before and afterwards."""
    seen = []

    async def tells():
        seen.append(asyncio.current_task())
        assert asyncio.current_task().get_name() == "zfoo_py driver"
        return NOTE.set("mine")

    async def scenario(bench, put):
        assert {"a", "b"} <= await put(a=tells, b=tells)
        assert {"c"} <= await put(c=tells)
        assert len(set(seen)) == bench.tasks == 1
        assert bench.suspended == []
        assert NOTE.get() == "untouched"

    in_a_callback(scenario)


def test_one_that_suspends_there_goes_on_in_the_same_task():
    """What it has begun with its task in the first step (a time-out, a group) holds for the rest."""
    seen = []

    async def waits():
        seen.append(asyncio.current_task())
        async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
            inner = group.create_task(value())
            await asyncio.sleep(0)
            seen.append(asyncio.current_task())
            return await inner

    async def scenario(bench, put):
        assert "behind" not in await put(waits=waits, behind=value)
        assert bench.suspended == ["waits"]
        await bench.until("waits", "behind")
        assert bench.ended["waits"] == ("a value", None)
        assert seen[0] is seen[1]
        assert bench.ended_late == ["waits"]

    in_a_callback(scenario)


def test_a_timeout_of_the_first_step_ends_it():
    async def late():
        async with asyncio.timeout(0):
            await asyncio.get_running_loop().create_future()

    async def scenario(bench, put):
        await put(late=late)
        await bench.until("late")
        assert isinstance(bench.ended["late"][1], TimeoutError)
        assert {"next"} <= await put(next=value)

    in_a_callback(scenario)


@pytest.mark.parametrize("waits_for", ["a future", "nothing", "a task"])
def test_one_cancelled_before_its_task_has_run_again_hears_of_it(waits_for):
    """As a task that is cancelled between its first step and its second: what it waits for is cancelled, too."""
    seen = []

    async def waits():
        task = asyncio.current_task()
        asyncio.get_running_loop().call_soon(task.cancel)
        task.get_loop().call_soon(seen.append, "after the cancel")
        inner = asyncio.get_running_loop().create_future()
        if waits_for == "a task":
            inner = asyncio.ensure_future(asyncio.sleep(HANG_S))
        try:
            await (asyncio.sleep(0) if waits_for == "nothing" else inner)
        except asyncio.CancelledError:
            seen.append("told")
            if waits_for != "nothing":
                seen.append(inner.cancelled())
            raise

    async def scenario(bench, put):
        await put(waits=waits)
        await bench.until("waits")
        assert isinstance(bench.ended["waits"][1], asyncio.CancelledError)
        assert seen == ["after the cancel", "told", *([] if waits_for == "nothing" else [True])]
        bench.put(after=value)
        await bench.until("after")

    in_a_callback(scenario)


@pytest.mark.parametrize("then_waits", [False, True])
def test_one_that_cancels_its_own_task_harms_no_other(then_waits):
    """The task ends, and another one takes the rest."""

    async def cancels():
        asyncio.current_task().cancel()
        if then_waits:
            await asyncio.get_running_loop().create_future()
        return "done"

    async def scenario(bench, put):
        await put(cancels=cancels, behind=value)
        await bench.until("cancels", "behind")
        result, error = bench.ended["cancels"]
        assert isinstance(error, asyncio.CancelledError) if then_waits else result == "done"
        assert bench.ended["behind"] == ("a value", None)
        bench.put(after=value)
        await bench.until("after")

    in_a_callback(scenario)
