"""Two hosts of a memory network, and what reads at the ends of a connection between them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from zfoo_py.testing import FakeClock, MemoryNetwork
from zfoo_py.testing.loop_time import LoopTime, fake_time

__all__ = ["End", "Pair", "paired"]


class End:
    """A protocol that takes notes.

    Attributes:
        heard: what has come, as one text; "<made>" and "<lost>" are the ends of the connection.
        at_s: when the last of it came.
    """

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.transport: Any = None
        self.heard = ""
        self.flow: list[str] = []
        self.at_s = 0.0

    def _note(self, text: str) -> None:
        self.heard += text
        self.at_s = self._clock.time()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._note("<made>")

    def data_received(self, data: bytes) -> None:
        self._note(data.decode())

    def connection_lost(self, _: object) -> None:
        self._note("<lost>")

    def pause_writing(self) -> None:
        self.flow.append("pause")

    def resume_writing(self) -> None:
        self.flow.append("resume")


class Pair:
    """Host "near" dials host "far".

    Attributes:
        accepted: the far ends, in order.
    """

    def __init__(self, times: LoopTime) -> None:
        self.clock = times.clock
        self.settle = times.settle
        self.network = MemoryNetwork(times.clock)
        self.near, self.far = self.network.host("near"), self.network.host("far")
        self.accepted: list[End] = []
        self.address = ("127.0.0.1", 9)

    def _accept(self) -> Any:
        self.accepted.append(End(self.clock))
        return self.accepted[-1]

    async def listen(self) -> Any:
        """Let the far host listen."""
        return await self.far.listen(*self.address, self._accept)

    async def dial(self, timeout_s: float = 3.0) -> End:
        """Connect, and return the near end."""
        end: Any = await self.near.dial(*self.address, lambda: End(self.clock), timeout_s)  # type: ignore[arg-type, return-value]
        return end

    async def connect(self) -> tuple[End, End]:
        """Listen and dial: the near end and the far end."""
        await self.listen()
        return await self.dial(), self.accepted[-1]


def paired(main: Callable[[Pair], Awaitable[None]]) -> None:
    """Run a coroutine function with a pair of hosts, under fake time."""

    async def outer() -> None:
        with fake_time(FakeClock()) as times:
            await main(Pair(times))

    asyncio.run(outer())
