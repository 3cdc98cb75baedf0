"""A loop in a thread: it runs what it is given, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import threading

import pytest

from zfoo_py.loop_thread import LoopThread
from zfoo_py.node import new_loop


def test_it_runs_coroutines_in_its_thread_and_ends_with_what_they_left():
    loop = new_loop()
    thread = LoopThread("web-1", loop)
    cancelled = []

    async def left_behind():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def work():
        asyncio.create_task(left_behind())  # noqa: RUF006 - that it is left is the test
        await asyncio.sleep(0)
        return threading.current_thread().name

    assert thread.call(work()) == "zfoo_py loop of web-1"
    thread.end()
    assert cancelled == [True]
    assert loop.is_closed()


def test_an_error_comes_to_the_caller():
    thread = LoopThread("web-1", new_loop())

    async def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        thread.call(fail())
    thread.end()
