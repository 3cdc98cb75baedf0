"""Pyro5 with marshal, its fastest serializer; a proxy serves one call at a time, so each thread has its own."""

from __future__ import annotations

from typing import Any

import Pyro5
import Pyro5.api
from peers.message import HOST, answer, question

DIST = ["Pyro5"]
WORKS = ("W1.same", "W1", "W2", "W3", "W4")

Pyro5.config.SERIALIZER = "marshal"
Pyro5.config.SOCK_NODELAY = True
Pyro5.config.SERVERTYPE = "multiplex"


@Pyro5.api.expose
class Echo:
    def call(self, asked: dict[str, Any]) -> dict[str, Any]:
        return answer(asked)

    def blob(self, data: bytes) -> bytes:
        return data


def serve(port: int) -> None:
    daemon = Pyro5.api.Daemon(host=HOST, port=port)
    daemon.register(Echo(), "echo")
    daemon.requestLoop()


class SyncClient:
    def __init__(self, port: int) -> None:
        self.proxy = Pyro5.api.Proxy(f"PYRO:echo@{HOST}:{port}")

    def echo(self, i: int) -> int:
        self.proxy._pyroClaimOwnership()  # noqa: SLF001 - Pyro's name for it
        found: int = self.proxy.call(question(i))["id"]
        return found

    def blob(self, data: bytes) -> bytes:
        self.proxy._pyroClaimOwnership()  # noqa: SLF001
        found: bytes = self.proxy.blob(data)
        return found

    def close(self) -> None:
        self.proxy._pyroClaimOwnership()  # noqa: SLF001
        self.proxy._pyroRelease()  # noqa: SLF001
