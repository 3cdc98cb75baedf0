"""From a node's start to a signal."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from zfoo_py.signals import until_signal


def run(start, kill_when):
    """Run until SIGTERM, which comes when the event is set; return what was called."""
    seen = []

    async def stop():
        seen.append("stop")

    async def main():
        async def begin():
            seen.append("start")
            await start()
            seen.append("up")

        async def kill():
            await kill_when(seen)
            os.kill(os.getpid(), signal.SIGTERM)

        killing = asyncio.create_task(kill())
        await until_signal(begin, stop)
        await killing
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(number)

    asyncio.run(main())
    return seen


async def turns(_):
    for _ in range(5):
        await asyncio.sleep(0)


def test_it_starts_waits_and_stops():
    assert run(lambda: asyncio.sleep(0), turns) == ["start", "up", "stop"]


def test_a_signal_while_it_starts_ends_the_start():
    assert run(lambda: asyncio.Event().wait(), turns) == ["start", "stop"]


def test_a_start_that_fails_is_stopped_and_says_why():
    async def fails():
        raise RuntimeError("no")

    async def never(_):
        await asyncio.Event().wait()

    seen = []

    async def main():
        async def stop():
            seen.append("stop")

        await until_signal(fails, stop)

    with pytest.raises(RuntimeError, match="no"):
        asyncio.run(main())
    assert seen == ["stop"]
    del never
