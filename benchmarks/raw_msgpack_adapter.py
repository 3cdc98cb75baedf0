"""What zfoo_py is measured against: hand-written asyncio + msgpack, the least that an RPC must do.

Frames of a 4-byte length and a msgpack dict; answers are matched to asks by id. No types, keys, lanes, deadlines,
limits or errors. Its contract is in benchmarks/README.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from struct import Struct
from typing import TYPE_CHECKING, Any, Self

import msgpack
import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

DIST = ["msgpack", "uvloop"]

NAME = "provider-00000-a"
PAYLOAD = bytes(range(32))
TAGS = ["red", "green", "blue"]

LENGTH = Struct(">I")
HIGH_WATER_BYTES = 16 * 1024 * 1024

pack: Callable[[Any], bytes] = msgpack.packb
unpack: Callable[[bytes], Any] = msgpack.unpackb


def question(i: int) -> bytes:
    return pack({"id": i, "name": NAME, "payload": PAYLOAD, "tags": TAGS})


def answer_to(body: bytes) -> bytes:
    """Read every field and build a new message, as a receiver does; a blob goes back as it is."""
    asked = unpack(body)
    if "data" in asked:
        return pack(asked)
    return pack({"id": asked["id"], "name": asked["name"], "payload": asked["payload"], "tags": list(asked["tags"])})


class Frames(asyncio.Protocol):
    """Cuts the stream into bodies; `take` gets all complete ones of a chunk."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.unfinished = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)

    def data_received(self, chunk: bytes) -> None:
        held = self.unfinished
        if held:
            held += chunk
            if len(held) < 4 or len(held) < LENGTH.unpack_from(held)[0] + 4:
                return
            chunk = bytes(held)
            held.clear()
        bodies = []
        at, size = 0, len(chunk)
        length_at = LENGTH.unpack_from
        while size - at >= 4:
            begin = at + 4
            end = begin + length_at(chunk, at)[0]
            if end > size:
                break
            bodies.append(chunk[begin:end])
            at = end
        if at != size:
            held += chunk[at:]
        if bodies:
            self.take(bodies)

    def take(self, bodies: list[bytes]) -> None:
        raise NotImplementedError


class Server(Frames):
    def take(self, bodies: list[bytes]) -> None:
        out: list[bytes] = []
        length_of = LENGTH.pack
        for body in bodies:
            answer = answer_to(body)
            out.append(length_of(len(answer)))
            out.append(answer)
        self.transport.write(b"".join(out))


class Client(Frames):
    def __init__(self) -> None:
        super().__init__()
        self.waiting: dict[int, asyncio.Future[Any]] = {}
        self.new_future = asyncio.get_running_loop().create_future

    def take(self, bodies: list[bytes]) -> None:
        take_waiting = self.waiting.pop
        for body in bodies:
            answer = unpack(body)
            take_waiting(answer["id"]).set_result(answer)

    def ask(self, i: int, body: bytes) -> asyncio.Future[Any]:
        self.waiting[i] = future = self.new_future()
        self.transport.write(LENGTH.pack(len(body)) + body)
        return future


def serve(port: int) -> None:
    """Serve until killed."""

    async def forever() -> None:
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", port, backlog=2048)
        await server.serve_forever()

    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(forever())


class AsyncClient:
    """Awaited asks, any number outstanding."""

    def __init__(self, frames: Client) -> None:
        self.frames = frames
        self.blobs = 0

    @classmethod
    async def connect(cls, port: int) -> Self:
        _, frames = await asyncio.get_running_loop().create_connection(Client, "127.0.0.1", port)
        return cls(frames)

    async def echo(self, i: int) -> int:
        found: int = (await self.frames.ask(i, question(i)))["id"]
        return found

    async def blob(self, data: bytes) -> bytes:
        self.blobs += 1
        found: bytes = (await self.frames.ask(self.blobs, pack({"id": self.blobs, "data": data})))["data"]
        return found

    async def close(self) -> None:
        self.frames.transport.close()


class SyncClient:
    """Blocking asks over a socket of its own."""

    SHARED = False

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb", buffering=128 * 1024)

    def _ask(self, body: bytes) -> Any:
        self.socket.sendall(LENGTH.pack(len(body)) + body)
        return unpack(self.file.read(LENGTH.unpack(self.file.read(4))[0]))

    def echo(self, i: int) -> int:
        found: int = self._ask(question(i))["id"]
        return found

    def blob(self, data: bytes) -> bytes:
        found: bytes = self._ask(pack({"id": 0, "data": data}))["data"]
        return found

    def close(self) -> None:
        self.file.close()
        self.socket.close()


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return uvloop.run(coroutine)


@contextlib.contextmanager
def idle(port: int, n: int) -> Iterator[None]:
    """Hold n connections, each of which has asked once."""
    clients: list[SyncClient] = []
    try:
        for number in range(n):
            clients.append(SyncClient(port))
            clients[-1].echo(number)
        yield
    finally:
        for client in clients:
            client.close()
