"""Drivers on the running loop, what they tell, and scenarios that are run with them."""

from __future__ import annotations

import asyncio
import contextvars
from types import SimpleNamespace

from tests.support.routers import HANG_S
from zfoo_py.actor import Pace
from zfoo_py.router.drivers import Drivers

__all__ = ["NOTE", "Bench", "in_a_callback", "run", "value"]

NOTE = contextvars.ContextVar("note", default="untouched")


class Bench:
    """Drivers, and what they tell."""

    def __init__(self, admit=lambda _: True):
        self.ended = {}
        self.suspended, self.ended_late = [], []
        self.batches = 0
        self.waiter = None
        self.drivers = Drivers(
            asyncio.get_running_loop(),
            Pace(0),
            admit=admit,
            suspended=lambda call, task: self.suspended.append(call.name),
            ended=lambda call: self.ended_late.append(call.name),
            finished=self.finished,
            batch_done=self.batch_done,
        )
        self.made = []
        loop = asyncio.get_running_loop()
        self.create_task = loop.create_task
        loop.create_task = self.count_task

    def count_task(self, *args, **more):
        self.made.append(more.get("name"))
        return self.create_task(*args, **more)

    def batch_done(self):
        self.batches += 1

    def finished(self, call, value, error):
        assert call.name not in self.ended, "ended twice"
        self.ended[call.name] = (value, error)
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def put(self, **receivers):
        for name, function in receivers.items():
            receiver = SimpleNamespace(function=lambda _s, _p, f=function: f(), wants_call=False)
            self.drivers.ready.append(SimpleNamespace(name=name, receiver=receiver, session=None, packet=None))
        self.drivers.wake()

    async def until(self, *names):
        async with asyncio.timeout(HANG_S):
            while not set(names) <= set(self.ended):
                self.waiter = asyncio.get_running_loop().create_future()
                await self.waiter

    @property
    def tasks(self):
        return self.made.count("zfoo_py driver")


def run(scenario, **how):
    """Run a scenario with a bench; whatever it does, the drivers stop."""

    async def main():
        bench = Bench(**how)
        try:
            await scenario(bench)
        finally:
            async with asyncio.timeout(HANG_S):
                await bench.drivers.stop()
        assert bench.drivers._tasks == set()

    asyncio.run(main())


async def value():
    return "a value"


def in_a_callback(scenario):
    """Run a scenario with a bench that has an idle driver; it gets a function that puts receivers from a callback."""

    async def main(bench):
        bench.put(first=value)
        await bench.until("first")

        async def put(**receivers):
            done = asyncio.get_running_loop().create_future()

            def callback():
                assert asyncio.current_task() is None
                bench.put(**receivers)
                assert asyncio.current_task() is None
                done.set_result(set(bench.ended))

            asyncio.get_running_loop().call_soon(callback)
            return await done

        async with asyncio.timeout(HANG_S):
            await scenario(bench, put)

    run(main)
