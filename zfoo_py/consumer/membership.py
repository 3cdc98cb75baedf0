"""Who can be reached: providers and the sessions to them, and what a session that comes or goes means.

A provider is a registration; a session is one way to reach it. Only the first session makes it join and only the last
one lost makes it leave, so a reconnection is no change. Pure: the ConsumerActor owns it and does what is returned.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from zfoo_py.consumer.balancer import Provider

if TYPE_CHECKING:
    from zfoo_py.net.messages import ProviderUp

__all__ = ["Change", "Joined", "Left", "Membership", "Reweighed"]


class Joined(NamedTuple):
    """A provider has its first session."""

    provider: Provider
    sid: int


class Left(NamedTuple):
    """A provider lost its last session."""

    provider: Provider
    sid: int
    reason: str


class Reweighed(NamedTuple):
    """A provider that is there has another weight now: that of the session that came last."""

    provider: Provider


Change = Joined | Left | Reweighed


class Membership:
    """The providers with a live session.

    Attributes:
        providers: by ring name.
        by_sid: by session.
    """

    def __init__(self) -> None:
        self.providers: dict[str, Provider] = {}
        self.by_sid: dict[int, Provider] = {}
        self._weights: dict[int, int] = {}  # what each session's Hello, or discovery after it, has said

    def up(self, up: ProviderUp) -> list[Change]:
        """A session to a provider is ready. O(its sessions).

        Raises:
            ConfigError: its registration has no ring name; nothing has changed then.
        """
        registration = up.registration
        ring_name = registration.ring_name
        provider = self.providers.get(ring_name)
        if provider is None:
            provider = self.providers[ring_name] = Provider(
                ring_name=ring_name,
                text=registration.text,
                node_id=registration.id,
                address=registration.address or "",
                services=frozenset((service.module, service.name) for service in registration.provides),
            )
        self.by_sid[up.sid] = provider
        self._weights[up.sid] = up.weight
        if provider.add_session(up.sid, up.ref):
            provider.weight = up.weight
            return [Joined(provider, up.sid)]
        return self._weigh(provider)

    def down(self, sid: int, reason: str) -> list[Change]:
        """A session is lost; one that is not known changes nothing. O(the provider's sessions)."""
        provider = self.by_sid.pop(sid, None)
        self._weights.pop(sid, None)
        if provider is None:
            return []
        if not provider.drop_session(sid):
            return self._weigh(provider)
        del self.providers[provider.ring_name]
        return [Left(provider, sid, reason)]

    def _weigh(self, provider: Provider) -> list[Change]:
        last_sid, _ = provider.sessions[-1]
        if provider.weight == self._weights[last_sid]:
            return []
        provider.weight = self._weights[last_sid]
        return [Reweighed(provider)]

    def missing_from(self, sids: Iterable[int]) -> list[int]:
        """The known sessions that are not among these. O(sessions)."""
        return sorted(self.by_sid.keys() - set(sids))
