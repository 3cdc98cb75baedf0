"""What comes and is no receiver's: the framework's own packets, what is meant for another service, and the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zfoo_py.router import refusals

if TYPE_CHECKING:
    from collections.abc import Callable

    from zfoo_py.net.session import Session
    from zfoo_py.protocol.common import Error
    from zfoo_py.protocol.packet import Binding, Packet

__all__ = ["Unserved"]


class Unserved:
    """Owned by the router, on the loop's thread.

    Args:
        provided: (module, group) of everything this node provides; for texts.
        refuse: answers an ask, and counts: (session, signal id or 0, error).
        warn: writes one log line, bounded in rate by what comes first: (about, text).

    Attributes:
        handlers: of the framework's own packets, called in the session's turn.
        misrouted: packets that were meant for another service type.
    """

    __slots__ = ("_provided", "_refuse", "_warn", "handlers", "misrouted")

    def __init__(
        self,
        provided: frozenset[tuple[str, str]],
        refuse: Callable[[Session, int, Error], None],
        warn: Callable[[str, str], object],
    ) -> None:
        self._provided = provided
        self._refuse = refuse
        self._warn = warn
        self.handlers: dict[type[Packet], Callable[[Session, Any], None]] = {}
        self.misrouted = 0

    def take(self, session: Session, binding: Binding, packet: Packet, signal_id: int, *, unknown: bool) -> None:
        """Take a packet; ``unknown``: there is no receiver of it at all."""
        handler = self.handlers.get(packet.__class__)
        if handler is not None:
            handler(session, packet)
            return
        name, module = packet.__class__.__name__, binding.module.name
        if session.side == "server" and module not in session.serves and session.kind != "client":
            self._misrouted(session, signal_id, name, module)
        elif unknown:
            self._refuse(session, signal_id, refusals.no_receiver(name))

    def _misrouted(self, session: Session, signal_id: int, name: str, module: str) -> None:
        """The tripwire: what arrives is meant for another service type than those this node provides."""
        self.misrouted += 1
        error = refusals.misrouted(module, self._provided)
        text = f"{name} of {session.node_id or session.peer} is misrouted: {error.message}"
        self._warn(f"misroute {session.node_id}", text)
        self._refuse(session, signal_id, error)
