"""Asks in flight are counted up once and down once, however they end: no leak, and never below zero."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.consumers import ConsumerWorld, registration, service
from tests.support.packets import VisitAnswer
from zfoo_py.consumer.in_flight import InFlight, let_go
from zfoo_py.errors import AskTimeoutError, RemoteError, SessionClosedError
from zfoo_py.net import messages as m
from zfoo_py.router.answer import Answer

COUNTING = ["least-pending", "bounded-consistent-hash"]
ENDS = ["answer", "time out", "undelivered", "lost", "refused", "cancel"]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 9)),
        st.tuples(st.sampled_from(ENDS), st.integers(0, 9)),
        st.tuples(st.sampled_from(["up", "down", "reconnect"]), st.integers(1, 4)),
        st.tuples(st.just("later"), st.integers(0, 2)),
    ),
    max_size=60,
)


class Flights(ConsumerWorld):
    """A consumer with a counting policy; the test is the sessions, and knows what is with which of them."""

    def __init__(self, policy):
        super().__init__(service("visits", policy), service("pages", policy))
        self.sids = iter(range(10, 1000))
        self.of_number = {}

    def open(self, number):
        if number not in self.of_number:
            self.of_number[number] = next(self.sids)
            self.up(self.of_number[number], registration(number, "visits", "pages"))

    def close(self, number):
        """The session ends; what it holds fails, or comes back unwritten."""
        sid = self.of_number.pop(number, None)
        if sid is not None:
            held, self.refs[sid].told = self.refs[sid].told, []
            self.down(sid)
            for at, outbound in enumerate(held):
                self.end(outbound, ("fail", "undelivered", "lost")[at % 3])

    def end(self, outbound, how):
        answer = outbound.call.answer
        if how == "answer":
            answer.settle(VisitAnswer("!"))
        elif how == "time out":
            answer.settle(error=AskTimeoutError("late"))
        elif how == "fail":
            answer.settle(error=SessionClosedError("lost"))
        elif how == "undelivered":
            self.me.tell(m.Undelivered(outbound, "closed"))
        elif how == "lost":
            self.me.tell(m.LostInFlight(outbound.call, SessionClosedError("lost")))
        elif how == "refused":
            self.me.tell(m.Refused(outbound.call, outbound.provider, 3, RemoteError(3, "no")))
        self.run()

    def step(self, what, number):
        if what == "up":
            self.open(number)
        elif what == "down":
            self.close(number)
        elif what == "reconnect":
            old = self.of_number.pop(number, None)
            if old is None:
                return
            self.open(number)
            held, self.refs[old].told = self.refs[old].told, []
            self.down(old)
            for outbound in held:
                self.end(outbound, "undelivered")
        elif what == "ask":
            self.ask(number)
            self.ask_page(number)
        elif what == "later":
            self.later(number)
        else:
            told = [(ref, outbound) for ref in self.refs.values() for outbound in ref.told]
            if told:
                ref, outbound = told[number % len(told)]
                if what == "cancel":  # nobody waits any more, and the provider works all the same
                    outbound.call.answer.settle(error=TimeoutError())
                else:
                    self.end(outbound, what)
                ref.told.remove(outbound)

    def agrees(self):
        """The counts are what the living sessions hold, for each type by itself."""
        for module in ("visits", "pages"):
            held = Counter(
                outbound.provider
                for ref in self.refs.values()
                for outbound in ref.told
                if outbound.call.binding.module.name == module
            )
            in_flight = self.actor._services[module].balancer.in_flight
            counts = {provider.ring_name: count for provider, count in in_flight.counts.items()}
            assert counts == {name: held[name] for name in self.ring_names(module)}
            assert in_flight.total == sum(counts.values())


@pytest.mark.parametrize("policy", COUNTING)
@settings(max_examples=120, deadline=None)
@given(steps=STEPS)
def test_after_any_history_the_counts_are_what_the_sessions_hold(policy, steps):
    world = Flights(policy)
    world.open(1)
    world.open(2)
    for step in steps:
        world.step(*step)
        world.agrees()
    for number in list(world.of_number):
        world.close(number)
    for _ in range(5):
        world.later(5.0)
    world.agrees()
    assert all(one.balancer.in_flight.total == 0 for one in world.actor._services.values())


def test_policies_that_do_not_ask_for_it_pay_nothing():
    world = ConsumerWorld(service("visits"))
    world.up(1)
    answer = world.ask("k")
    assert answer.held is None
    assert answer._waiters == []


def test_what_is_still_on_its_way_to_a_provider_that_left_counts_no_more():
    counts = InFlight()
    counts.join("a")
    counts.join("b")
    old, new = Answer(None), Answer(None)
    counts.hold(old, "a")
    counts.hold(new, "b")
    counts.leave("a")
    assert (counts.counts, counts.total) == ({"b": 1}, 1)
    old.settle(None)
    counts.leave("a")
    assert (counts.counts, counts.total) == ({"b": 1}, 1)
    new.settle(None)
    assert (counts.counts, counts.total) == ({"b": 0}, 0)


def test_an_answer_that_has_ended_already_is_not_in_flight():
    counts, answer = InFlight(), Answer(None)
    counts.join("a")
    answer.settle(None)
    counts.hold(answer, "a")
    assert (counts.counts, counts.total) == ({"a": 0}, 0)


def test_letting_go_twice_and_taking_again_count_once():
    counts, answer = InFlight(), Answer(None)
    counts.join("a")
    counts.hold(answer, "a")
    let_go(answer)
    let_go(answer)
    assert counts.total == 0
    counts.hold(answer, "a")
    assert (counts.total, len(answer._waiters)) == (1, 1)
    answer.settle(None)
    assert counts.total == 0


def test_a_stranger_is_not_counted():
    counts, answer = InFlight(), Answer(None)
    counts.hold(answer, "a")
    assert (counts.counts, answer.held) == ({}, None)
