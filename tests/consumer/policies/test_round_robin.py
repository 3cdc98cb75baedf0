"""One after the other, from wherever the consumer begins."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.support.consumers import POLICY_NAMES, policy_of
from zfoo_py.consumer.balancer import Provider


def picks(balancer, view, count):
    return [balancer.pick(view, "any key") for _ in range(count)]


def test_each_has_its_turn_before_any_has_another():
    balancer, view = policy_of("round-robin")
    first = picks(balancer, view, 3)
    assert set(first) == set(view.providers)
    assert picks(balancer, view, 6) == first * 2


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_in_a_round_each_has_as_many_turns_as_its_weight_evenly_spread(weights):
    balancer, view = policy_of("round-robin", POLICY_NAMES[: len(weights)], weights=weights)
    total = sum(weights)
    around = picks(balancer, view, total)
    counts = Counter(provider.weight for provider in around)
    assert counts == Counter({weight: weight * weights.count(weight) for weight in weights})
    for provider in view.providers:
        turns = [at for at, picked in enumerate(around * 2) if picked is provider]
        gaps = [after - before for before, after in pairwise(turns)]
        assert max(gaps, default=0) <= total / provider.weight + len(weights)


def test_a_change_begins_no_round_anew_and_leaves_nobody_out():
    balancer, view = policy_of("round-robin")
    picks(balancer, view, 2)
    newcomer = Provider(POLICY_NAMES[4])
    view = view.joined(newcomer, 9)
    assert set(picks(balancer, view, 4)) == set(view.providers)
    view = view.left(view.providers[0], 10)
    assert set(picks(balancer, view, 3)) == set(view.providers)
