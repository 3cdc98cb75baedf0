"""The connector: keeps one session to every provider that discovery announces and this node consumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from zfoo_py.actor import CoreActor
from zfoo_py.consumer import messages as c
from zfoo_py.consumer.dial_pace import DialPace
from zfoo_py.listen_config import CODECS
from zfoo_py.net.messages import Retire
from zfoo_py.protocol.registration import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from zfoo_py.actor import TimerHandle
    from zfoo_py.net.session import Session

__all__ = ["ConnectorActor", "backoff_s"]

# A Java peer is taken on trust, so a target where none is must not get asks again and again. ZooKeeper forgets a
# process that is gone after 40 s (zfoo's session time-out); whoever comes back is announced anew, and dialled at once.
UNPROVEN_MAX_S: Final = 60.0
# After so many tries in a row that have not found the msgpack node of an address, perhaps the Java node lives there.
SHADOW_TRIES: Final = 3
# One line a minute says enough of a target.
COMPLAINT_S: Final = 60.0


def backoff_s(failures: int, first_s: float, last_s: float, jitter: float) -> float:
    """Return how long to wait before the next attempt: doubling, capped, spread by ± 20 %.

    Args:
        failures: consecutive ones, from 1.
        first_s: the first wait, seconds.
        last_s: the cap, seconds.
        jitter: a random number in [0, 1).
    """
    wait_s = min(last_s, first_s * float(2 ** min(failures - 1, 32)))
    return wait_s * (0.8 + 0.4 * jitter)


class _Link:
    """What the connector knows of one target."""

    __slots__ = ("complained_at_s", "failures", "grace", "is_wanted", "session", "timer", "weight")

    def __init__(self) -> None:
        self.is_wanted = True
        self.failures = 0
        self.timer: TimerHandle | None = None  # runs while the backoff does
        self.grace: TimerHandle | None = None  # runs while it may come back
        self.session: Session | None = None
        self.weight: int | None = None  # as it was announced last; None: not yet
        self.complained_at_s: float | None = None

    def is_connected(self) -> bool:
        return self.session is not None and self.session.is_up

    def stop_waiting(self) -> bool:
        """End the backoff; False if none runs. A Redial that is on its way means nothing then."""
        if self.timer is None:
            return False
        self.timer.cancel()
        self.timer = None
        return True

    def end_grace(self) -> bool:
        """End the grace; False if none runs. A GraceOver that is on its way means nothing then."""
        if self.grace is None:
            return False
        self.grace.cancel()
        self.grace = None
        return True


class ConnectorActor(CoreActor):
    """Owns the list of targets and their reconnections.

    All targets are dialled in parallel, at most 50 in a second: one that does not answer delays nobody. Silence
    removes nothing: a target that is lost without goodbye, or missing from a snapshot, keeps the session it has, and
    is dialled no more when that ends. Only a discovery that says so, and can be heard all the while, has a target
    drained that is lost and does not come back (`Announced.grace_s`).

    A Java peer says no Hello, so a registration that outlives its process would bring asks to whoever has its address
    now. Hence it is not dialled while a msgpack node is announced there, and ever more rarely if its sessions end
    before it has said anything.

    Args:
        consumes: pairs (module, provider name) that this node wants.
        dial: starts to open a session to a target; TargetUp, TargetDown or DialFailed follow.
        reconnect_min_s, reconnect_max_s: bounds of the backoff.
        jitter: returns a random number in [0, 1).
        reweighed: called with (sid, weight) when a connected provider is announced with another weight than before;
            at the start of a session its Hello has said it.
        connected: called with (target, whether it is) when a session to an announced target begins or ends.
        warn: writes one log line about a peer, its address first.
        codecs: what this node speaks.
    """

    def __init__(
        self,
        consumes: frozenset[tuple[str, str]],
        dial: Callable[[c.Target], None],
        *,
        reconnect_min_s: float,
        reconnect_max_s: float,
        jitter: Callable[[], float],
        reweighed: Callable[[int, int], None],
        connected: Callable[[c.Target, bool], None] = lambda *_: None,
        warn: Callable[[str, str], None] = lambda *_: None,
        codecs: Collection[str] = CODECS,
    ) -> None:
        super().__init__()
        self._consumes = consumes
        self._open = dial
        self._reconnect_min_s = reconnect_min_s
        self._reconnect_max_s = reconnect_max_s
        self._jitter = jitter
        self._reweighed = reweighed
        self._connected = connected
        self._warn = warn
        self._codecs = codecs
        self._pace = DialPace()
        self._to_dial: dict[c.Target, None] = {}  # in their order
        self._room: TimerHandle | None = None  # runs while some wait for their turn
        self._links: dict[c.Target, _Link] = {}
        self._msgpack_at: dict[str, dict[c.Target, _Link]] = {}  # address → who is announced there
        self._untried: set[c.Target] | None = None  # of the first snapshot; None: there was none yet
        self._tried_waiters: list[c.WhenTried] = []
        self._turns: dict[type, Callable[[Any], None]] = {
            c.Announced: self._announced,
            c.TargetUp: self._target_up,
            c.TargetDown: self._target_down,
            c.DialFailed: self._dial_failed,
            c.Redial: self._redial,
            c.DialRoom: self._dial_room,
            c.DiscoverySilent: self._silent,
            c.GraceOver: self._grace_over,
            c.WhenTried: self._when_tried,
        }

    def on_receive(self, message: Any) -> None:
        """Dispatch by the message's class."""
        self._turns[message.__class__](message)

    def on_stop(self) -> None:
        """Forget the timers; the sessions are the node's to end."""
        for link in self._links.values():
            link.stop_waiting()
            link.end_grace()
        if self._room is not None:
            self._room.cancel()
            self._room = None

    def on_failure(self, *_: Any) -> None:
        """As `on_stop`: the successor takes over."""
        self.on_stop()

    def take_over(self, previous: ConnectorActor) -> None:
        """Begin with the targets, and the sessions, of the connector that died."""
        for target, known in previous.links().items():
            if known.is_connected():
                self._put(target, known)
            elif known.is_wanted:
                self._put(target, _Link())
                self._dial(target)

    def links(self) -> dict[c.Target, _Link]:
        """Return what `take_over` needs."""
        return self._links

    # --- what discovery says

    def _announced(self, news: c.Announced) -> None:
        joined = [target for target in news.joined if self._is_consumed(target)]
        joined.sort(key=lambda target: target.codec != c.MSGPACK)  # whom a Java target may not be dialled beside
        lost = set(news.lost)
        if news.snapshot:
            lost.update(set(self._links) - set(joined))
        for target in joined:
            self._join(target, news.weights.get(target, 1))
        for target in news.left:
            self._leave(target)
        for target in lost - set(joined):
            self._lose(target, None if news.snapshot else news.grace_s)
        if news.snapshot and self._untried is None:
            links = [(target, self._links[target]) for target in joined]
            self._untried = {target for target, link in links if not (link.is_connected() or link.failures)}
            self._look_whether_tried()

    def _is_consumed(self, target: c.Target) -> bool:
        if target.codec not in self._codecs:
            return False
        if not target.text:  # static: its Hello will tell
            return True
        registration = parse(target.text)
        return (
            registration is not None
            and bool(registration.address)
            and any((service.module, service.name) in self._consumes for service in registration.provides)
        )

    def _join(self, target: c.Target, weight: int) -> None:
        link = self._links.get(target)
        if link is None:
            link = self._put(target, _Link())
            link.weight = weight
            self._dial(target)
            return
        if link.weight != weight and link.session is not None and link.is_connected():
            self._reweighed(link.session.sid, weight)
        link.weight = weight
        link.is_wanted = True
        link.end_grace()
        if link.stop_waiting():  # it is announced again, so it has just come back: no reason to wait
            self._dial(target)

    def _put(self, target: c.Target, link: _Link) -> _Link:
        self._links[target] = link
        if target.codec == c.MSGPACK:
            self._msgpack_at.setdefault(target.address, {})[target] = link
        return link

    def _leave(self, target: c.Target) -> None:
        link = self._links.get(target)
        if link is None:
            return
        link.is_wanted = False
        link.end_grace()
        if link.session is not None:
            link.session.ref.tell(Retire("it left discovery"))
        self._drop_if_idle(target, link)

    def _lose(self, target: c.Target, grace_s: float | None) -> None:
        link = self._links.get(target)
        if link is None:
            return
        link.is_wanted = False
        if grace_s is None:
            link.end_grace()
        elif link.grace is None:
            link.grace = self.runtime.call_later(grace_s, self.actor_ref, c.GraceOver(target))
        self._drop_if_idle(target, link)

    def _silent(self, _: c.DiscoverySilent) -> None:
        for link in self._links.values():
            link.end_grace()

    def _grace_over(self, over: c.GraceOver) -> None:
        link = self._links.get(over.target)
        if link is not None and link.end_grace():
            self._leave(over.target)

    def _drop_if_idle(self, target: c.Target, link: _Link) -> None:
        if link.stop_waiting() or target in self._to_dial:
            self._drop(target, link)

    def _drop(self, target: c.Target, link: _Link) -> None:
        self._to_dial.pop(target, None)
        link.stop_waiting()
        link.end_grace()
        del self._links[target]
        if target.codec == c.MSGPACK:
            there = self._msgpack_at[target.address]
            del there[target]
            if not there:
                del self._msgpack_at[target.address]

    # --- dialling, so many in a second

    def _dial(self, target: c.Target) -> None:
        self._to_dial[target] = None
        if self._room is None:
            self._dial_some()

    def _dial_room(self, _: c.DialRoom) -> None:
        if self._room is not None:
            self._room = None
            self._dial_some()

    def _dial_some(self) -> None:
        while self._to_dial:
            wait_s = self._pace.wait_s(self.runtime.timers.time())
            if wait_s:
                self._room = self.runtime.call_later(wait_s, self.actor_ref, c.DialRoom())
                return
            target = next(iter(self._to_dial))
            del self._to_dial[target]
            other = self._shadow(target)
            if other is None:
                self._open(target)
            else:
                name = repr(other.text) if other.text else "a node"
                self._complain(target, f"it is not dialled, for {name} is announced there too, and speaks msgpack")
                self._again(target, self._reconnect_max_s)

    def _shadow(self, target: c.Target) -> c.Target | None:
        """Return the msgpack node that has a Java target's address, as far as is known."""
        if target.codec == c.MSGPACK:
            return None
        for other, link in self._msgpack_at.get(target.address, {}).items():
            if link.is_connected() or (link.is_wanted and link.failures < SHADOW_TRIES):
                return other
        return None

    def _when_tried(self, order: c.WhenTried) -> None:
        self._tried_waiters.append(order)
        self._look_whether_tried()

    def _look_whether_tried(self, target: c.Target | None = None) -> None:
        if self._untried is None:
            return
        if target is not None:
            self._untried.discard(target)
        if not self._untried:
            waiters, self._tried_waiters = self._tried_waiters, []
            for waiter in waiters:
                waiter.tried.settle()

    # --- what became of a session

    def _target_up(self, up: c.TargetUp) -> None:
        self._look_whether_tried(up.target)
        link = self._links.get(up.target)
        if link is None or link.is_connected():
            up.ref.tell(Retire("it is not wanted any more"))
            return
        link.stop_waiting()
        link.session = up.session
        if up.target.codec == c.MSGPACK:
            link.failures = 0
        self._connected(up.target, True)
        if not link.is_wanted:
            up.ref.tell(Retire("it left discovery"))

    def _target_down(self, down: c.TargetDown) -> None:
        link = self._links.get(down.target)
        last_s = self._reconnect_max_s
        if link is not None and not link.is_connected():  # else it is the end of another session to the same target
            last_s = self._judge(link, down)
        self._again(down.target, last_s)

    def _judge(self, link: _Link, down: c.TargetDown) -> float:
        """Return the longest wait, by what the session that ended has shown."""
        target = down.target
        if down.is_proven:
            link.failures = 0
        elif target.codec != c.MSGPACK:
            if link.session is None or link.failures:
                self._complain(target, f"whoever is there does not speak it: {down.reason}")
            return max(self._reconnect_max_s, UNPROVEN_MAX_S)
        elif link.failures and not target.text:
            self._complain(target, f"{down.reason} before its Hello")
        return self._reconnect_max_s

    def _dial_failed(self, failed: c.DialFailed) -> None:
        self._again(failed.target, self._reconnect_max_s)

    def _complain(self, target: c.Target, fault: str) -> None:
        """Say at most once a minute what is wrong with a target."""
        link, now_s = self._links.get(target), self.runtime.timers.time()
        if link is None or (link.complained_at_s is not None and now_s - link.complained_at_s < COMPLAINT_S):
            return
        link.complained_at_s = now_s
        if target.text:
            what = f"{target.address} is announced as {target.text!r}, which speaks {target.codec}"
            line = f"{what}; {fault}. Look which process has that port, and who registered it"
        else:
            how = 'a Java provider is listed as "zfoo-java://id | host:port | provider:[module-group]"'
            line = f"{target.address} of discovery.addresses: {fault}; {how}"
        self._warn(target.address, line)

    def _again(self, target: c.Target, last_s: float) -> None:
        self._look_whether_tried(target)
        link = self._links.get(target)
        if link is None or link.is_connected():  # the end of another session to the same target
            return
        if link.session is not None:
            link.session = None
            self._connected(target, False)
        if not link.is_wanted:
            self._drop(target, link)
            return
        link.failures += 1
        if link.timer is None:
            wait_s = backoff_s(link.failures, self._reconnect_min_s, last_s, self._jitter())
            link.timer = self.runtime.call_later(wait_s, self.actor_ref, c.Redial(target))

    def _redial(self, redial: c.Redial) -> None:
        link = self._links.get(redial.target)
        if link is not None and link.stop_waiting():
            self._dial(redial.target)
