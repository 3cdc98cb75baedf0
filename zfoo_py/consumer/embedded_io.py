"""The client of the embedded discovery: one session of our own to the node that hosts it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zfoo_py.consumer.connector_actor import backoff_s
from zfoo_py.consumer.messages import Announced, DiscoverySilent, Target, TargetDown, TargetUp
from zfoo_py.errors import BackpressureError, SessionClosedError
from zfoo_py.protocol.common import DirectoryChange, DirectoryRegister, DirectoryUnregister, DirectoryWatch
from zfoo_py.protocol.registration import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from zfoo_py.actor import TimerHandle, TimerSource
    from zfoo_py.net.session import Session

__all__ = ["EmbeddedDiscovery"]


class EmbeddedDiscovery:
    """Announces and learns registrations through a directory at a fixed address.

    It keeps one session to it, with backoff; after every reconnection it registers again and asks for a
    snapshot. While the directory is away nothing is removed. Everything here runs on the node's loop.

    Args:
        address: "host:port" of the directory.
        open_session: starts to open a session to a target; reports TargetUp, TargetDown or DialFailed.
        timers: the node's clock.
        reconnect_min_s, reconnect_max_s: bounds of the backoff.
        jitter: returns a random number in [0, 1).
        warn: writes one log line.
    """

    def __init__(
        self,
        address: str,
        open_session: Callable[[Target, Callable[[Any], None]], None],
        timers: TimerSource,
        *,
        reconnect_min_s: float,
        reconnect_max_s: float,
        jitter: Callable[[], float],
        warn: Callable[[str], None],
    ) -> None:
        self._target = Target("", address)
        self._open_session = open_session
        self._timers = timers
        self._reconnect_min_s = reconnect_min_s
        self._reconnect_max_s = reconnect_max_s
        self._jitter = jitter
        self._warn = warn
        self._announce: Callable[[Announced | DiscoverySilent], None] | None = None
        self._text = ""
        self._weight = 1
        self._session: Session | None = None
        self._failures = 0
        self._timer: TimerHandle | None = None
        self._is_stopped = False
        self._reason = ""

    async def start(self, announce: Callable[[Announced | DiscoverySilent], None], *, watch: bool) -> None:
        """Begin to connect."""
        self._announce = announce if watch else None
        self._open_session(self._target, self._report)

    def connected(self, target: Target, *, is_up: bool) -> None:
        """Do nothing: `zfoo-py members` shows who provides, not who consumes."""

    def register(self, text: str, *, weight: int = 1, listeners: Mapping[str, str] | None = None) -> None:  # noqa: ARG002 - msgpack
        """Announce this node's registration and weight, now and after every reconnection; msgpack only."""
        self._text = text
        self._weight = weight
        if self._session is not None:
            self._send(DirectoryRegister(text, weight))

    async def leave(self) -> None:
        """Say goodbye."""
        if self._session is not None and self._text:
            self._send(DirectoryUnregister(self._text))
        self._text = ""
        self._is_stopped = True  # from here on, losing the session is no news

    async def stop(self) -> None:
        """Close the session and try no more."""
        self._is_stopped = True
        self._announce = None
        if self._timer is not None:
            self._timer.cancel()
        if self._session is not None:
            self._session.close()
            self._session = None

    def trouble(self) -> str:
        """Return what is wrong right now and what to do about it, or ""."""
        if self._session is not None:
            return ""
        why = f" ({self._reason})" if self._reason else ""
        return f"no discovery answers at {self._target.address}{why}: start one with `zfoo-py discovery`"

    def on_change(self, session: Session, change: DirectoryChange) -> None:
        """Take a push of the directory; the router calls it in the session's turn."""
        if session is self._session and self._announce is not None:
            self._announce(
                Announced(
                    joined=_targets(change.joined),
                    left=_targets(change.left),
                    lost=_targets(change.lost),
                    snapshot=change.snapshot,
                    weights=_weights(change),
                )
            )

    def _send(self, packet: Any) -> None:
        assert self._session is not None
        try:
            self._session.send(packet)
        except SessionClosedError:
            self._session = None  # its TargetDown is on the way
        except BackpressureError:
            self._session.close()  # a directory that reads nothing is as good as none: say it again on the next session
            self._session = None

    def _report(self, fact: Any) -> None:
        if isinstance(fact, TargetUp):
            session: Session = fact.session
            if self._is_stopped:
                session.close()
                return
            if self._failures:
                self._warn(f"discovery at {self._target.address} is back")
            self._session = session
            self._failures = 0
            if self._announce is not None:
                self._send(DirectoryWatch())
            if self._text and self._session is not None:
                self._send(DirectoryRegister(self._text, self._weight))
            return
        self._session = None
        if self._is_stopped:
            return
        self._reason = fact.reason
        self._failures += 1
        if self._failures == 1:
            is_lost = isinstance(fact, TargetDown)
            lost = f"lost discovery at {self._target.address} ({fact.reason}); what is known stays"
            self._warn(lost if is_lost else f"{self.trouble()}; this node tries again and again")
        wait_s = backoff_s(self._failures, self._reconnect_min_s, self._reconnect_max_s, self._jitter())
        self._timer = self._timers.call_later(wait_s, self._open_session, self._target, self._report)


def _targets(texts: Iterable[str]) -> tuple[Target, ...]:
    """Return the targets of those texts that name an address; others were skipped at the directory."""
    targets = []
    for text in texts:
        registration = parse(text)
        if registration is not None and registration.address:
            targets.append(Target(text, registration.address))
    return tuple(targets)


def _weights(change: DirectoryChange) -> dict[Target, int]:
    """Return the weights of those that joined, where they are not 1."""
    pairs = [(text, weight) for text, weight in zip(change.joined, change.weights, strict=False) if weight != 1]
    return {target: weight for text, weight in pairs for target in _targets([text])}
