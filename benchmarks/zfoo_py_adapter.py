"""zfoo_py in the benchmark of peers: W1-W5, as an application would write it.

The adapter contract is that of the benchmark harness: serve(port), AsyncClient, SyncClient, run, idle.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Any, Self

from zfoo_py import Ask, Node, Packet, ProtocolModule, Session, packet_receiver
from zfoo_py.node import new_loop
from zfoo_py.protocol.attachment import CLIENT_KEYED
from zfoo_py.protocol.common import Hello
from zfoo_py.protocol.msgpack_codec import MsgpackCodec

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

DIST = ["zfoo_py", "uvloop", "msgpack", "msgspec", "pykka"]

NAME = "provider-00000-a"
PAYLOAD = bytes(range(32))
TAGS = ["red", "green", "blue"]
# One key per call number up to here: the consumer's key cache is in use, as in an application with users.
KEYS = 1024

echoes = ProtocolModule(100, "echoes")


@echoes.packet(1001)
class EchoAnswer(Packet):
    id: int
    name: str
    payload: bytes
    tags: list[str]


@echoes.packet(1000)
class EchoAsk(Ask[EchoAnswer]):
    id: int
    name: str
    payload: bytes
    tags: list[str]


@echoes.packet(1003)
class BlobAnswer(Packet):
    id: int
    data: bytes


@echoes.packet(1002)
class BlobAsk(Ask[BlobAnswer]):
    id: int
    data: bytes


@packet_receiver
async def at_echo_ask(_session: Session, ask: EchoAsk) -> EchoAnswer:
    return EchoAnswer(ask.id, ask.name, ask.payload, list(ask.tags))


@packet_receiver
async def at_blob_ask(_session: Session, ask: BlobAsk) -> BlobAnswer:
    return BlobAnswer(ask.id, ask.data)


def serve(port: int) -> None:
    """Serve until killed."""
    Node(
        id="bench",
        address=f"127.0.0.1:{port}",
        provides=[echoes],
        receivers=[at_echo_ask, at_blob_ask],
        discovery={"kind": "static"},
        max_in_work_per_session=4096,
    ).run()


def consumer(port: int) -> Node:
    """Return a node that consumes the server's module."""
    return Node(
        id="bench-client",
        consumes=[echoes],
        receivers=[],
        discovery={"kind": "static", "addresses": [f"127.0.0.1:{port}"]},
    )


class AsyncClient:
    """Awaited asks, any number outstanding."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.ask = node.consumer.async_ask
        self.blobs = 0

    @classmethod
    async def connect(cls, port: int) -> Self:
        return cls(await consumer(port).start())

    async def echo(self, i: int) -> int:
        answer = await self.ask(EchoAsk(i, NAME, PAYLOAD, TAGS), key=i & (KEYS - 1))
        return answer.id

    async def blob(self, data: bytes) -> bytes:
        self.blobs += 1
        answer = await self.ask(BlobAsk(self.blobs, data), key=7)
        return answer.data

    async def close(self) -> None:
        await self.node.stop()


class SyncClient:
    """Blocking asks from threads; one node serves all threads."""

    SHARED = True

    def __init__(self, port: int) -> None:
        self.node = consumer(port)
        self.node.__enter__()
        self.ask = self.node.consumer.sync_ask

    def echo(self, i: int) -> int:
        answer: EchoAnswer = self.ask(EchoAsk(i, NAME, PAYLOAD, TAGS), key=i & (KEYS - 1))
        return answer.id

    def blob(self, data: bytes) -> bytes:
        answer: BlobAnswer = self.ask(BlobAsk(0, data), key=7)
        return answer.data

    def close(self) -> None:
        self.node.__exit__(None, None, None)


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run the async client on a uvloop."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(coroutine)


@contextlib.contextmanager
def idle(port: int, n: int) -> Iterator[None]:
    """Hold n sessions, each of which has made its Hello and one ask; raw sockets, so that only the server counts."""
    codec = MsgpackCodec()
    hello = codec.one_way_frame(codec.encode(Hello(1, "node", "idle")), None)
    ask = codec.ask_frame(codec.encode(EchoAsk(1, NAME, PAYLOAD, TAGS)), 2, CLIENT_KEYED, 1, 3000)
    sockets = []

    def read_frame(sock: socket.socket) -> bytes:
        head = sock.recv(4, socket.MSG_WAITALL)
        return sock.recv(struct.unpack(">I", head)[0], socket.MSG_WAITALL)

    try:
        for _ in range(n):
            sock = socket.create_connection(("127.0.0.1", port))
            sockets.append(sock)
            sock.sendall(hello)
            read_frame(sock)
            sock.sendall(ask)
            while b"provider-00000-a" not in read_frame(sock):
                pass
        yield
    finally:
        for sock in sockets:
            sock.close()
