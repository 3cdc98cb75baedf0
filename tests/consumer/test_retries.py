"""What is picked again, and where."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import pytest

from tests.support.consumers import ConsumerWorld, registration, service
from tests.support.sessions import World
from zfoo_py.consumer.retries import MAX_TRIES, OVERLOADED_PAUSE_S, Again, Retries
from zfoo_py.errors import RemoteError
from zfoo_py.net import messages as m
from zfoo_py.protocol.common import ErrorCode

RICH = 10**9  # so many asks pay for every retry


def retries():
    return Retries(0.0, lambda: 0.5)


def record(**fields):
    with World() as world:
        return msgspec.structs.replace(world.call(in_s=3.0), deadline_s=3.0, **fields)


def refused(call, code, *, is_alone=False, keeps_key=False, asks=RICH, now_s=0.0):
    back = m.Refused(call, "p1", code, RemoteError(code, "no", may_have_run=False))
    return retries().refused(back, asks, now_s, is_alone=is_alone, keeps_key=keeps_key)


def test_what_was_never_written_is_picked_three_times_in_all():
    again = retries().unwritten(record(), RICH, 0.0)
    assert (again.order.tries, again.order.is_default_timeout, again.wait_s) == (1, False, 0.0)
    assert "3 tries" in retries().unwritten(record(tries=MAX_TRIES - 1), RICH, 0.0)


def test_nothing_is_asked_twice_beyond_the_budget():
    poor = retries()
    ends = [poor.unwritten(record(), 0, 0.0) for _ in range(120)]
    assert sum(isinstance(end, Again) for end in ends) == 100
    assert "retry budget" in ends[-1]
    assert poor.lost(record(), 0, 0.0) is None
    back = m.Refused(record(), "p1", ErrorCode.DRAINING, ValueError())
    assert poor.refused(back, 0, 0.0, is_alone=False, keeps_key=False) is None
    assert poor.denied == 22


def test_an_idempotent_ask_that_was_lost_is_asked_once_more():
    again = retries().lost(record(), RICH, 0.0)
    assert again.order.may_have_run
    assert retries().lost(again.order, RICH, 0.0) is None


@pytest.mark.parametrize("code", [ErrorCode.DRAINING, ErrorCode.NOT_SERVED])
def test_a_draining_provider_and_one_that_does_not_serve_are_gone_around(code):
    again = refused(record(), code, keeps_key=True)
    assert (again.order.refused_by, again.wait_s) == ("p1", 0.0)
    assert refused(record(), code, is_alone=True) is None


def test_not_served_is_picked_again_once_and_draining_three_times():
    assert refused(record(refused_by="p0"), ErrorCode.NOT_SERVED) is None
    assert refused(record(refused_by="p0", tries=1), ErrorCode.DRAINING).order.tries == 2
    assert refused(record(tries=MAX_TRIES - 1), ErrorCode.DRAINING) is None


def test_an_overloaded_provider_is_gone_around_once_where_the_key_need_not_stay():
    again = refused(record(), ErrorCode.OVERLOADED)
    assert (again.order.refused_by, again.order.was_overloaded, again.wait_s) == ("p1", True, 0.0)
    assert refused(again.order, ErrorCode.OVERLOADED) is None


@pytest.mark.parametrize("where", [{"keeps_key": True}, {"is_alone": True}])
def test_the_owner_of_a_key_is_asked_again_after_a_pause_if_there_is_time(where):
    again = refused(record(), ErrorCode.OVERLOADED, **where)
    assert (again.order.refused_by, again.wait_s) == ("", OVERLOADED_PAUSE_S)
    assert refused(record(), ErrorCode.OVERLOADED, now_s=2.99, **where) is None


@pytest.mark.parametrize(
    ("policy", "key", "stays"),
    [
        ("cached-consistent-hash", "k", True),
        ("consistent-hash", "k", True),
        ("consistent-hash", None, False),
        ("bounded-consistent-hash", "k", False),
        ("random", "k", False),
        ("round-robin", "k", False),
        ("least-pending", "k", False),
    ],
)
def test_policies_say_whether_a_key_stays(policy, key, stays):
    world = ConsumerWorld(service("visits", policy))
    refs = {registration(sid).ring_name: world.up(sid) for sid in (1, 2)}
    answer = world.ask(key)
    first = answer.provider
    [outbound] = refs[first].told
    error = RemoteError(ErrorCode.OVERLOADED, "much", may_have_run=False)
    world.me.tell(m.Refused(outbound.call, first, ErrorCode.OVERLOADED, error))
    world.run()
    world.later(2 * OVERLOADED_PAUSE_S)
    world.run()
    assert (answer.provider == first) is stays
    again = refs[answer.provider].told[-1]
    assert again.call.was_overloaded
    world.me.tell(m.Refused(again.call, answer.provider, ErrorCode.OVERLOADED, error))
    world.run()
    assert answer.exception() is error


def test_the_one_provider_that_is_left_gets_what_the_one_that_is_gone_has_refused():
    world = ConsumerWorld(service("visits"))
    refs = {registration(sid).ring_name: world.up(sid) for sid in (1, 2)}
    answer = world.ask("k")
    first = answer.provider
    [outbound] = refs[first].told
    world.down(1 if first == registration(1).ring_name else 2)
    world.me.tell(m.Refused(outbound.call, first, ErrorCode.DRAINING, RemoteError(ErrorCode.DRAINING, "drains")))
    world.later()
    assert answer.provider != first
    assert not answer.done()


def test_the_end_of_a_service_is_no_reason_to_raise():
    world = ConsumerWorld(service("visits"))
    call = SimpleNamespace(told=world.make_ask())
    back = m.Refused(msgspec.structs.replace(call.told, tries=9), "p", ErrorCode.DRAINING, RemoteError(6, "drains"))
    world.me.tell(back)
    world.run()
    assert back.call.answer.exception() is back.error
