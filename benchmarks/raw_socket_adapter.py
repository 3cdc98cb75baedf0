"""The limit of this machine: the same bytes through sockets, packed once; nothing is read, typed or matched by id.

Its contract is in benchmarks/README.md.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Self

import raw_msgpack_adapter as base
import uvloop

DIST = ["uvloop"]
WORKS = ("W1.same", "W1", "W1a.same", "W1a", "W2", "W3", "W4")  # W5: the server is that of raw_msgpack
BODY = base.question(1)

run = base.run


class Server(base.Frames):
    def take(self, bodies: list[bytes]) -> None:
        out: list[bytes] = []
        for body in bodies:
            out += (base.LENGTH.pack(len(body)), body)
        self.transport.write(b"".join(out))


class Client(base.Frames):
    def __init__(self) -> None:
        super().__init__()
        self.waiting: deque[asyncio.Future[bytes]] = deque()
        self.new_future = asyncio.get_running_loop().create_future

    def take(self, bodies: list[bytes]) -> None:
        for body in bodies:
            self.waiting.popleft().set_result(body)

    def ask(self, body: bytes) -> asyncio.Future[bytes]:
        future: asyncio.Future[bytes] = self.new_future()
        self.waiting.append(future)
        self.transport.write(base.LENGTH.pack(len(body)) + body)
        return future


def serve(port: int) -> None:
    """Serve until killed."""

    async def forever() -> None:
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", port, backlog=2048)
        await server.serve_forever()

    uvloop.run(forever())


class AsyncClient:
    """Any number outstanding; the answers come in the order of the asks."""

    def __init__(self, frames: Client) -> None:
        self.frames = frames

    @classmethod
    async def connect(cls, port: int) -> Self:
        _, frames = await asyncio.get_running_loop().create_connection(Client, "127.0.0.1", port)
        return cls(frames)

    async def echo(self, i: int) -> int:
        await self.frames.ask(BODY)
        return i

    async def blob(self, data: bytes) -> bytes:
        return await self.frames.ask(data)

    async def close(self) -> None:
        self.frames.transport.close()


class SyncClient(base.SyncClient):
    """A socket of its own."""

    def _ask(self, body: bytes) -> Any:
        self.socket.sendall(base.LENGTH.pack(len(body)) + body)
        return self.file.read(base.LENGTH.unpack(self.file.read(4))[0])

    def echo(self, i: int) -> int:
        self._ask(BODY)
        return i

    def blob(self, data: bytes) -> bytes:
        found: bytes = self._ask(data)
        return found
