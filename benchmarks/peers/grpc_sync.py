"""grpcio's blocking API: a thread-pool server, one channel for all threads; the bodies are msgpack."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import msgpack
from peers.grpc_aio import OPTIONS, handlers
from peers.message import HOST, answer, question

DIST = ["grpcio", "msgpack"]
WORKS = ("W1.same", "W1", "W3")


def serve(port: int) -> None:
    def call(asked: Any, _context: Any) -> Any:
        return answer(asked)

    def blob(data: bytes, _context: Any) -> bytes:
        return data

    server = grpc.server(ThreadPoolExecutor(max_workers=10), options=OPTIONS)
    server.add_generic_rpc_handlers((handlers(call, blob),))
    server.add_insecure_port(f"{HOST}:{port}")
    server.start()
    server.wait_for_termination()


class SyncClient:
    SHARED = True

    def __init__(self, port: int) -> None:
        self.channel = grpc.insecure_channel(f"{HOST}:{port}", options=OPTIONS)
        self.call = self.channel.unary_unary("/Echo/call", msgpack.packb, msgpack.unpackb)
        self.send = self.channel.unary_unary("/Echo/blob")

    def echo(self, i: int) -> int:
        found: int = self.call(question(i))["id"]
        return found

    def blob(self, data: bytes) -> bytes:
        found: bytes = self.send(data)
        return found

    def close(self) -> None:
        self.channel.close()
