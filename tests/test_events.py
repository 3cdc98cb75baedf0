"""Events: who hears what, in which order, and that nobody is harmed by a subscriber."""

from __future__ import annotations

import asyncio
import threading

import pytest

from zfoo_py.errors import DeclarationError
from zfoo_py.events import Alert, Event, Events, NodeStarted, NodeStopping, ProviderUp, Undelivered

STARTED = NodeStarted("a", "127.0.0.1:1")
STOPPING = NodeStopping("a")


def test_handlers_hear_their_class_in_order_of_subscription():
    events, heard = Events(), []
    events.subscribe(NodeStarted, lambda event: heard.append(("first", event)))
    events.subscribe(NodeStopping, lambda event: heard.append(("other", event)))
    events.subscribe(NodeStarted, lambda event: heard.append(("second", event)))
    events.publish(STARTED)
    assert heard == [("first", STARTED), ("second", STARTED)]


def test_the_base_class_hears_everything():
    events, heard = Events(), []
    events.subscribe(Event, heard.append)
    for event in (STARTED, STOPPING, Alert("memory", "grows")):
        events.publish(event)
    assert heard == [STARTED, STOPPING, Alert("memory", "grows")]


def test_wants_tells_whether_anybody_listens_now():
    events = Events()
    assert not events.wants(NodeStarted)
    unsubscribe = events.subscribe(NodeStarted, print)
    assert events.wants(NodeStarted)
    assert not events.wants(NodeStopping)
    unsubscribe_all = events.subscribe(Event, print)
    assert events.wants(NodeStopping)
    unsubscribe_all()
    assert not events.wants(NodeStopping)
    assert events.wants(NodeStarted)
    unsubscribe()
    assert not events.wants(NodeStarted)


def test_an_ended_subscription_hears_nothing_and_may_be_ended_again():
    events, heard, kept = Events(), [], []
    unsubscribe = events.subscribe(NodeStarted, heard.append)
    events.subscribe(NodeStarted, kept.append)
    events.publish(STARTED)
    unsubscribe()
    unsubscribe()
    events.publish(STARTED)
    assert (heard, kept) == ([STARTED], [STARTED, STARTED])


def test_one_handler_subscribed_twice_is_called_twice_and_ended_one_by_one():
    events, heard = Events(), []
    first = events.subscribe(NodeStarted, heard.append)
    events.subscribe(NodeStarted, heard.append)
    events.publish(STARTED)
    first()
    first()
    events.publish(STARTED)
    assert len(heard) == 3


def test_a_handler_may_subscribe_and_unsubscribe_while_it_is_called():
    events, heard = Events(), []

    def handler(event):
        heard.append("once")
        unsubscribe()
        events.subscribe(NodeStarted, lambda event: heard.append("later"))

    unsubscribe = events.subscribe(NodeStarted, handler)
    events.publish(STARTED)
    assert heard == ["once"]
    events.publish(STARTED)
    assert heard == ["once", "later"]


@pytest.mark.parametrize("error", [ValueError("x"), asyncio.CancelledError(), GeneratorExit()])
def test_a_raising_handler_harms_nobody_and_is_reported_once(error):
    reports, heard = [], []
    events = Events(on_error=lambda *report: reports.append(report))

    def raising(event):
        raise error

    events.subscribe(NodeStarted, raising)
    events.subscribe(NodeStarted, heard.append)
    events.publish(STARTED)
    events.publish(STARTED)
    assert heard == [STARTED, STARTED]
    assert reports == [(raising, STARTED, error)]
    assert events.failures == 2


def test_each_raising_handler_is_reported():
    reports = []
    events = Events(on_error=lambda handler, event, error: reports.append(type(error)))
    events.subscribe(NodeStarted, lambda event: 1 / 0)
    events.subscribe(NodeStarted, lambda event: {}["x"])
    events.publish(STARTED)
    assert reports == [ZeroDivisionError, KeyError]


def test_a_reporter_that_raises_harms_nobody():
    heard = []
    events = Events(on_error=lambda *report: 1 / 0)
    events.subscribe(NodeStarted, lambda event: 1 / 0)
    events.subscribe(NodeStarted, heard.append)
    events.publish(STARTED)
    assert heard == [STARTED]
    assert events.failures == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_the_person_at_the_keyboard_is_not_swallowed(error):
    events = Events()

    def raising(event):
        raise error

    events.subscribe(NodeStarted, raising)
    with pytest.raises(error):
        events.publish(STARTED)
    assert events.failures == 0


class AsyncCallable:
    async def __call__(self, event):
        """Be a handler that nobody would await."""


async def async_handler(event):
    """Be another."""


@pytest.mark.parametrize("handler", [async_handler, AsyncCallable()])
def test_a_coroutine_function_is_refused_because_nobody_would_await_it(handler):
    with pytest.raises(DeclarationError, match="nobody would await it"):
        Events().subscribe(NodeStarted, handler)


@pytest.mark.parametrize(
    ("event_type", "handler"), [(STARTED, print), (int, print), ("NodeStarted", print), (NodeStarted, 3)]
)
def test_what_is_no_event_class_or_handler_is_refused(event_type, handler):
    with pytest.raises(DeclarationError):
        Events().subscribe(event_type, handler)


def test_an_application_may_publish_its_own_events():
    class Sold(Event, frozen=True):
        item: str

    events, heard = Events(), []
    events.subscribe(Sold, heard.append)
    events.publish(Sold("book"))
    assert heard == [Sold("book")]


def test_events_are_plain_and_cannot_be_changed():
    event = ProviderUp(3, "a | h:1 | provider:[m-p]", "a", "h:1", ("m",), 7)
    assert hash(event) == hash(ProviderUp(3, "a | h:1 | provider:[m-p]", "a", "h:1", ("m",), 7))
    with pytest.raises(AttributeError):
        event.sid = 8
    assert Undelivered("VisitAsk", "no provider").module == ""


def test_a_subscription_that_comes_while_the_handlers_are_looked_up_is_not_lost():
    """The answer looked up then is old; it must not be kept for the next event."""
    events, late = Events(), []

    class Racing(list):
        """The list of subscriptions, into which another thread gets a word between reading and keeping."""

        raced = False

        def __iter__(self):
            found = iter(self.copy())
            if not self.raced:
                self.raced = True
                events.subscribe(NodeStarted, late.append)
            return found

    events.subscribe(NodeStarted, print)
    events._subscriptions = Racing(events._subscriptions)
    events.publish(STARTED)
    assert late == []
    events.publish(STARTED)
    assert late == [STARTED]


def test_subscriptions_from_many_threads_are_all_heard_while_the_loop_publishes():
    """The list of subscribers has no lock; a stale cache would lose a subscription that came during publish."""
    events, threads, per_thread = Events(), 4, 200
    counts = [[0] * per_thread for _ in range(threads)]
    start = threading.Barrier(threads + 1)

    def subscribe_all(row):
        def count(index):
            def handler(event):
                row[index] += 1

            return handler

        start.wait()
        for index in range(per_thread):
            events.subscribe(NodeStarted, count(index))

    workers = [threading.Thread(target=subscribe_all, args=(row,)) for row in counts]
    for worker in workers:
        worker.start()
    start.wait()
    while any(worker.is_alive() for worker in workers):
        events.publish(STARTED)
    before = [list(row) for row in counts]
    events.publish(STARTED)
    assert [[now - then for now, then in zip(*rows, strict=True)] for rows in zip(counts, before, strict=True)] == [
        [1] * per_thread
    ] * threads
    assert events.failures == 0
