"""Both hash policies pick what the ring says, from the turn on that handled a change."""

from __future__ import annotations

import pytest

from tests.support.consumers import POLICY_NAMES, policy_of
from zfoo_py.consumer.balancer import Provider


def pairs(policy):
    balancer, view = policy_of(policy)
    return [(key, balancer.pick(view, key).ring_name) for key in range(1000)]


def test_the_cached_policy_picks_as_the_ring_does():
    assert pairs("cached-consistent-hash") == pairs("consistent-hash")
    assert len({name for _, name in pairs("consistent-hash")}) == 3


@pytest.mark.parametrize("policy", ["consistent-hash", "cached-consistent-hash"])
def test_a_hot_consumer_and_a_fresh_one_agree_as_soon_as_a_join_is_handled(policy):
    hot, view = policy_of(policy, POLICY_NAMES[:2])
    for key in range(2000):
        hot.pick(view, key)
    newcomer = Provider(POLICY_NAMES[2])
    view = view.joined(newcomer, 3)
    hot.on_up(newcomer)
    fresh, fresh_view = policy_of(policy, POLICY_NAMES[:3])
    for key in range(2000):
        assert hot.pick(view, key).ring_name == fresh.pick(fresh_view, key).ring_name


@pytest.mark.parametrize("policy", ["consistent-hash", "cached-consistent-hash"])
def test_a_refused_change_changes_nothing(policy):
    balancer, view = policy_of(policy)
    before = pairs(policy)
    with pytest.raises(ValueError, match="in the ring already"):
        balancer.on_up(Provider(POLICY_NAMES[0]))
    with pytest.raises(ValueError, match="not in the ring"):
        balancer.on_down(Provider(POLICY_NAMES[5]))
    assert [(key, balancer.pick(view, key).ring_name) for key in range(1000)] == before
    assert all(balancer.pick(view, key) in view.providers for key in range(1000))


@pytest.mark.parametrize("policy", ["consistent-hash", "cached-consistent-hash"])
def test_a_key_that_is_not_allowed_is_refused_and_changes_nothing(policy):
    balancer, view = policy_of(policy)
    with pytest.raises(TypeError, match="a key cannot be list"):
        balancer.route(view, ["a"])
    assert balancer.stats().misses == balancer.stats().entries == 0
