"""thriftpy2.contrib.aio under uvloop; its protocol there is pure Python. One ask at a time."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import uvloop
from peers.message import HOST
from peers.thrift import message, read, schema
from thriftpy2.contrib.aio.rpc import make_client, make_server

DIST = ["thriftpy2", "uvloop"]
WORKS = ("W1a.same", "W1a")

run = uvloop.run


class Handler:
    async def call(self, asked: object) -> object:
        return read(asked)

    async def blob(self, data: bytes) -> bytes:
        return data


def serve(port: int) -> None:
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    make_server(schema.Echo, Handler(), HOST, port, client_timeout=None, loop=loop).serve()


class AsyncClient:
    def __init__(self, client: Any) -> None:
        self.client = client

    @classmethod
    async def connect(cls, port: int) -> Self:
        return cls(await make_client(schema.Echo, HOST, port, timeout=30000))

    async def echo(self, i: int) -> int:
        found: int = (await self.client.call(message(i))).id
        return found

    async def close(self) -> None:
        self.client.close()
