"""The embedded discovery server: which registrations there are, and who wants to hear of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zfoo_py.actor import CoreActor
from zfoo_py.config import MAX_WEIGHT
from zfoo_py.consumer import messages as c
from zfoo_py.errors import BackpressureError, SessionClosedError
from zfoo_py.net.messages import SessionDown
from zfoo_py.protocol.common import DirectoryChange, Message
from zfoo_py.protocol.registration import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from zfoo_py.net.session import Session

__all__ = ["DirectoryActor"]

# One node announces one registration per listener; more than this from one session is a fault or an attack.
MAX_REGISTRATIONS_PER_SESSION = 16

# A registration names a node, an address and its modules; ZooKeeper's node names end in the same range.
MAX_REGISTRATION_CHARS = 4096

# A push holds at most so many characters of registrations, so that it fits a frame whatever they are (4 bytes each in
# UTF-8 at most, and a frame takes 2 MiB): some four thousand usual ones.
MAX_PUSH_CHARS = 400_000


class DirectoryActor(CoreActor):
    """Owns the registrations of the embedded discovery. A registration lives as long as its session.

    Registering is idempotent; the same text from another session (a node that restarted before its old
    session was noticed dead) moves the registration to that session.

    Args:
        registered: (text, session) pairs to begin with, after a restart of this actor.
        weights: their weights, where they are not 1.
        watching: sessions that watch, after a restart of this actor.
    """

    def __init__(
        self,
        registered: Iterable[tuple[str, Session]] = (),
        watching: Iterable[Session] = (),
        weights: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.registered: dict[str, Session] = dict(registered)
        self.weights: dict[str, int] = dict(weights or {})  # where they are not 1
        self.watching: dict[int, Session] = {session.sid: session for session in watching}
        self._turns: dict[type, Callable[[Any], None]] = {
            c.Registered: self._register,
            c.Unregistered: self._unregister,
            c.Watching: self._watch,
            SessionDown: self._session_down,
        }

    def on_receive(self, message: Any) -> None:
        """Dispatch by the message's class."""
        self._turns[message.__class__](message)

    def _register(self, order: c.Registered) -> None:
        session, text = order.session, order.text
        fault = self._fault_of(order)
        if fault:
            self._push(session, Message(0, fault))
            return
        if not session.is_up:
            return
        # Also when it moves to another session: whoever lost the provider and waits to dial again need not wait.
        is_news = self.registered.get(text) is not session or self.weights.get(text, 1) != order.weight
        self.registered[text] = session
        self.weights.pop(text, None)
        if order.weight != 1:
            self.weights[text] = order.weight
        if is_news:
            self._tell_watchers(self._joined([text]))

    def _fault_of(self, order: c.Registered) -> str:
        registration = parse(order.text) if len(order.text) <= MAX_REGISTRATION_CHARS else None
        if registration is None or not registration.address or not registration.provides:
            return f"{order.text[:200]!r} is no registration of a provider; it is not announced"
        if not 1 <= order.weight <= MAX_WEIGHT:
            return f"a weight is 1 to {MAX_WEIGHT}, not {order.weight}; {order.text!r} is not announced"
        held = [text for text, session in self.registered.items() if session is order.session]
        if len(held) >= MAX_REGISTRATIONS_PER_SESSION and order.text not in held:
            return (
                f"one session may hold {MAX_REGISTRATIONS_PER_SESSION} registrations; {order.text!r} is not announced"
            )
        return ""

    def _unregister(self, order: c.Unregistered) -> None:
        if self.registered.get(order.text) is order.session:
            del self.registered[order.text]
            self.weights.pop(order.text, None)
            self._tell_watchers(DirectoryChange(left=[order.text]))

    def _watch(self, order: c.Watching) -> None:
        if order.session.is_up:
            self.watching[order.session.sid] = order.session
            first, *more = _parts(self.registered)
            self._push(order.session, self._joined(first, snapshot=True))
            for part in more:
                self._push(order.session, self._joined(part))

    def _joined(self, texts: list[str], *, snapshot: bool = False) -> DirectoryChange:
        weights = [self.weights.get(text, 1) for text in texts]
        return DirectoryChange(texts, snapshot=snapshot, weights=weights if sum(weights) != len(weights) else [])

    def _session_down(self, down: SessionDown) -> None:
        self.watching.pop(down.sid, None)
        lost = [text for text, session in self.registered.items() if session.sid == down.sid]
        for text in lost:
            del self.registered[text]
            self.weights.pop(text, None)
        if lost:
            self._tell_watchers(DirectoryChange(lost=lost))

    def _tell_watchers(self, change: DirectoryChange) -> None:
        for session in list(self.watching.values()):
            self._push(session, change)

    def _push(self, session: Session, packet: DirectoryChange | Message) -> None:
        try:
            session.send(packet)
        except SessionClosedError:
            self.watching.pop(session.sid, None)
        except BackpressureError:
            # It reads too slowly to be kept up to date: it gets a fresh snapshot when it comes back.
            self.watching.pop(session.sid, None)
            session.close()


def _parts(texts: Iterable[str]) -> list[list[str]]:
    """Cut registrations into lists that fit a push each; at least one list."""
    parts: list[list[str]] = [[]]
    room = MAX_PUSH_CHARS
    for text in texts:
        if len(text) > room:
            parts.append([])
            room = MAX_PUSH_CHARS
        parts[-1].append(text)
        room -= len(text)
    return parts
