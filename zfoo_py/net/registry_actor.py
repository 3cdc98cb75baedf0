"""The registry: who is connected, who provides what, and in which order that changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from zfoo_py.actor import CoreActor, CoreRef, LoopActorRef
from zfoo_py.events import SessionActive, SessionInactive
from zfoo_py.net import messages as m

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from zfoo_py.actor import TimerHandle
    from zfoo_py.events import Events
    from zfoo_py.net.session import SessionRecord

__all__ = ["RegistryActor"]


# After a restart, how often the registry looks whether the sessions that have not reported are still alive.
LOOK_AGAIN_S = 0.05


class RegistryActor(CoreActor):
    """Owns the state of all sessions of a node: sid → record, with indexes by uid and by module.

    Every change of the set of providers gets the next membership version and goes, in order, to every
    subscriber; a subscriber that sees a gap subscribes again.

    Args:
        events: gets SessionActive and SessionInactive.
        first_version: the membership version to continue from.
        life: counts the registry's restarts.
        sessions: after a restart, the sessions alive: each is asked what it is, and until all have answered
            or ended, subscribers wait.
    """

    def __init__(
        self,
        events: Events,
        *,
        first_version: int = 0,
        life: int = 0,
        sessions: Iterable[LoopActorRef[Any]] = (),
        on_session_down: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__()
        self._events = events
        self._on_session_down = on_session_down
        self.version = first_version
        self.life = life
        self._records: dict[int, SessionRecord] = {}
        self._refs: dict[int, LoopActorRef[Any]] = {}
        self._by_uid: dict[int, set[int]] = {}
        self._by_module: dict[str, set[int]] = {}
        self._providers: dict[int, m.ProviderUp] = {}
        self._subscribers: list[CoreRef] = []
        self._waiting: list[CoreRef] = []
        self._unreported = {ref.actor_urn: ref for ref in sessions}
        self._looking: TimerHandle | None = None
        self._turns: dict[type, Callable[[Any], Any]] = {
            m.SessionUp: self._session_up,
            m.SessionDown: self._session_down,
            m.ProviderUp: self._provider_up,
            m.ProviderDown: self._provider_down,
            m.Reweighed: self._reweighed,
            m.BindUid: self._bind_uid,
            m.CountersReport: self._counters,
            m.Subscribe: self._subscribe,
            m.SessionReport: self._session_report,
            m.ListSessions: self._list_sessions,
            m.AskVersion: self._ask_version,
            m.LookAgain: self._look_whether_complete,
        }

    def on_start(self) -> None:
        """After a restart: ask every living session what it is."""
        for ref in self._unreported.values():
            ref.tell(m.ReportYourself(self.life))
        self._look_whether_complete(None)

    def on_stop(self) -> None:
        """Forget the timer."""
        if self._looking is not None:
            self._looking.cancel()

    def on_receive(self, message: Any) -> Any:
        """Dispatch by the message's class."""
        return self._turns[message.__class__](message)

    # --- sessions

    def _session_up(self, up: m.SessionUp) -> None:
        record: SessionRecord = up.record
        if record.sid in self._records:
            return
        self._records[record.sid] = record
        self._refs[record.sid] = up.ref
        if record.uid:
            self._by_uid.setdefault(record.uid, set()).add(record.sid)
        if self._events.wants(SessionActive):
            self._events.publish(SessionActive(record.sid, record.side, record.peer, record.node_id))

    def _session_down(self, down: m.SessionDown) -> None:
        record = self._records.pop(down.sid, None)
        if record is None:
            return
        del self._refs[down.sid]
        _discard(self._by_uid, record.uid, down.sid)
        self._lose_provider(down.sid, down.reason)
        if self._on_session_down is not None and record.side == "server":
            self._on_session_down(down.sid)
        if self._events.wants(SessionInactive):
            self._events.publish(SessionInactive(record.sid, record.side, record.peer, record.node_id, down.reason))

    def _bind_uid(self, bind: m.BindUid) -> None:
        record = self._records.get(bind.sid)
        if record is None:
            return
        _discard(self._by_uid, record.uid, bind.sid)
        self._records[bind.sid] = msgspec.structs.replace(record, uid=bind.uid)
        self._by_uid.setdefault(bind.uid, set()).add(bind.sid)

    def _counters(self, report: m.CountersReport) -> None:
        record = self._records.get(report.sid)
        if record is not None:
            self._records[report.sid] = msgspec.structs.replace(
                record,
                frames_in=report.frames_in,
                frames_out=report.frames_out,
                bytes_in=report.bytes_in,
                bytes_out=report.bytes_out,
                latency_ms=report.latency_ms,
            )

    def _list_sessions(self, question: m.ListSessions) -> tuple[SessionRecord, ...]:
        if question.uid is not None:
            sids: Iterable[int] = self._by_uid.get(question.uid, ())
        elif question.module is not None:
            sids = self._by_module.get(question.module, ())
        else:
            sids = self._records
        return tuple(self._records[sid] for sid in sids)

    # --- membership

    def _provider_up(self, up: m.ProviderUp) -> None:
        if up.sid not in self._records or up.sid in self._providers:
            return
        self._providers[up.sid] = up
        for service in up.registration.provides:
            self._by_module.setdefault(service.module, set()).add(up.sid)
        self._publish(up)

    def _provider_down(self, down: m.ProviderDown) -> None:
        self._lose_provider(down.sid, down.reason)

    def _reweighed(self, news: m.Reweighed) -> None:
        up = self._providers.get(news.sid)
        if up is not None and up.weight != news.weight:
            self._providers[news.sid] = msgspec.structs.replace(up, weight=news.weight)
            self._publish(self._providers[news.sid])

    def _lose_provider(self, sid: int, reason: str) -> None:
        up = self._providers.pop(sid, None)
        if up is None:
            return
        for service in up.registration.provides:
            _discard(self._by_module, service.module, sid)
        self._publish(m.ProviderDown(sid, reason))

    def _publish(self, change: m.ProviderUp | m.ProviderDown) -> None:
        self.version += 1
        message = m.MembershipChange(self.version, change)
        for subscriber in self._subscribers:
            subscriber.tell(message)

    def _subscribe(self, order: m.Subscribe) -> None:
        if self._unreported:
            self._waiting.append(order.subscriber)
            return
        if order.subscriber not in self._subscribers:
            self._subscribers.append(order.subscriber)
        order.subscriber.tell(m.Snapshot(self.version, tuple(self._providers.values())))

    def _ask_version(self, question: m.AskVersion) -> None:
        if not self._unreported:  # else nobody has had the snapshot yet
            question.subscriber.tell(m.VersionIs(self.version))

    # --- after a restart

    def _session_report(self, report: m.SessionReport) -> None:
        if report.registry_life != self.life:
            return
        self._unreported.pop(report.urn, None)
        if report.up is not None:
            self._session_up(report.up)
        if report.provider is not None and report.provider.sid not in self._providers:
            self._provider_up(report.provider)
        if not self._unreported:  # else the timer looks: walking all of them for each report would take n²
            self._look_whether_complete(None)

    def _look_whether_complete(self, _: m.LookAgain | None) -> None:
        """Serve the subscribers once every session has reported; one that has ended never will."""
        self._unreported = {urn: ref for urn, ref in self._unreported.items() if ref.is_alive()}
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        if self._unreported:
            self._looking = self.runtime.call_later(LOOK_AGAIN_S, self.actor_ref, m.LookAgain())
            return
        waiting, self._waiting = self._waiting, []
        for subscriber in waiting:
            self._subscribe(m.Subscribe(subscriber))


def _discard(index: dict[Any, set[int]], key: Any, sid: int) -> None:
    """Take a sid out of an index, and the key with its last sid: an index never outgrows the sessions."""
    sids = index.get(key)
    if sids is not None:
        sids.discard(sid)
        if not sids:
            del index[key]
