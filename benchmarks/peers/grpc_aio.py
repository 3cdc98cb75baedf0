"""grpc.aio under uvloop, unary-unary; the bodies are msgpack, so that nobody needs generated code."""

from __future__ import annotations

from typing import Any, Self

import grpc
import msgpack
import uvloop
from peers.message import HOST, answer, question

DIST = ["grpcio", "msgpack", "uvloop"]
WORKS = ("W1a.same", "W1a", "W2", "W4")

OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
run = uvloop.run


def handlers(call: Any, blob: Any) -> Any:
    """Return the service: `call` takes and gives a dict, `blob` bytes."""
    methods = {
        "call": grpc.unary_unary_rpc_method_handler(call, msgpack.unpackb, msgpack.packb),
        "blob": grpc.unary_unary_rpc_method_handler(blob),
    }
    return grpc.method_handlers_generic_handler("Echo", methods)


def serve(port: int) -> None:
    async def call(asked: Any, _context: Any) -> Any:
        return answer(asked)

    async def blob(data: bytes, _context: Any) -> bytes:
        return data

    async def forever() -> None:
        server = grpc.aio.server(options=OPTIONS)
        server.add_generic_rpc_handlers((handlers(call, blob),))
        server.add_insecure_port(f"{HOST}:{port}")
        await server.start()
        await server.wait_for_termination()

    uvloop.run(forever())


class AsyncClient:
    def __init__(self, port: int) -> None:
        self.channel = grpc.aio.insecure_channel(f"{HOST}:{port}", options=OPTIONS)
        self.call = self.channel.unary_unary("/Echo/call", msgpack.packb, msgpack.unpackb)
        self.send = self.channel.unary_unary("/Echo/blob")

    @classmethod
    async def connect(cls, port: int) -> Self:
        return cls(port)

    async def echo(self, i: int) -> int:
        found: int = (await self.call(question(i)))["id"]
        return found

    async def blob(self, data: bytes) -> bytes:
        found: bytes = await self.send(data)
        return found

    async def close(self) -> None:
        await self.channel.close()
