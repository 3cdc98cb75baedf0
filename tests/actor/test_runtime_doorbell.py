"""What other threads tell and post, through a runtime's doorbell: nothing is lost when it is hung up or taken down."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pykka import ActorDeadError

from tests.support.actors import HANG_S, Died, recorder
from tests.support.nodes import eventually, logged
from zfoo_py.actor import Runtime
from zfoo_py.testing import FakeClock


def from_a_thread(function, *args):
    return asyncio.get_running_loop().run_in_executor(None, function, *args)


@pytest.fixture(params=["doorbell", "loop's own way"])
def is_open(request):
    return request.param == "doorbell"


def test_what_threads_tell_arrives_in_order(is_open):
    async def main():
        runtime = Runtime(asyncio.get_running_loop())
        if is_open:
            runtime.open()
        cls = recorder()
        ref = runtime.spawn(cls)
        with ThreadPoolExecutor(4) as pool:
            for sender in range(4):
                pool.submit(lambda sender=sender: [ref.tell((sender, number)) for number in range(500)])
            await eventually(lambda: len(cls.handled) == 2000)
        for sender in range(4):
            assert [number for one, number in cls.handled if one == sender] == list(range(500))
        ref.stop(block=False)
        runtime.close()

    asyncio.run(main())


def test_what_is_posted_runs_on_the_loop_and_one_that_raises_harms_no_other(is_open):
    async def main():
        runtime = Runtime(asyncio.get_running_loop())
        if is_open:
            runtime.open()
        ran = []

        def fails():
            raise ValueError("mine")

        asyncio.get_running_loop().set_exception_handler(lambda _, context: ran.append(repr(context["exception"])))
        with logged("ERROR") as lines:
            for callback in (fails, lambda: ran.append(threading.current_thread())):
                await from_a_thread(runtime.post, callback)
            await eventually(lambda: threading.current_thread() in ran)
        assert bool(lines) == is_open
        assert ("ValueError('mine')" in ran) is not is_open
        runtime.close()

    asyncio.run(main())


def test_what_came_before_it_is_taken_down_is_handled_and_so_is_what_comes_afterwards():
    async def main():
        runtime = Runtime(asyncio.get_running_loop())
        runtime.open()
        cls, ran = recorder(), []
        ref = runtime.spawn(cls)
        thread = threading.Thread(target=lambda: (ref.tell("before"), runtime.post(lambda: ran.append("before"))))
        thread.start()
        thread.join()  # the loop has not looked yet
        runtime.close()
        await from_a_thread(ref.tell, "after")
        await from_a_thread(runtime.post, lambda: ran.append("after"))
        await eventually(lambda: len(cls.handled) == len(ran) == 2)
        assert cls.handled == ran == ["before", "after"]
        ref.stop(block=False)

    asyncio.run(main())


def test_descriptors_are_known_while_it_is_open_and_gone_afterwards():
    async def main():
        runtime = Runtime(asyncio.get_running_loop())
        assert runtime.sockets == {}
        runtime.open()
        assert len(runtime.sockets) == 2
        runtime.close()
        assert runtime.sockets == {}

    asyncio.run(main())


def test_under_a_fake_clock_there_is_none():
    async def main():
        runtime = Runtime(asyncio.get_running_loop(), timers=FakeClock())
        runtime.open()
        assert runtime.sockets == {}
        runtime.close()

    asyncio.run(main())


def test_who_tells_when_the_loop_is_closed_is_told_so():
    runtime = ref = None

    async def main():
        nonlocal runtime, ref
        runtime = Runtime(asyncio.get_running_loop())
        runtime.open()
        ref = runtime.spawn(recorder())

    asyncio.run(main())
    with ThreadPoolExecutor(1) as pool:
        assert isinstance(pool.submit(ref.tell, "too late").exception(HANG_S), ActorDeadError)
    with pytest.raises(RuntimeError, match="closed"):
        runtime.post(lambda: None)


def test_what_is_no_exception_ends_the_loop_as_anywhere():
    async def main():
        runtime = Runtime(asyncio.get_running_loop())
        runtime.open()

        def dies():
            raise Died

        runtime._posted.append(dies)
        with pytest.raises(Died):
            runtime._answer()
        runtime.close()
        async with asyncio.timeout(HANG_S):
            await asyncio.sleep(0)

    asyncio.run(main())
