"""Names for the asks of a node, given once, and the judgement of those that wait for themselves."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from tests.support.packets import VisitAsk
from zfoo_py.protocol.common import ErrorCode
from zfoo_py.router.cycles import Cycles


def call(**given):
    receiver = SimpleNamespace(where="Visits.at")
    return SimpleNamespace(
        **{"trail": None, "signal_id": 1, "session": 1, "packet": VisitAsk(""), "receiver": receiver, **given}
    )


def cycles():
    return Cycles("n:1", threading.Lock())


def test_an_ask_is_named_when_its_receiver_asks_and_keeps_the_name():
    names, one, two = cycles(), call(), call(session=None)
    assert names.chain_within(one) == names.chain_within(one) == "n:1.1 VisitAsk"
    assert names.chain_within(two) == "n:1.2 Visits.at"


def test_a_chain_that_came_with_it_goes_on_with_it():
    names, one = cycles(), call()
    names.came_with(one, "m:1.4 PageAsk")
    assert names.chain_within(one) == "m:1.4 PageAsk\nn:1.1 VisitAsk"


def test_an_ask_whose_lane_its_chain_holds_is_refused_with_the_path():
    names, holder, closing = cycles(), call(), call()
    names.came_with(closing, f"first\n{names.chain_within(holder)}\nm:1.4 PageAsk")
    error = names.in_lane(closing, [call(), holder])
    assert error.code == ErrorCode.ASK_CYCLE
    reason, *path = error.message.split("\n")
    assert "reentrant=True" in reason
    assert path == ["n:1.1 VisitAsk", "m:1.4 PageAsk", "n:1 VisitAsk"]
    assert names.in_lane(closing, [call()]) is None


def test_an_ask_whose_chain_has_every_worker_is_refused():
    names, busy, closing = cycles(), [call(), call()], call()
    names.came_with(closing, "\n".join(map(names.chain_within, busy)))
    assert "all 2 of its node" in names.in_workers(closing, busy).message
    assert names.in_workers(closing, [*busy, call()]) is None
    assert names.in_workers(closing, []) is None


def test_what_nobody_asked_in_a_receiver_or_waits_for_is_no_cycle():
    names, holder = cycles(), call()
    names.chain_within(holder)
    assert names.in_lane(call(), [holder]) is None
    sent_one_way = call(signal_id=0, trail=holder.trail)
    assert names.in_lane(sent_one_way, [holder]) is None
    assert names.in_workers(sent_one_way, [holder]) is None
