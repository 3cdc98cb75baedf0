"""A router on the running loop, with sessions whose peers are played by the test; its clock stands still."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import msgspec

from tests.support.packets import TABLE
from tests.support.sessions import SessionUnderTest, World
from zfoo_py.actor import Abort
from zfoo_py.consumer.hashing import task_hash
from zfoo_py.events import Events, ReceiverFailed
from zfoo_py.protocol.packet import Packet
from zfoo_py.router.receivers import collect_receivers
from zfoo_py.router.router import Router

__all__ = ["HANG_S", "RouterWorld", "spin"]

# A test that waits longer has found a hang.
HANG_S = 20.0


class RouterWorld(World):
    """A provider node's router; use it in an ``async with``.

    Args:
        receivers: as of ``Node(receivers=…)``.
        provides: names of modules, each in the group of its name; or ``module/group``.
        interceptors: hooks.
        limits: of ``zfoo_py.config.Limits``.
    """

    def __init__(
        self, *receivers: Any, provides: tuple[str, ...] = ("visits",), interceptors: Any = (), **limits: Any
    ) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(loop, **{"workers": 2, **limits})
        self.events = Events()
        self.failures: list[ReceiverFailed] = []
        self.events.subscribe(ReceiverFailed, self.failures.append)
        found = collect_receivers(receivers, TABLE)
        names = [name.partition("/") for name in provides]
        served = frozenset((module, group or module) for module, _, group in names)
        self.router = Router(self.runtime, self.codec, found, served, self.limits, self.events, task_hash, interceptors)
        self.env = msgspec.structs.replace(
            self.env, receive=self.router.receive, flows=self.router.flows, provides=served
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        workers = await self.router.stop()
        for actor in list(self.runtime.actors):
            self.runtime.deliver(actor.actor_ref, Abort("the test is over"))
        async with asyncio.timeout(HANG_S):
            await workers

    def peer(self, kind: str = "node") -> SessionUnderTest:
        """Return a session from a node or an outside client that dialled us."""
        registration = {"registration": ""} if kind == "client" else {}
        return self.up("server", kind=kind, **registration)

    async def answers(self, session: SessionUnderTest, count: int = 1) -> list[tuple[int, Packet]]:
        """Wait for so many answers to the peer; return (signal id, packet) in the order they were written."""
        arrived = asyncio.Event()
        session.connection.on_write = arrived.set
        found: list[tuple[int, Packet]] = []
        async with asyncio.timeout(HANG_S):
            while True:
                found += [(attachment.signal_id, packet) for packet, attachment in session.written()]
                if len(found) >= count:
                    return found
                arrived.clear()
                await arrived.wait()

    async def answer(self, session: SessionUnderTest, packet: Packet, **how: Any) -> Packet:
        """Let the peer ask, and return what it is answered."""
        session.receive(session.ask_frame(packet, **how))
        [(_, answer)] = await self.answers(session)
        return answer

    async def quiet(self) -> None:
        """Wait until nothing is in work."""
        self.runtime.drain()
        async with asyncio.timeout(HANG_S):
            await self.router.drained()
        self.runtime.drain()


async def spin(times: int = 20) -> None:
    """Let callbacks run that are ready."""
    for _ in range(times):
        await asyncio.sleep(0)
