"""What a policy is and sees: providers, views, and the little a policy must do."""

from __future__ import annotations

import pytest

from zfoo_py.consumer.balancer import Balancer, BalancerStats, Provider, ServiceView
from zfoo_py.consumer.hashing import task_hash


class First(Balancer):
    """As small as a policy can be."""

    def pick(self, view, key):
        return view.providers[0] if view.providers else None


def test_a_policy_needs_nothing_but_pick():
    policy, provider = First(), Provider("a")
    policy.on_up(provider)
    view = ServiceView("m").joined(provider, 1)
    assert policy.route(view, "key") == (provider, task_hash("key"))
    assert policy.route(view, None) == (provider, None)
    policy.tick(1)
    assert policy.sweep(1)
    policy.on_down(provider)
    assert policy.stats() == BalancerStats()


def test_a_policy_without_pick_says_so():
    with pytest.raises(NotImplementedError, match=r"must define pick\(view, key\)"):
        Balancer().pick(ServiceView("m"), "key")


def test_a_view_is_sorted_and_cannot_be_written():
    b, a, other_b = Provider("b"), Provider("a"), Provider("b")
    view = ServiceView("m").joined(b, 1).joined(a, 2)
    assert (view.providers, view.applied_version) == ((a, b), 2)
    assert view.joined(other_b, 3).providers == (a, other_b), "one provider per ring name"
    assert (view.left(Provider("a"), 4).providers, view.left(b, 4).providers) == ((b,), (a,))
    with pytest.raises(AttributeError):
        view.providers = ()


def test_a_provider_is_up_from_its_first_session_to_its_last():
    provider = Provider("a", node_id="n")
    assert (provider.text, provider.session) == ("a", None)
    assert provider.add_session(2, "second node")
    assert not provider.add_session(1, "first node")
    assert not provider.add_session(1, "again"), "a sid that is known changes nothing"
    assert provider.sessions == [(2, "second node"), (1, "first node")]
    assert provider.session == "second node"
    assert not provider.drop_session(2)
    assert not provider.drop_session(2), "nor does one that is not known"
    assert provider.session == "first node"
    assert provider.drop_session(1)
    assert (provider.session, provider.sessions) == (None, [])
    assert not provider.drop_session(1)


def test_a_view_knows_the_weights_unless_they_are_all_one():
    light, heavy = Provider("a"), Provider("b", weight=3)
    view = ServiceView("m").joined(light, 1)
    assert view.cumulative_weights == ()
    view = view.joined(heavy, 2)
    assert view.cumulative_weights == (1, 4)
    assert view.without("a", 3).cumulative_weights == (3,)
    assert view.left(heavy, 3).cumulative_weights == ()
