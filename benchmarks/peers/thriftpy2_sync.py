"""thriftpy2 with its Cython protocol; a connection serves one call at a time, so each thread has its own."""

from __future__ import annotations

from peers.message import HOST
from peers.thrift import message, read, schema
from thriftpy2.protocol import TCyBinaryProtocolFactory
from thriftpy2.rpc import make_client
from thriftpy2.server import TThreadedServer
from thriftpy2.thrift import TProcessor
from thriftpy2.transport import TCyBufferedTransportFactory, TServerSocket

DIST = ["thriftpy2"]
WORKS = ("W1.same", "W1", "W2", "W3", "W4")


class Handler:
    def call(self, asked: object) -> object:
        return read(asked)

    def blob(self, data: bytes) -> bytes:
        return data


def serve(port: int) -> None:
    place = TServerSocket(host=HOST, port=port, client_timeout=None, backlog=2048)
    processor = TProcessor(schema.Echo, Handler())
    TThreadedServer(
        processor,
        place,
        iprot_factory=TCyBinaryProtocolFactory(),
        itrans_factory=TCyBufferedTransportFactory(),
    ).serve()


class SyncClient:
    def __init__(self, port: int) -> None:
        self.client = make_client(
            schema.Echo,
            HOST,
            port,
            timeout=30000,
            proto_factory=TCyBinaryProtocolFactory(),
            trans_factory=TCyBufferedTransportFactory(),
        )

    def echo(self, i: int) -> int:
        found: int = self.client.call(message(i)).id
        return found

    def blob(self, data: bytes) -> bytes:
        found: bytes = self.client.blob(data)
        return found

    def close(self) -> None:
        self.client.close()
