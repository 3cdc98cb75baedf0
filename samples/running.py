"""The running cluster: a discovery, six provider processes and a consumer; who is killed and who joins.

This process is discovery and consumer, in two nodes. Kills and starts go into the journal, so that the referee
knows of them, whoever wanted them.
"""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samples.check_cluster import KEEPS_KEYS
from samples.providers import Providers
from samples.services import MODULES
from samples.zfoo_2024 import SharedMemo, Zfoo2024Balancer
from zfoo_py import Node
from zfoo_py.discovery_config import discovery_of
from zfoo_py.events import MembershipChanged
from zfoo_py.testing.zookeeper import ZooKeeperServer, why_missing

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Callable, Mapping

    from samples.replay import Recorder
    from zfoo_py.consumer.balancer import Balancer, BalancerOptions

    Factory = Callable[[BalancerOptions], Balancer]

__all__ = ["OLD_BALANCER", "START_LIMIT_S", "CannotRunError", "Cluster", "running"]

# A provider process is up within half a second; on a loaded machine it may take longer.
START_LIMIT_S = 20.0
OLD_BALANCER = "zfoo-2024"


class CannotRunError(Exception):
    """The cluster cannot run; the text says why."""


class Cluster:
    """The cluster while it runs.

    Attributes:
        node: the consumer.
        providers: the provider processes.
        recorder: of what the consumer is told, with its journal.
        memo: of the old balancer.
        discovery: where all meet, as `discovery_of` reads it.
    """

    def __init__(self, node: Node, providers: Providers, recorder: Recorder, memo: SharedMemo, discovery: str) -> None:
        self.node = node
        self.providers = providers
        self.recorder = recorder
        self.memo = memo
        self.discovery = discovery
        self._recorders = [recorder]

    async def kill(self, name: str) -> None:
        """SIGKILL one provider of visits; returns when the process is gone."""
        ring_name = self.recorder.members["visits"][name]
        await self.providers.kill(name)
        self._write({"kind": "churn", "event": "killed", "served_by": name, "ring_name": ring_name})

    async def start(self, name: str, *, without: str = "") -> None:
        """Start one provider of visits; returns when it is a member, and another one none any more.

        Raises:
            TimeoutError: that took longer than `START_LIMIT_S`.
        """
        await self.providers.start(name, "visits")
        async with asyncio.timeout(START_LIMIT_S):
            await self.recorder.until(lambda members: name in members["visits"] and without not in members["visits"])
        ring_name = self.recorder.members["visits"][name]
        self._write({"kind": "churn", "event": "started", "served_by": name, "ring_name": ring_name})

    def _write(self, record: dict[str, Any]) -> None:
        for recorder in self._recorders:
            recorder.write(record)

    def second_consumer(self, balancer: str, recorder: Recorder, seed: int) -> Node:
        """Return a node, not started, that consumes the same modules under another balancer; with its own journal."""
        balancers = dict.fromkeys(MODULES, balancer)
        recorder.write(header(seed, None, balancer, balancers))
        self._recorders.append(recorder)
        return _consumer(balancer, self.discovery, balancers, recorder, self.memo, {})


def header(seed: int, trace: str | None, balancer: str | None, balancers: Mapping[str, str]) -> dict[str, Any]:
    """Return the first record of a journal."""
    return {
        "kind": "header",
        "seed": seed,
        "trace": trace,
        "balancer": balancer or "as configured",
        "balancers": dict(balancers),
        # Of a policy of one's own, module:Class, nobody here knows that it follows the ring.
        "keeps_keys": {module: KEEPS_KEYS.get(name, ":" not in name) for module, name in balancers.items()},
    }


@asynccontextmanager
async def running(
    options: argparse.Namespace,
    recorder: Recorder,
    balancers: Mapping[str, str],
    factories: Mapping[str, Factory] | None = None,
    **limits: Any,
) -> AsyncIterator[Cluster]:
    """Start everything, wait until every provider is a member, and stop everything in the end.

    Args:
        options: of the command line.
        recorder: of the consumer.
        balancers: module → name of its balancer.
        factories: more balancers by name, or others for known names.
        limits: of the consumer, as in `Node`.

    Raises:
        TimeoutError: a provider did not join within `START_LIMIT_S`.
        ExceptionGroup: of `ProviderEndedError`: a provider ended by itself.
    """
    memo = SharedMemo()
    async with _meeting(options.discovery) as address, asyncio.TaskGroup() as group:
        node = _consumer("replay", address, balancers, recorder, memo, factories or {}, **limits)
        recorder.write(header(options.seed, options.trace, options.balancer, balancers))
        providers = Providers(address, group)
        try:
            for number in range(1, options.providers + 1):
                await providers.start(f"visits-{number}", "visits")
            await providers.start("sessions-1", "sessions")
            await providers.start("pages-1", "pages")
            await providers.start("mixed-1", "sessions", "pages")
            async with node:
                wanted = {"visits": options.providers, "sessions": 2, "pages": 2}
                async with asyncio.timeout(START_LIMIT_S):
                    await recorder.until(lambda members: {name: len(of) for name, of in members.items()} == wanted)
                yield Cluster(node, providers, recorder, memo, address)
        finally:
            await providers.stop()


@asynccontextmanager
async def _meeting(wanted: str | None) -> AsyncIterator[str]:
    """Give the place where all meet: an embedded discovery here, a ZooKeeper started for it, or the one named."""
    if wanted is None:
        # Two nodes in one process: one hosts the embedded discovery on a free port, the other one replays.
        async with Node(id="discovery", receivers=[], discovery={"address": "127.0.0.1:0", "host": True}) as node:
            yield node.discovery_address
    elif wanted != "zookeeper":
        yield wanted
    elif why := why_missing():
        raise CannotRunError(f"{why}; or name one that runs: --discovery zookeeper://HOST:PORT")
    else:
        with tempfile.TemporaryDirectory() as folder:
            server = await asyncio.to_thread(ZooKeeperServer.start, Path(folder))
            with server:
                yield f"zookeeper://{server.address}"


def _consumer(
    id: str,
    discovery: str,
    balancers: Mapping[str, str],
    recorder: Recorder,
    memo: SharedMemo,
    factories: Mapping[str, Factory],
    **limits: Any,
) -> Node:
    node = Node(
        id=id,
        consumes=[(MODULES[name], name, balancer) for name, balancer in balancers.items()],
        receivers=[],
        discovery=discovery_of(discovery),
        balancers={OLD_BALANCER: lambda given: Zfoo2024Balancer(given, memo), **factories},
        ready_timeout_s=START_LIMIT_S,
        **limits,
    )
    node.events.subscribe(MembershipChanged, recorder.membership)
    return node
