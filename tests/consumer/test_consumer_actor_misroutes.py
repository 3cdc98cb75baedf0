"""The tripwire at the asking side: a provider says that it does not serve what it got."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.support.consumers import ConsumerWorld, owner, registration, service
from tests.support.sessions import PROVIDER
from zfoo_py.actor import Abort
from zfoo_py.errors import RemoteError, SessionClosedError
from zfoo_py.events import Alert
from zfoo_py.net import messages as m
from zfoo_py.protocol.common import ErrorCode

REFUSAL = RemoteError(ErrorCode.NOT_SERVED, "this node does not provide module 'visits'", may_have_run=False)
POLICIES = ["random", "consistent-hash", "cached-consistent-hash"]


def refuse(world, ref):
    """Let a provider refuse everything it was told; the consumer hears of it and has its next turn."""
    told, ref.told = ref.told, []
    for outbound in told:
        world.me.tell(m.Refused(outbound.call, outbound.provider, ErrorCode.NOT_SERVED, REFUSAL))
    world.later()


@pytest.mark.parametrize("policy", POLICIES)
def test_it_is_picked_again_once_and_never_at_the_one_who_refused(policy):
    world = ConsumerWorld(service("visits", policy))
    refs = {registration(sid).ring_name: world.up(sid) for sid in (1, 2, 3)}
    answers = [world.ask(key) for key in [*range(8), None]]
    first = [answer.provider for answer in answers]
    told = {ref: ref.told for ref in refs.values()}
    for ref in refs.values():
        ref.told = []
    for orders in told.values():
        for outbound in orders:
            world.me.tell(m.Refused(outbound.call, outbound.provider, ErrorCode.NOT_SERVED, REFUSAL))
    world.later()
    assert sum(len(ref.told) for ref in refs.values()) == 9
    for ring_name, ref in refs.items():
        assert all(order.provider == ring_name != order.call.refused_by for order in ref.told)
        refuse(world, ref)
    assert all(answer.exception() is REFUSAL for answer in answers)
    assert not any(ref.told for ref in refs.values())
    assert world.actor.misroutes == world.stats()["misroutes"] == 18
    assert len(set(first)) > 1


@pytest.mark.parametrize("policy", POLICIES[1:])
def test_the_second_pick_is_whoever_would_own_the_key_without_the_first(policy):
    """And nothing of it is remembered: the next ask of the key goes to its owner."""
    world = ConsumerWorld(service("visits", policy))
    world.actor._retries.budget = SimpleNamespace(take=lambda *_: True)
    refs = {registration(sid).ring_name: world.up(sid) for sid in (1, 2, 3, 4)}
    for key in range(60):
        answer = world.ask(key)
        first = answer.provider
        refuse(world, refs[first])
        assert answer.provider == owner(set(refs) - {first}, key)
        assert world.ask(key).provider == first
        for ref in refs.values():
            ref.told.clear()


def test_where_nobody_else_serves_it_the_refusal_stands():
    world = ConsumerWorld(service("visits"))
    ref = world.up(1)
    answer = world.ask("k")
    refuse(world, ref)
    assert answer.exception() is REFUSAL
    assert answer.exception().may_have_run is False


def test_the_alert_names_provider_module_and_group_once_until_that_provider_leaves():
    world = ConsumerWorld(service("visits", group="blue"))
    blue = registration(1, "visits/blue")
    ref = world.up(1, blue)
    for _ in range(3):
        world.ask("k")
        refuse(world, ref)
    [alert] = world.of(Alert)
    assert alert.name == "misroute"
    for part in (blue.ring_name, "module 'visits' as 'blue'", "[[provider]]", "this node does not provide"):
        assert part in alert.text
    world.down(1)
    ref = world.up(2, blue)
    world.ask("k")
    refuse(world, ref)
    assert len(world.of(Alert)) == 2


def test_a_refusal_that_meets_a_stopped_consumer_ends_its_ask():
    world = ConsumerWorld(service("visits"))
    record = world.make_ask()
    world.me.detach()
    world.me.tell(Abort())
    world.run()
    world.runtime.deliver(world.me, m.Refused(record, PROVIDER, ErrorCode.NOT_SERVED, REFUSAL))
    assert record.answer.exception() is REFUSAL


def test_an_ask_that_may_have_run_before_says_so_still():
    world = ConsumerWorld(service("visits"))
    first, second = world.up(1), world.up(2)
    record = world.make_ask("k", may_have_run=True, refused_by=registration(1).ring_name)
    world.me.tell(record)
    world.run()
    assert (first.told, [order.call for order in second.told]) == ([], [record])
    for _ in range(3):
        second.give_back()
        world.later()
    assert isinstance(record.answer.exception(), SessionClosedError)
    assert record.answer.exception().may_have_run


def test_groups_of_one_module_and_types_of_one_process_stay_apart():
    """The same process offers visits in two groups, and pages; its neighbours each offer a part of that."""
    world = ConsumerWorld(service("visits", group="blue"), service("pages", "consistent-hash"))
    offers = {1: ["visits/blue", "visits/green", "pages"], 2: ["visits/green"], 3: ["visits/blue"], 4: ["pages/red"]}
    named = {sid: registration(sid, *offered) for sid, offered in offers.items()}
    for sid, which in named.items():
        world.up(sid, which)
    blue, pages = [named[1].ring_name, named[3].ring_name], [named[1].ring_name]
    for key in range(100):
        assert world.ask(key).provider == owner(blue, key)
        assert world.ask_page(key).provider == owner(pages, key)
    world.down(1)
    assert world.ring_names("visits") == [named[3].ring_name]
    assert world.ring_names("pages") == []
    figures = world.stats()["services"]
    assert (figures["visits"]["ring_points"], figures["pages"]["ring_points"]) == (200, 0)
