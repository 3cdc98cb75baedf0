"""Makes the discovery that a node's configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from zfoo_py.consumer.discovery import Discovery, StaticDiscovery
from zfoo_py.consumer.embedded_io import EmbeddedDiscovery
from zfoo_py.protocol.common import DirectoryChange, Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from zfoo_py.actor import Runtime
    from zfoo_py.config import NodeConfig
    from zfoo_py.consumer.messages import Target
    from zfoo_py.net.session import Session
    from zfoo_py.protocol.registration import Registration
    from zfoo_py.router.router import Router

__all__ = ["Surroundings", "make_discovery", "servers_of"]


class Surroundings(msgspec.Struct, frozen=True):
    """What a discovery gets of its node.

    Attributes:
        config: of the node.
        registration: what the node announces.
        runtime: its loop and clock.
        router: where the packets of the embedded discovery arrive.
        open_session: starts to open a session to a target; reports TargetUp, TargetDown or DialFailed.
        jitter: returns a random number in [0, 1).
        warn: writes one log line about a peer.
    """

    config: NodeConfig
    registration: Registration
    runtime: Runtime
    router: Router
    open_session: Callable[[Target, Callable[[Any], None]], None]
    jitter: Callable[[], float]
    warn: Callable[[str, str], None]


def make_discovery(around: Surroundings, embedded_address: str) -> Discovery:
    """Return a discovery that is not started yet.

    Raises:
        ConfigError: the library it needs is not installed.
    """
    config = around.config

    def warn(text: str) -> None:
        around.warn("discovery", text)

    def message(session: Session, packet: Message) -> None:
        around.warn(session.peer, f"{session.peer} says: {packet.message!r}")

    if config.discovery.kind == "static":
        return StaticDiscovery(config.discovery.addresses)
    if config.discovery.kind == "zookeeper":
        from zfoo_py.consumer.zookeeper import ZooKeeperDiscovery  # noqa: PLC0415 - most nodes need none of it
        from zfoo_py.extras import need  # noqa: PLC0415

        need("kazoo", "zookeeper")
        from zfoo_py.consumer.zookeeper_io import KazooLink  # noqa: PLC0415 - kazoo is an extra

        link = KazooLink(config.discovery, around.runtime.call_from_outside)
        return ZooKeeperDiscovery(config.discovery, around.registration, link=link, warn=warn, codecs=config.codecs)
    embedded = EmbeddedDiscovery(
        embedded_address,
        around.open_session,
        around.runtime.timers,
        reconnect_min_s=config.limits.reconnect_min_s,
        reconnect_max_s=config.limits.reconnect_max_s,
        jitter=around.jitter,
        warn=warn,
    )
    around.router.install(DirectoryChange, embedded.on_change)
    around.router.install(Message, message)
    return embedded


def servers_of(config: NodeConfig) -> tuple[str, ...]:
    """Return the addresses of the configured discovery: whoever sees them sees the other nodes."""
    if config.discovery.kind == "static":
        return config.discovery.addresses
    return () if config.discovery.host else tuple(config.discovery.address.split(","))
