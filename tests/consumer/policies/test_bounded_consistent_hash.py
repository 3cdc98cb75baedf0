"""R9 and R10: no pick is over its bound, none loops, and a key that meets no bound stays with its owner."""

from __future__ import annotations

from math import ceil
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.consumers import POLICY_NAMES, policy_of
from zfoo_py.consumer.balancer import Provider
from zfoo_py.consumer.hashing import fnv_hash
from zfoo_py.consumer.in_flight import let_go

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 30)),
        st.tuples(st.just("end"), st.integers(0, 99)),
        st.tuples(st.just("down"), st.integers(0, 5)),
        st.tuples(st.just("up"), st.integers(0, 5)),
    ),
    max_size=120,
)
WEIGHTS = st.lists(st.integers(1, 4), min_size=6, max_size=6)


def an_ask():
    return SimpleNamespace(held=None, add_done_callback=lambda _: None)


@settings(max_examples=150)
@given(STEPS, st.sampled_from([1, 1.1, 1.25, 2]), st.integers(1, 4), WEIGHTS)
def test_no_pick_is_over_the_bound_and_a_key_that_meets_none_keeps_its_owner(steps, factor, probes, weights):
    """The bound is said here once more, from a count of its own."""
    named = {"factor": factor, "probes": probes}
    balancer, view = policy_of("bounded-consistent-hash", POLICY_NAMES, weights=weights, named=named)
    plain = policy_of("consistent-hash", ())[0]
    for provider in view.providers:
        plain.on_up(provider)
    all_of = {provider.ring_name: provider for provider in view.providers}
    asks = []
    for what, number in steps:
        name = POLICY_NAMES[number % 6]
        if what == "up" and name not in {one.ring_name for one in view.providers}:
            provider = all_of[name] = Provider(name, weight=weights[number % 6])
            view = view.joined(provider, 9)
            for policy in (balancer, plain):
                policy.on_up(provider)
        elif what == "down" and len(view.providers) > 1 and all_of[name] in view.providers:
            view = view.left(all_of[name], 9)
            for policy in (balancer, plain):
                policy.on_down(all_of[name])
            asks = [ask for ask in asks if ask[1] is not all_of[name]]
        elif what == "end" and asks:
            let_go(asks.pop(number % len(asks))[0])
        elif what == "ask":
            counts = {one: sum(on is one for _, on in asks) for one in view.providers}
            total, weight = len(asks) + 1, sum(one.weight for one in view.providers)
            bounds = {one: ceil(factor * total * one.weight / weight) for one in view.providers}
            picked, owner = balancer.pick(view, number), plain.pick(view, number)
            assert counts[picked] + 1 <= bounds[picked]
            if counts[owner] + 1 <= bounds[owner]:
                assert picked is owner
            else:
                walk = [all_of[name] for name in balancer.ring.walk(fnv_hash(number))][:probes]
                free = [one for one in walk if counts[one] + 1 <= bounds[one]]
                least = min(counts[one] / one.weight for one in view.providers)
                assert picked is free[0] if free else counts[picked] / picked.weight == least
            asks.append((an_ask(), picked))
            balancer.in_flight.hold(asks[-1][0], picked)
        assert balancer.in_flight.total == len(asks) == sum(balancer.in_flight.counts.values())


def test_one_hot_key_is_spread_and_comes_home():
    """A key with 100 asks in flight: its owner has no more than its bound; when they end, it has the key again."""
    balancer, view = policy_of("bounded-consistent-hash", POLICY_NAMES)
    home = balancer.pick(view, "hot")
    asks = []
    for _ in range(100):
        picked = balancer.pick(view, "hot")
        asks.append(an_ask())
        balancer.in_flight.hold(asks[-1], picked)
    counts = sorted(balancer.in_flight.counts.values())
    assert counts[-1] <= ceil(1.25 * 100 / 6)
    assert balancer.in_flight.counts[home] == counts[-1]
    for ask in asks:
        let_go(ask)
    assert balancer.pick(view, "hot") is home
    assert balancer.in_flight.total == 0


def test_it_is_never_over_1000_providers_and_ends():
    names = [f"app-{number}" for number in range(300)]
    balancer, view = policy_of("bounded-consistent-hash", names, virtual_nodes=5, named={"factor": 1})
    for number in range(900):
        balancer.in_flight.hold(an_ask(), balancer.pick(view, "hot"))
        assert max(balancer.in_flight.counts.values()) <= ceil((number + 1) / 300)
