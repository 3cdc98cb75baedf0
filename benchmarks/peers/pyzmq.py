"""pyzmq with blocking sockets: a ROUTER loop, DEALERs that pipeline, msgpack bodies."""

from __future__ import annotations

from typing import Any

import msgpack
import zmq
from peers.message import HOST, answer, question

DIST = ["pyzmq", "msgpack"]
WORKS = ("W1.same", "W1", "W2", "W3", "W4")

pack, unpack = msgpack.packb, msgpack.unpackb
context = zmq.Context.instance()


def serve(port: int) -> None:
    context.set(zmq.MAX_SOCKETS, 4096)
    router = context.socket(zmq.ROUTER)
    router.set_hwm(0)
    router.bind(f"tcp://{HOST}:{port}")
    while True:
        who, key, body = router.recv_multipart()
        asked = unpack(body)
        router.send_multipart([who, key, pack(asked if type(asked) is bytes else answer(asked))])


class SyncClient:
    def __init__(self, port: int) -> None:
        self.dealer = context.socket(zmq.DEALER)
        self.dealer.set_hwm(0)
        self.dealer.connect(f"tcp://{HOST}:{port}")

    def submit(self, i: int) -> None:
        self.dealer.send_multipart([b"", pack(question(i))])

    def result(self, _handle: Any) -> int:
        found: int = unpack(self.dealer.recv_multipart()[1])["id"]
        return found

    def echo(self, i: int) -> int:
        self.submit(i)
        return self.result(None)

    def blob(self, data: bytes) -> bytes:
        self.dealer.send_multipart([b"", pack(data)])
        found: bytes = unpack(self.dealer.recv_multipart()[1])
        return found

    def close(self) -> None:
        self.dealer.close(0)
