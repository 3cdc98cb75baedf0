"""What a consumer has told the application of its providers: each fact once, also when the consumer is started anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zfoo_py.consumer.service import membership_of
from zfoo_py.events import MembershipChanged, ProviderDown, ProviderUp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zfoo_py.consumer.balancer import Provider
    from zfoo_py.consumer.membership import Joined, Left
    from zfoo_py.consumer.service import Service
    from zfoo_py.events import Events

__all__ = ["News"]


class News:
    """Of one ConsumerActor, which owns it; its successor goes on where it stopped.

    Args:
        events: gets ProviderUp, ProviderDown, MembershipChanged.
    """

    def __init__(self, events: Events) -> None:
        self._events = events
        self._up: dict[str, tuple[Provider, int]] = {}  # who was told of as up, by ring name, with the session
        self._inherited: dict[str, tuple[Provider, int]] = {}
        self._version = -1  # of the last one told; 0 is the first, of nobody

    def take_over(self, previous: News) -> None:
        """Do not tell again what the predecessor has told; before the first `joined`."""
        self._inherited = {**previous._inherited, **previous._up}
        self._version = previous._version

    def joined(self, change: Joined, version: int) -> None:
        """A provider is there."""
        provider = change.provider
        self._up[provider.ring_name] = (provider, change.sid)
        if self._inherited.pop(provider.ring_name, None) is None and self._events.wants(ProviderUp):
            self._events.publish(ProviderUp(version, *_facts(provider), change.sid))

    def left(self, change: Left, version: int) -> None:
        """A provider is gone."""
        self._up.pop(change.provider.ring_name, None)
        self._down(change.provider, version, change.reason, change.sid)

    def membership(self, version: int, services: Iterable[Service]) -> None:
        """A membership version was handled."""
        while self._inherited:  # they went while nobody was there to see it
            _, (provider, sid) = self._inherited.popitem()
            self._down(provider, version, "it went while this node's consumer was started anew", sid)
        if version != self._version:
            self._version = version
            if self._events.wants(MembershipChanged):
                self._events.publish(MembershipChanged(version, membership_of(services)))

    def _down(self, provider: Provider, version: int, reason: str, sid: int) -> None:
        if self._events.wants(ProviderDown):
            self._events.publish(ProviderDown(version, *_facts(provider), reason, sid))


def _facts(provider: Provider) -> tuple[str, str, str, tuple[str, ...]]:
    return provider.ring_name, provider.node_id, provider.address, provider.modules
