"""What is cancelled is found wherever it is, once for everything that one wake-up brings."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from zfoo_py.protocol.common import Cancel
from zfoo_py.router.begun import Begun
from zfoo_py.router.cancels import Cancels
from zfoo_py.router.lanes import Lanes


class Called:
    """A call as far as this file knows it."""

    def __init__(self, name, sid, signal_id):
        self.name = name
        self.session = SimpleNamespace(sid=sid)
        self.signal_id = signal_id
        self.given_up = 0

    def give_up(self):
        self.given_up += 1
        self.signal_id = 0


class Bench:
    """A provider's calls in every place there is."""

    def __init__(self):
        self.begun, self.lanes, self.ready = Begun(), Lanes(), []
        self.flushes, self.dropped, self.cancelled = [], [], []
        self.queued = set()
        self.cancels = Cancels(self.begun, (self.lanes,), self.ready, self.take_back, self.drop, self.flushes.append)
        names = ("suspended", "queued", "running", "waiting", "ready")
        self.calls = {name: Called(name, 1, number) for number, name in enumerate(names, 1)}
        self.calls["other"] = Called("other", 2, 4)
        self.begun.add(self.calls["suspended"], self)
        self.begun.add(self.calls["queued"], None)
        self.begun.add(self.calls["running"], None)
        self.queued.add("queued")
        self.lanes.hold(1, "holder")
        self.lanes.wait(1, self.calls["waiting"])
        self.lanes.wait(1, self.calls["other"])
        self.ready.append(self.calls["ready"])

    def take_back(self, call):
        return call.name in self.queued

    def drop(self, call):
        self.dropped.append(call.name)

    def cancel(self):
        self.cancelled.append("task")
        return True

    def take(self, sid, *signal_ids):
        self.cancels.take(SimpleNamespace(sid=sid), Cancel(list(signal_ids)))

    def flush(self):
        flushes, self.flushes[:] = list(self.flushes), []
        for flush in flushes:
            flush()

    def given_up(self):
        return [name for name, call in self.calls.items() if call.given_up]


@pytest.mark.parametrize(
    ("number", "name", "dropped", "cancelled"),
    [
        (1, "suspended", [], ["task"]),
        (2, "queued", ["queued"], []),
        (3, "running", [], []),
        (4, "waiting", ["waiting"], []),
        (5, "ready", [], []),
    ],
)
def test_each_place(number, name, dropped, cancelled):
    bench = Bench()
    bench.take(1, number)
    assert bench.given_up() == []
    bench.flush()
    assert (bench.given_up(), bench.dropped, bench.cancelled) == ([name], dropped, cancelled)
    assert bench.calls[name].given_up == 1


def test_one_look_for_all_that_one_wake_up_brings():
    bench = Bench()
    bench.take(1, 1, 2, 99)
    bench.take(1, 3, 4, 5, 1)
    assert len(bench.flushes) == 1
    bench.flush()
    assert bench.given_up() == ["suspended", "queued", "running", "waiting", "ready"]
    bench.take(2, 4)
    assert len(bench.flushes) == 1
    bench.flush()
    assert bench.given_up()[-1] == "other"


def test_unknown_asks_and_other_sessions_numbers_harm_nobody():
    bench = Bench()
    bench.take(1, 77, 2**31 - 1, 0, -1)
    bench.take(3, 1, 2, 3, 4, 5)
    bench.flush()
    assert (bench.given_up(), bench.dropped, bench.cancelled) == ([], [], [])
