"""What a discovery must do, and the simplest one: a list of addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from zfoo_py.consumer.messages import Announced, DiscoverySilent, Target
from zfoo_py.protocol.registration import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Discovery", "StaticDiscovery"]


class Discovery(Protocol):
    """Tells a node which providers there are, and the others that this node is one.

    Ordering: announcements come in the order in which the discovery learnt of them; each start, and each
    reconnection, begins with a snapshot. Delivery: at least once; announcing twice is harmless. Every method is
    called on the node's loop and none waits for the network longer than its own time limits.
    """

    async def start(self, announce: Callable[[Announced | DiscoverySilent], None], *, watch: bool) -> None:
        """Begin to announce (if ``watch``); return without waiting until it is reachable.

        Raises:
            NotReadyError: it was configured to be required at the start, and is not there.
        """

    def register(self, text: str, *, weight: int = 1, listeners: Mapping[str, str] | None = None) -> None:
        """Announce this node's registration and weight now and after every reconnection, until `leave`.

        Args:
            text: its registration.
            weight: its share.
            listeners: address by codec; None: it speaks msgpack at the registration's address.
        """

    def connected(self, target: Target, *, is_up: bool) -> None:
        """Take which announced provider this node has a session to, or has lost it; people may look at it there."""

    async def leave(self) -> None:
        """Say goodbye: the registration ends, the sessions of others to this node go on."""

    async def stop(self) -> None:
        """End everything; idempotent."""

    def trouble(self) -> str:
        """Return what is wrong right now and what to do about it, in one sentence; "" if nothing is."""


def _target(entry: str) -> Target:
    codec, mark, text = entry.partition("://")
    registration = parse(text) if mark else None
    if registration is None:
        return Target("", entry)
    return Target(text, registration.address or "", codec)


class StaticDiscovery:
    """A fixed list of addresses; which modules they provide, their Hello tells.

    Args:
        addresses: "host:port" each; of a Java provider "codec://registration".
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._targets = tuple(map(_target, addresses))

    async def start(self, announce: Callable[[Announced | DiscoverySilent], None], *, watch: bool) -> None:
        """Announce the list, once."""
        if watch:
            announce(Announced(joined=self._targets, snapshot=True))

    def register(self, text: str, *, weight: int = 1, listeners: Mapping[str, str] | None = None) -> None:
        """Do nothing: whoever wants this node has its address."""

    def connected(self, target: Target, *, is_up: bool) -> None:
        """Do nothing."""

    async def leave(self) -> None:
        """Do nothing: peers are told on their sessions."""

    async def stop(self) -> None:
        """Do nothing."""

    def trouble(self) -> str:
        """Return ""; a list of addresses has no trouble of its own."""
        return "" if self._targets else "the static discovery has no addresses: set [discovery] addresses"
