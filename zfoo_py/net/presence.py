"""What the registry hears of one session, and what it is told again after a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from zfoo_py.net import messages as m

if TYPE_CHECKING:
    from zfoo_py.actor import CoreRef

__all__ = ["Presence"]


class Presence:
    """Owned by one session actor; pure but for what it tells.

    Args:
        registry: address of the RegistryActor.
        sid: of the session.
    """

    __slots__ = ("_provider", "_registry", "_sid", "_up")

    def __init__(self, registry: CoreRef, sid: int) -> None:
        self._registry = registry
        self._sid = sid
        self._up: m.SessionUp | None = None
        self._provider: m.ProviderUp | None = None

    def begin(self, up: m.SessionUp, provider: m.ProviderUp | None) -> None:
        """The session carries packets, and perhaps reaches a provider that takes asks."""
        self._up, self._provider = up, provider
        self._registry.tell(up)
        if provider is not None:
            self._registry.tell(provider)

    def withdraw(self, reason: str) -> None:
        """The provider takes no more asks by this session; told once."""
        if self._provider is not None:
            self._provider = None
            self._registry.tell(m.ProviderDown(self._sid, reason))

    def end(self, down: m.SessionDown) -> None:
        """The session is over; told only if it had begun."""
        self.withdraw(down.reason)
        if self._up is not None:
            self._up = None
            self._registry.tell(down)

    def report(self, order: m.ReportYourself, urn: str, uid: int) -> None:
        """Tell a new registry what the session is."""
        up = self._up
        if up is not None and uid:
            up = m.SessionUp(msgspec.structs.replace(up.record, uid=uid), up.ref, up.session)
        self._registry.tell(m.SessionReport(order.registry_life, urn, up, self._provider))
