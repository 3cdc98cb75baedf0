"""What every policy does alike, and how it is named and told what to do."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.consumers import policy_of
from zfoo_py.config import DEFAULT_BALANCER
from zfoo_py.consumer.hashing import task_hash
from zfoo_py.consumer.policies.bounded_consistent_hash import BoundedConsistentHashBalancer
from zfoo_py.consumer.policies.cached_consistent_hash import CachedConsistentHashBalancer
from zfoo_py.consumer.policies.catalog import BALANCERS, OPTIONS, check_options
from zfoo_py.consumer.policies.consistent_hash import ConsistentHashBalancer
from zfoo_py.consumer.policies.least_pending import LeastPendingBalancer
from zfoo_py.consumer.policies.random_choice import RandomBalancer
from zfoo_py.consumer.policies.round_robin import RoundRobinBalancer
from zfoo_py.errors import ConfigError


def test_the_names():
    assert DEFAULT_BALANCER in BALANCERS
    assert {name: type(policy_of(name)[0]) for name in BALANCERS} == {
        "random": RandomBalancer,
        "round-robin": RoundRobinBalancer,
        "least-pending": LeastPendingBalancer,
        "consistent-hash": ConsistentHashBalancer,
        "cached-consistent-hash": CachedConsistentHashBalancer,
        "bounded-consistent-hash": BoundedConsistentHashBalancer,
    }
    keyless = {name for name in BALANCERS if not policy_of(name)[0].needs_key}
    assert keyless == {"random", "round-robin", "least-pending"}
    assert {name for name in BALANCERS if policy_of(name)[0].counts_in_flight} == {
        "least-pending",
        "bounded-consistent-hash",
    }
    assert OPTIONS.keys() == BALANCERS.keys()


@pytest.mark.parametrize("policy", sorted(BALANCERS))
def test_a_provider_is_never_picked_after_it_went(policy):
    balancer, view = policy_of(policy)
    for key in range(500):
        balancer.pick(view, key)
    gone = view.providers[1]
    view = view.left(gone, 4)
    balancer.on_down(gone)
    picked = {balancer.pick(view, key) for key in [*range(500), None, "other"]}
    assert picked == set(view.providers)


@pytest.mark.parametrize("policy", sorted(BALANCERS))
def test_without_providers_there_is_no_pick(policy):
    balancer, view = policy_of(policy)
    for provider in view.providers:
        view = view.left(provider, 4)
        balancer.on_down(provider)
    assert balancer.route(view, "key") == (None, task_hash("key"))
    assert balancer.route(view, None) == (None, None)
    assert balancer.stats().entries == balancer.stats().ring_points == 0


@pytest.mark.parametrize("policy", sorted(BALANCERS))
def test_without_key_every_provider_has_its_chance(policy):
    balancer, view = policy_of(policy)
    picks = Counter(balancer.route(view, None)[0] for _ in range(3000))
    assert picks.keys() == set(view.providers)
    assert min(picks.values()) > 850
    assert balancer.route(view, None)[1] is None
    assert balancer.stats().entries == 0


@pytest.mark.parametrize("policy", sorted(BALANCERS))
def test_a_policy_knows_whether_it_follows_the_view(policy):
    balancer, view = policy_of(policy)
    assert balancer.follows(view)
    if policy not in {"random", "round-robin"}:  # these two know nothing but the view
        assert not balancer.follows(view.left(view.providers[0], 9))


# -------------------------------------------------------------------------------------------------- options
def test_options_of_a_consumer_reach_its_policy_and_win_over_the_nodes_limits():
    named = {"max_entries": 5, "expire_after_access_s": 2}
    cached, _ = policy_of("cached-consistent-hash", max_entries=99, expire_after_access_s=600.0, named=named)
    assert (cached.cache.max_entries, cached.cache.expire_after_ticks) == (5, 2)
    cached, _ = policy_of("cached-consistent-hash", max_entries=99, expire_after_access_s=600.0)
    assert (cached.cache.max_entries, cached.cache.expire_after_ticks) == (99, 600)
    bounded, view = policy_of("bounded-consistent-hash", named={"factor": 2})
    bounded.in_flight.total = 8
    assert [bounded.bound(provider) for provider in view.providers] == [6, 6, 6]


@pytest.mark.parametrize(
    ("policy", "named", "text"),
    [
        ("random", {"factor": 2}, r"consumer\[0\]\.options\.factor: no such key"),
        ("bounded-consistent-hash", {"facter": 2}, r"options\.facter: no such key \(did you mean 'factor'\?\)"),
        ("bounded-consistent-hash", {"factor": "2"}, r"options\.factor: expected a number"),
        ("bounded-consistent-hash", {"factor": 0.5}, r"options: factor must be at least 1"),
        ("bounded-consistent-hash", {"factor": float("nan")}, r"options: factor must be at least 1"),
        ("bounded-consistent-hash", {"probes": 0}, r"options: probes must be at least 1"),
        ("cached-consistent-hash", {"max_entry": 9}, r"did you mean 'max_entries'\?"),
        ("cached-consistent-hash", {"max_entries": 0}, r"options: max_entries must be a finite number greater than 0"),
        ("cached-consistent-hash", {"expire_after_access_s": float("inf")}, r"options: expire_after_access_s must be"),
        ("cached-consistent-hash", [], r"options: expected a table"),
    ],
)
def test_a_wrong_option_is_refused_with_its_path_and_the_nearest_name(policy, named, text):
    with pytest.raises(ConfigError, match=text):
        check_options(policy, named, "consumer[0].options")


def test_options_of_ones_own_policy_are_its_own_matter():
    check_options("sticky", {"anything": 1}, "consumer[0].options")
