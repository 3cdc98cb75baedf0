"""A client that is no node, over real TCP."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

from zfoo_py.errors import RemoteError, SessionClosedError
from zfoo_py.net.handshake import WIRE_VERSION
from zfoo_py.protocol.attachment import CLIENT_KEYED, CLIENT_KEYLESS, SignalAttachment
from zfoo_py.protocol.common import Error, Hello
from zfoo_py.protocol.framing import FrameParser
from zfoo_py.protocol.msgpack_codec import MsgpackCodec
from zfoo_py.protocol.packet import DEFAULT_TABLE, Packet

if TYPE_CHECKING:
    from zfoo_py.protocol.packet import PacketTable

__all__ = ["Client"]

A = TypeVar("A", bound=Packet)


class Client:
    """An outside client (kind "client") over real TCP, as small as it can be: what a game client would do.

    Use it as ``async with await Client.connect(address) as client``.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, codec: MsgpackCodec) -> None:
        self._reader = reader
        self._writer = writer
        self._codec = codec
        self._parser = FrameParser(2**31 - 1)
        self._bodies: list[Any] = []
        self._signals = itertools.count(1)
        self.pushes: list[Packet] = []

    @classmethod
    async def connect(cls, address: str, *, table: PacketTable = DEFAULT_TABLE, name: str = "client") -> Self:
        """Connect to "host:port" and exchange Hellos.

        Raises:
            OSError: nobody listens there.
            SessionClosedError: the Hello was refused.
        """
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        self = cls(reader, writer, MsgpackCodec(table))
        self.send(Hello(WIRE_VERSION, "client", name))
        try:
            packet, _ = await self.receive()
        except SessionClosedError:
            await self.close()
            raise
        if not isinstance(packet, Hello):
            await self.close()
            msg = f"the Hello was answered with {packet!r}"
            raise SessionClosedError(msg, may_have_run=False)
        return self

    def send(self, packet: Packet) -> None:
        """Send one way."""
        self._writer.write(self._codec.one_way_frame(self._codec.encode(packet), None))

    async def ask(self, packet: Packet, answer: type[A], *, lane: int | None = None, timeout_s: float = 3.0) -> A:
        """Ask, one at a time; what is pushed meanwhile gathers in ``pushes``.

        Raises:
            RemoteError: the answer is an Error.
            TimeoutError: none came in time.
            SessionClosedError: the connection ended.
        """
        signal_id = next(self._signals)
        head = self._codec.encode(packet)
        client = CLIENT_KEYLESS if lane is None else CLIENT_KEYED
        frame = self._codec.ask_frame(head, signal_id, client, -1 if lane is None else lane, int(timeout_s * 1000))
        self._writer.write(frame)
        async with asyncio.timeout(timeout_s):
            while True:
                received, attachment = await self.receive()
                if not isinstance(attachment, SignalAttachment) or attachment.signal_id != signal_id:
                    self.pushes.append(received)
                elif isinstance(received, Error):
                    raise RemoteError(received.code, received.message)
                elif isinstance(received, answer):
                    return received

    async def receive(self) -> tuple[Packet, Any]:
        """Return the next packet and its attachment.

        Raises:
            SessionClosedError: the connection ended.
        """
        while not self._bodies:
            try:
                data = await self._reader.read(65536)
            except OSError as error:
                msg = f"the connection to the node broke: {error.strerror or error}"
                raise SessionClosedError(msg) from error
            if not data:
                msg = "the node closed the connection"
                raise SessionClosedError(msg)
            self._bodies += self._parser.feed(data)
        _, packet, attachment = self._codec.decode(self._bodies.pop(0))
        return packet, attachment

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        with suppress(OSError):  # it broke before
            await self._writer.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
