"""zfoo_py in the benchmark, as in a cluster of Java zfoo: both processes speak zfoo-java, and no Hello."""

from __future__ import annotations

from typing import Any, Self

import zfoo_py_adapter as base

from zfoo_py import Node

DIST = base.DIST
# Not W4: whoever is no node of zfoo_py may send 64 KiB in all. Not W5: its sessions speak msgpack.
WORKS = ("W1.same", "W1", "W1a.same", "W1a", "W2", "W3")

run = base.run


def serve(port: int) -> None:
    """Serve until killed."""
    Node(
        id="bench",
        codecs=["zfoo-java"],
        listen=[(f"127.0.0.1:{port}", "zfoo-java")],
        provides=[base.echoes],
        receivers=[base.at_echo_ask, base.at_blob_ask],
        discovery={"kind": "static"},
        max_in_work_per_session=4096,
    ).run()


def consumer(port: int) -> Node:
    """Return a node that consumes the server's module."""
    return Node(
        id="bench-client",
        consumes=[base.echoes],
        receivers=[],
        discovery={
            "kind": "static",
            "addresses": [f"zfoo-java://bench | 127.0.0.1:{port} | provider:[echoes-echoes]"],
        },
    )


class AsyncClient(base.AsyncClient):
    """Awaited asks, any number outstanding."""

    @classmethod
    async def connect(cls, port: int) -> Self:
        return cls(await consumer(port).start())


class SyncClient(base.SyncClient):
    """Blocking asks from threads; one node serves all threads."""

    def __init__(self, port: int) -> None:
        self.node = consumer(port)
        self.node.__enter__()
        self.ask: Any = self.node.consumer.sync_ask
