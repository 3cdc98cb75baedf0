"""A Java peer at the end of a connection in memory: it writes and reads messages of Java zfoo, and no Hello."""

from __future__ import annotations

import asyncio
from typing import Any

from zfoo_py.protocol.common import Heartbeat
from zfoo_py.protocol.framing import FrameParser, frame
from zfoo_py.protocol.packet import PacketTable

__all__ = ["JavaPeer"]

# A test that waits longer has found a hang.
HANG_S = 5.0


class JavaPeer(asyncio.Protocol):
    """One end of a connection; its `codec` has ``encode`` and ``decode``.

    Attributes:
        bodies: the frames that came and were not asked for with `receive`, without their length.
        is_lost: whether the other side has closed.
    """

    def __init__(self, table: PacketTable, codec: Any) -> None:
        self.table = table
        self.codec = codec
        self.transport: Any = None
        self.bodies: asyncio.Queue[bytes] = asyncio.Queue()
        self.is_lost = False
        self._parser = FrameParser(1 << 20)

    @classmethod
    async def dial(cls, network: Any, address: str, table: PacketTable, codec: Any) -> JavaPeer:
        """Connect to a node's listener."""
        host, _, port = address.rpartition(":")
        peer = cls(table, codec)
        await network.dial(host, int(port), lambda: peer, HANG_S)
        return peer

    @classmethod
    async def listen(cls, network: Any, port: int, table: PacketTable, codec: Any) -> asyncio.Queue[JavaPeer]:
        """Listen as a Java provider does; return where those that were dialled come."""
        accepted: asyncio.Queue[JavaPeer] = asyncio.Queue()

        def make() -> JavaPeer:
            accepted.put_nowait(peer := cls(table, codec))
            return peer

        await network.listen("127.0.0.1", port, make)
        return accepted

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        for body in self._parser.feed(data):
            self.bodies.put_nowait(bytes(body))

    def connection_lost(self, _: object) -> None:
        self.is_lost = True

    def send(self, packet: Any, attachment: Any = None) -> None:
        self.write(frame(self.codec.encode(packet, attachment, self.table)))

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    async def receive(self) -> Any:
        """Return the next packet that is no heartbeat (a dialled peer gets one first), and its attachment."""
        while True:
            packet, attachment = self.codec.decode(await self.body(), self.table)
            if type(packet) is not Heartbeat:
                return packet, attachment

    async def body(self) -> bytes:
        """Return the next frame, without its length."""
        async with asyncio.timeout(HANG_S):
            return await self.bodies.get()
