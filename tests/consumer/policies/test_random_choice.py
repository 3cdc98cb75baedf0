"""Random asks for a provider by chance; the key only chooses the lane."""

from __future__ import annotations

from collections import Counter

from tests.support.consumers import policy_of
from zfoo_py.consumer.hashing import task_hash


def test_random_keeps_the_lane_of_a_key_but_not_its_provider():
    balancer, view = policy_of("random")
    routes = {balancer.route(view, "key") for _ in range(50)}
    assert routes == {(provider, task_hash("key")) for provider in view.providers}


def test_each_has_its_weight():
    balancer, view = policy_of("random", weights=(1, 2, 5))
    picks = Counter(balancer.pick(view, None).weight for _ in range(8000))
    assert {weight: round(count / 1000) for weight, count in picks.items()} == {1: 1, 2: 2, 5: 5}
