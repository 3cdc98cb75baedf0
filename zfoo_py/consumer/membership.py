"""Who can be reached: providers and the sessions to them, and what a session that comes or goes means.

A provider is a registration; a session is one way to reach it. Only the first session makes it join and only the last
one lost makes it leave, so a reconnection is no change. Pure: the ConsumerActor owns it and does what is returned.

What the ring hashes is the registration, which Java peers share; or, by ``ring_identity = "node-id"``, the node id,
so that a node that comes back at another address has its keys again. Then ids must be unique: of two live registrations
with one id the first has it, and the second is refused until the first is gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from zfoo_py.consumer.balancer import Provider

if TYPE_CHECKING:
    from zfoo_py.net.messages import ProviderUp

__all__ = ["Change", "Joined", "Left", "Membership", "Refused", "Reweighed"]


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


class Refused(NamedTuple):
    """A provider that is not let in as long as another one with its identity is there."""

    ring_name: str
    text: str
    holder: str

    @property
    def fault(self) -> str:
        """What is wrong, and what to do about it."""
        return (
            f"two live nodes have the id {self.ring_name!r}: {self.holder} keeps its place in the ring, and "
            f"{self.text} gets nothing until that is gone: give each node an id of its own"
        )


Change = Joined | Left | Reweighed | Refused


class Membership:
    """The providers with a live session.

    Args:
        ring_identity: "registration" or "node-id".

    Attributes:
        providers: by ring name.
        by_sid: by session.
    """

    def __init__(self, ring_identity: str = "registration") -> None:
        self._is_by_node_id = ring_identity == "node-id"
        self._refused: dict[str, dict[int, ProviderUp]] = {}  # ring name → sid → what waits for it, oldest first
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
        if self._is_by_node_id:
            ring_name = registration.id
        provider = self.providers.get(ring_name)
        if provider is not None and provider.text != registration.text and self._is_by_node_id:
            return self._refuse(up, provider)
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
            self._drop_refused(sid)
            return []
        if not provider.drop_session(sid):
            return self._weigh(provider)
        del self.providers[provider.ring_name]
        return [Left(provider, sid, reason), *self._let_in(provider.ring_name)]

    def _refuse(self, up: ProviderUp, holder: Provider) -> list[Change]:
        waiting = self._refused.setdefault(holder.ring_name, {})
        text = up.registration.text
        is_known = any(other.registration.text == text for other in waiting.values())
        waiting[up.sid] = up
        return [] if is_known else [Refused(holder.ring_name, text, holder.text)]

    def _drop_refused(self, sid: int) -> None:
        for ring_name, waiting in list(self._refused.items()):
            waiting.pop(sid, None)
            if not waiting:
                del self._refused[ring_name]

    def _let_in(self, ring_name: str) -> list[Change]:
        """The first of those who waited for this ring name has it now; the others wait for that one."""
        waiting = self._refused.pop(ring_name, {})
        changes = [change for up in waiting.values() for change in self.up(up)]
        return [change for change in changes if not isinstance(change, Refused)]

    def _weigh(self, provider: Provider) -> list[Change]:
        last_sid, _ = provider.sessions[-1]
        if provider.weight == self._weights[last_sid]:
            return []
        provider.weight = self._weights[last_sid]
        return [Reweighed(provider)]

    def missing_from(self, sids: Iterable[int]) -> list[int]:
        """The known sessions that are not among these. O(sessions)."""
        refused = {sid for waiting in self._refused.values() for sid in waiting}
        return sorted((self.by_sid.keys() | refused) - set(sids))
