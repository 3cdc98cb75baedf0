"""Of two by chance, the one with less to do for its weight."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from tests.support.consumers import POLICY_NAMES, policy_of


def test_the_busiest_of_all_is_picked_only_when_it_is_alone():
    balancer, view = policy_of("least-pending")
    busy = view.providers[1]
    balancer.in_flight.counts[busy] = 5
    assert busy not in {balancer.pick(view, None) for _ in range(300)}
    for other in (view.providers[0], view.providers[2]):
        view = view.left(other, 9)
        balancer.on_down(other)
    assert balancer.pick(view, None) is busy


def test_weight_counts():
    """Four asks of a provider of weight 4 are as many as one of a provider of weight 1."""
    balancer, view = policy_of("least-pending", POLICY_NAMES[:2], weights=(1, 4))
    light, heavy = view.providers
    balancer.in_flight.counts.update({light: 1, heavy: 3})
    assert {balancer.pick(view, None) for _ in range(50)} == {heavy}
    balancer.in_flight.counts.update({light: 1, heavy: 5})
    assert {balancer.pick(view, None) for _ in range(50)} == {light}


def test_idle_providers_are_picked_by_weight():
    """Asks that come one at a time find nobody busy: only the draw can give 1 : 2 : 4."""
    balancer, view = policy_of("least-pending", POLICY_NAMES[:3], weights=(1, 2, 4))
    picked = Counter(balancer.pick(view, None) for _ in range(7000))
    for provider in view.providers:
        assert abs(picked[provider] - 1000 * provider.weight) < 150
    for busy in view.providers:  # the two that are compared are never the same one
        balancer.in_flight.counts = dict.fromkeys(view.providers, 0) | {busy: 20}
        assert busy not in {balancer.pick(view, None) for _ in range(200)}


@given(st.lists(st.integers(1, 4), min_size=2, max_size=6), st.integers(50, 400))
def test_asks_that_never_end_spread_by_weight(weights, asks):
    balancer, view = policy_of("least-pending", POLICY_NAMES[: len(weights)], weights=weights)
    picked = Counter()
    for _ in range(asks):
        provider = balancer.pick(view, None)
        balancer.in_flight.hold(SimpleNamespace(held=(), add_done_callback=None), provider)
        picked[provider] += 1
    assert balancer.in_flight.counts == {one: picked[one] for one in view.providers}
    for provider in view.providers:
        fair = asks * provider.weight / sum(weights)
        assert picked[provider] <= fair + 12 + 0.25 * fair
