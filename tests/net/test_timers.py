"""The three timers of a session: each at most once, none after the end."""

from __future__ import annotations

from zfoo_py.net.messages import CountersDue, Expire, HeartbeatDue, HelloLate
from zfoo_py.net.timers import SessionTimers
from zfoo_py.testing import FakeClock


class Runtime:
    """What timers need of a runtime; what falls due is kept."""

    def __init__(self):
        self.clock = FakeClock(0.0)
        self.time = self.clock.time
        self.due = []

    def call_later(self, delay_s, ref, message):
        assert ref == "ref"
        return self.clock.call_later(delay_s, lambda: self.due.append((self.time(), type(message))))


def make():
    runtime = Runtime()
    return runtime, SessionTimers(runtime, "ref")


def test_only_an_earlier_deadline_moves_the_expiry():
    runtime, timers = make()
    for deadline_s in (5.0, 9.0, 3.0, 4.0):
        timers.expire_at(deadline_s)
    assert runtime.clock.pending() == 1
    runtime.clock.advance(100.0)
    assert runtime.due == [(3.0, Expire)]
    timers.expired()
    timers.expire_at(50.0)  # long past: at once
    runtime.clock.advance(0.0)
    assert runtime.due[1:] == [(100.0, Expire)]


def test_the_first_beat_replaces_the_wait_for_the_hello():
    runtime, timers = make()
    timers.hello_within(5.0)
    timers.beat_in(7.0)
    timers.beat_in(8.0)
    runtime.clock.advance(20.0)
    assert runtime.due == [(8.0, HeartbeatDue)]


def test_a_late_hello_is_told():
    runtime, timers = make()
    timers.hello_within(5.0)
    runtime.clock.advance(5.0)
    assert runtime.due == [(5.0, HelloLate)]


def test_counters_are_due_once_until_they_were_counted():
    runtime, timers = make()
    for _ in range(5):
        timers.count_soon()
    runtime.clock.advance(5.0)
    assert runtime.due == [(1.0, CountersDue)]
    timers.counted()
    timers.count_soon()
    runtime.clock.advance(5.0)
    assert len(runtime.due) == 2


def test_nothing_is_due_after_cancel():
    runtime, timers = make()
    timers.cancel()
    timers.expire_at(1.0)
    timers.hello_within(1.0)
    timers.count_soon()
    timers.cancel()
    timers.cancel()
    assert runtime.clock.pending() == 0
    runtime.clock.advance(10.0)
    assert runtime.due == []
