"""A byte proxy on loopback: faults between two processes, by name, without root.

::

    async with ByteProxy(provider_address) as proxy:
        node = Node(consumes=[visits], discovery={"kind": "static", "addresses": [proxy.address]})
        ...
        proxy.drop("out")           # what the provider says is lost
        proxy.delay(0.05)           # 50 ms each way
        proxy.slow_reader("out")    # the provider's peer reads nothing: its buffers fill
        proxy.reset()               # every connection breaks, as a firewall does it
        proxy.heal()
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["ByteProxy", "Direction"]

# "in": to the target; "out": from the target.
Direction = Literal["in", "out", "both"]
DIRECTIONS: Final[dict[str, tuple[str, ...]]] = {"in": ("in",), "out": ("out",), "both": ("in", "out")}

# One read; also what a `slow_reader` may still take after it has begun.
CHUNK_BYTES: Final = 64 * 1024
# With this linger a close is a reset (TCP's RST) instead of an end.
RESETS: Final = struct.pack("ii", 1, 0)


class ByteProxy:
    """Takes TCP connections and carries their bytes to the target and back. All of it runs on one loop.

    Args:
        target: "host:port"; may be set anew for connections to come.
        address: where it listens.

    Attributes:
        address: "host:port" where it really listens.
        target: where new connections go.
        accepted_at_s: when each connection came, by the loop's clock.
        bytes_in, bytes_out: carried to the target, and from it.
    """

    def __init__(self, target: str, address: str = "127.0.0.1:0") -> None:
        self.target = target
        self.address = address
        self.accepted_at_s: list[float] = []
        self.bytes_in = 0
        self.bytes_out = 0
        self._drops: set[str] = set()
        self._delays_s: dict[str, float] = {}
        self._flows = {direction: asyncio.Event() for direction in DIRECTIONS["both"]}
        self._links: set[_Link] = set()
        self._server: asyncio.Server | None = None

    @property
    def connections(self) -> int:
        """How many connections stand now."""
        return len(self._links)

    async def start(self) -> Self:
        """Listen.

        Raises:
            OSError: the address cannot be used.
        """
        self.heal()
        host, _, port = self.address.rpartition(":")
        # A small window: what a `slow_reader` does not read stays in its peer's buffers, where it is to be felt.
        self._server = await asyncio.start_server(self._accept, host, int(port), limit=CHUNK_BYTES)
        self.address = "{}:{}".format(*self._server.sockets[0].getsockname()[:2])
        return self

    async def stop(self) -> None:
        """Close the listener and every connection. Idempotent."""
        if self._server is not None:
            self._server.close()
            self._server = None
        links = list(self._links)
        for link in links:
            link.end()
        if links:
            await asyncio.wait({link.task for link in links})

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    # --- faults; each until `heal`

    def drop(self, direction: Direction = "both") -> None:
        """Read and forget: the peers see a connection on which nothing comes."""
        self._drops.update(DIRECTIONS[direction])

    def delay(self, seconds: float, direction: Direction = "both") -> None:
        """Carry everything so much later, in order."""
        for each in DIRECTIONS[direction]:
            self._delays_s[each] = seconds

    def slow_reader(self, direction: Direction = "out") -> None:
        """Read nothing any more from the side that sends in this direction: "out", from the target."""
        for each in DIRECTIONS[direction]:
            self._flows[each].clear()

    def reset(self) -> None:
        """Break every connection with a reset on both sides; new ones may come."""
        for link in list(self._links):
            link.reset()

    def heal(self) -> None:
        """End all faults; what was dropped stays lost."""
        self._drops.clear()
        self._delays_s.clear()
        for flow in self._flows.values():
            flow.set()

    # --- inside

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.accepted_at_s.append(asyncio.get_running_loop().time())
        link = _Link(task, writer)
        self._links.add(link)
        try:
            host, _, port = self.target.rpartition(":")
            far_reader, far_writer = await asyncio.open_connection(host, int(port), limit=CHUNK_BYTES)
            link.writers.append(far_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry("in", reader, far_writer))
                group.create_task(self._carry("out", far_reader, writer))
        except (OSError, asyncio.CancelledError, ExceptionGroup):
            pass  # one side has gone, or nobody listens there: so has the other side now
        finally:
            self._links.discard(link)
            for one in link.writers:
                one.close()

    async def _carry(self, direction: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        flow = self._flows[direction]
        late: deque[bytes] = deque()
        loop = asyncio.get_running_loop()

        def write_next() -> None:
            data = late.popleft()
            if not writer.is_closing():
                writer.write(data)

        while True:
            await flow.wait()
            data = await reader.read(CHUNK_BYTES)
            await flow.wait()
            delay_s = self._delays_s.get(direction, 0.0)
            if not data:
                await asyncio.sleep(delay_s)
                raise ConnectionResetError(direction)  # ends the other direction, too
            if direction in self._drops:
                continue
            if direction == "in":
                self.bytes_in += len(data)
            else:
                self.bytes_out += len(data)
            late.append(data)
            if delay_s or len(late) > 1:
                loop.call_later(delay_s, write_next)
            else:
                write_next()
                await writer.drain()


class _Link:
    """One connection: the task that carries it, and its two ends."""

    def __init__(self, task: asyncio.Task[Any], writer: asyncio.StreamWriter) -> None:
        self.task = task
        self.writers = [writer]

    def end(self) -> None:
        for writer in self.writers:
            writer.transport.abort()
        self.task.cancel()

    def reset(self) -> None:
        for writer in self.writers:
            sock = cast("socket.socket | None", writer.get_extra_info("socket"))
            if sock is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
        self.end()
