"""pyzmq with zmq.asyncio under uvloop, one ask at a time; with many, the blocking sockets are faster."""

from __future__ import annotations

from typing import Any, Self

import msgpack
import uvloop
import zmq
import zmq.asyncio
from peers.message import HOST, answer, question

DIST = ["pyzmq", "msgpack", "uvloop"]
WORKS = ("W1a.same", "W1a")

pack, unpack = msgpack.packb, msgpack.unpackb
run = uvloop.run


def serve(port: int) -> None:
    async def forever() -> None:
        router = zmq.asyncio.Context.instance().socket(zmq.ROUTER)
        router.bind(f"tcp://{HOST}:{port}")
        while True:
            who, body = await router.recv_multipart()
            await router.send_multipart([who, pack(answer(unpack(body)))])

    uvloop.run(forever())


class AsyncClient:
    def __init__(self, dealer: Any) -> None:
        self.dealer = dealer

    @classmethod
    async def connect(cls, port: int) -> Self:
        dealer = zmq.asyncio.Context.instance().socket(zmq.DEALER)
        dealer.connect(f"tcp://{HOST}:{port}")
        return cls(dealer)

    async def echo(self, i: int) -> int:
        await self.dealer.send(pack(question(i)))
        found: int = unpack(await self.dealer.recv())["id"]
        return found

    async def close(self) -> None:
        self.dealer.close(0)
