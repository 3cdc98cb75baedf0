"""Where a row of the registry card is played: the drill's stage, on a real ZooKeeper."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from samples.drill.stage import Stage
from zfoo_py.consumer.zookeeper_io import KazooLink
from zfoo_py.discovery_config import DiscoveryConfig
from zfoo_py.testing.zookeeper import ZooKeeperServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from samples.drill.card import Scale
    from zfoo_py import Node

__all__ = ["OWN", "Eye", "RegistryStage", "Times", "expire"]

OWN = "/zfoo/zfoo_py/provider"


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """How long things last.

    Attributes:
        session_s: ZooKeeper's session time-out.
        down_s: how long ZooKeeper is away.
        load_s: how long a fault is under load before and after.
    """

    session_s: float
    down_s: float
    load_s: float


class Eye:
    """A look at ZooKeeper, past every node."""

    def __init__(self, link: KazooLink) -> None:
        self._link = link
        self._is_connected = asyncio.Event()

    @classmethod
    async def open(cls, address: str) -> Self:
        """Connect."""
        loop = asyncio.get_running_loop()

        def post(call: Callable[..., None], *args: Any) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(call, *args)

        eye = cls(KazooLink(DiscoveryConfig(kind="zookeeper", address=address), post))
        eye._link.start(eye._state, lambda *_: None)
        async with asyncio.timeout(10):
            await eye._is_connected.wait()
        return eye

    def _state(self, state: str) -> None:
        (self._is_connected.set if state == "connected" else self._is_connected.clear)()

    async def close(self) -> None:
        """End the session."""
        await self._link.stop()

    async def owners(self) -> dict[str, int]:
        """Return the session of each provider's node, by the provider's id."""
        names = await self._link.children(OWN)
        stats = [(name, await self._link.stat(f"{OWN}/{name}")) for name in names]
        return {name.partition(" | ")[0]: stat.owner for name, stat in stats if stat is not None}

    async def names(self) -> list[str]:
        """Return the providers' nodes."""
        return await self._link.children(OWN)

    async def put(self, name: str, data: bytes = b"") -> None:
        """Create a node where providers stand."""
        await self._link.create(f"{OWN}/{name}", data, ephemeral=True, closed=False)


class RegistryStage(Stage):
    """A stage whose members meet at a ZooKeeper; `through` and `addresses` are where they look for it."""

    def __init__(self, scale: Scale, times: Times, folder: Path) -> None:
        super().__init__(scale, folder)
        self.times = times
        self._folder_of_server = folder / "zookeeper"

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.server = await asyncio.to_thread(ZooKeeperServer.start, self._folder_of_server)
        self.defer(self.server.kill)
        return self

    async def eye(self) -> Eye:
        """Look at ZooKeeper until the row is over."""
        eye = await Eye.open(self.server.address)
        self._stack.push_async_callback(eye.close)
        return eye

    def _where(self, addresses: tuple[str, ...]) -> dict[str, Any]:
        return {
            "kind": "zookeeper",
            "address": ",".join(addresses) or self.server.address,
            "session_timeout_s": self.times.session_s,
            "call_timeout_s": 3.0,
        }


# An attempt takes milliseconds, and the node a second at most to see what became of it.
EXPIRE_S: Final = 20.0


async def expire(node: Node) -> None:
    """End the session of a node in this process, as an operator or a bug does: a second client takes and closes it.

    Returns when the node has learnt of it. The node takes its session back as soon as it can connect; where it comes
    before the second client has closed the session, the whole is done again.

    Raises:
        TimeoutError: the session is the old one after `EXPIRE_S`.
    """
    engine: Any = node._engine  # noqa: SLF001
    link = engine._discovery._link  # noqa: SLF001
    taken, make, hosts = link._client.client_id, type(link._client), link._client.hosts  # noqa: SLF001

    def take_and_close() -> None:
        second = make(hosts=hosts and f"{hosts[0][0]}:{hosts[0][1]}", client_id=taken)
        with suppress(second.handler.timeout_exception):  # the node had its session back at once
            second.start(10)
        second.stop()
        second.close()

    async with asyncio.timeout(EXPIRE_S):
        while link.session() == taken[0]:
            await asyncio.to_thread(take_and_close)
            for _ in range(100):
                if link.session() != taken[0]:
                    return
                await asyncio.sleep(0.01)
