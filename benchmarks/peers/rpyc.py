"""rpyc: tuples, which it sends by value; TCP_NODELAY on and compression off, both against its defaults."""

from __future__ import annotations

import socket
from typing import Any

import rpyc
from peers.message import HOST, NAME, PAYLOAD, TAGS
from rpyc.core.channel import Channel
from rpyc.core.stream import SocketStream
from rpyc.utils.server import ThreadedServer

DIST = ["rpyc"]
WORKS = ("W1.same", "W1", "W2", "W3", "W4")

Channel.COMPRESSION_THRESHOLD = 1 << 30
TUPLE = tuple(TAGS)


class Echo(rpyc.Service):  # type: ignore[misc]
    def exposed_call(self, asked: Any) -> Any:
        i, name, payload, tags = asked
        return (i, name, payload, tags)

    def exposed_blob(self, data: bytes) -> bytes:
        return data


def serve(port: int) -> None:
    server = ThreadedServer(Echo, hostname=HOST, port=port, backlog=2048)
    server.listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server.start()


class SyncClient:
    def __init__(self, port: int) -> None:
        self.connection = rpyc.connect_stream(SocketStream.connect(HOST, port, nodelay=True))
        self.call = self.connection.root.call
        self.send = self.connection.root.blob
        self.call_later = rpyc.async_(self.call)

    def echo(self, i: int) -> int:
        found: int = self.call((i, NAME, PAYLOAD, TUPLE))[0]
        return found

    def submit(self, i: int) -> Any:
        return self.call_later((i, NAME, PAYLOAD, TUPLE))

    def result(self, handle: Any) -> int:
        found: int = handle.value[0]
        return found

    def blob(self, data: bytes) -> bytes:
        found: bytes = self.send(data)
        return found

    def close(self) -> None:
        self.connection.close()
