"""The alert actor: looks at the figures every few seconds, and raises and clears alerts."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from loguru import logger

from zfoo_py.actor import CoreActor
from zfoo_py.consumer import messages as c
from zfoo_py.consumer.alerts import AlertBook, Judge, Look
from zfoo_py.consumer.figures import ConsumerFigures
from zfoo_py.events import Alert, AlertCleared

if TYPE_CHECKING:
    from collections.abc import Callable

    from zfoo_py.actor import CoreRef
    from zfoo_py.alert_limits import AlertLimits
    from zfoo_py.events import Events

__all__ = ["AlertActor"]


class AlertActor(CoreActor):
    """Owns the alerts of a node. An alert is a log line, a count and an event.

    Args:
        me: its own address, which survives a restart.
        consumer: whom it asks for figures.
        limits: thresholds.
        max_entries: bound of caches whose policies name none.
        events: gets Alert and AlertCleared; the alerts of others are counted from there, too.
        memory_bytes: resident memory of the process now.
        load: (packets so far, sessions now).
    """

    def __init__(
        self,
        me: CoreRef,
        consumer: CoreRef,
        limits: AlertLimits,
        max_entries: int,
        events: Events,
        memory_bytes: Callable[[], int],
        load: Callable[[], tuple[int, int]],
    ) -> None:
        super().__init__()
        self._me = me
        self._consumer = consumer
        self._interval_s = limits.interval_s
        self._events = events
        self._memory_bytes = memory_bytes
        self._load = load
        self._judge = Judge(limits, max_entries)
        self._book = AlertBook(limits.repeat_s)
        self.raised: Counter[str] = Counter()
        self._unsubscribe = events.subscribe(Alert, self._count)

    def take_over(self, previous: AlertActor) -> None:
        """Go on with what is known and counted."""
        self._judge, self._book, self.raised = previous._judge, previous._book, previous.raised

    def on_start(self) -> None:
        """Begin to look."""
        self._wait()

    def on_stop(self) -> None:
        """End the clock."""
        self._unsubscribe()
        self._looking.cancel()

    def on_failure(self, *_: Any) -> None:
        """As `on_stop`."""
        self.on_stop()

    def on_receive(self, message: Any) -> Any:
        """Take a tick, the figures, or the question which alerts there are."""
        if isinstance(message, c.LookAround):
            self._consumer.tell(c.TakeFigures(self._me))
            self._wait()
        elif isinstance(message, ConsumerFigures):
            self._look(message)
        elif isinstance(message, c.TakeAlerts):
            return {
                "raised": dict(sorted(self.raised.items())),
                "active": [{"name": one.name, "subject": one.subject, "text": one.text} for one in self._book.active],
            }
        return None

    def _wait(self) -> None:
        self._looking = self.runtime.call_later(self._interval_s, self.actor_ref, c.LookAround())

    def _look(self, figures: ConsumerFigures) -> None:
        now_s = self.runtime.time()
        packets, sessions = self._load()
        look = Look(now_s, figures, self._memory_bytes(), packets + figures.asks + figures.sends, sessions)
        tell, ended = self._book.update(self._judge.look(look), now_s)
        for one in tell:
            logger.warning("ALERT {}: {}", one.name, one.text)
            self._events.publish(Alert(one.name, one.text, one.subject))
        for one in ended:
            logger.info("alert {} of {} has ended", one.name, one.subject or "this node")
            self._events.publish(AlertCleared(one.name, one.text, one.subject))

    def _count(self, alert: Alert) -> None:
        self.raised[alert.name] += 1
