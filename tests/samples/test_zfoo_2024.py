"""The model of zfoo's old balancer has the faults it is there to show, and no others."""

from __future__ import annotations

import random

from samples.zfoo_2024 import SharedMemo, Zfoo2024Balancer
from zfoo_py.consumer.balancer import BalancerOptions, Provider, ServiceView
from zfoo_py.consumer.policies.consistent_hash import ConsistentHashBalancer

OPTIONS = BalancerOptions(rng=random.Random(1))


class Type:
    """One service type balanced by the model."""

    def __init__(self, module, memo, *, providers=3):
        self.balancer = Zfoo2024Balancer(OPTIONS, memo)
        self.view = ServiceView(module)
        self.right = ConsistentHashBalancer(random.Random(1))
        self.providers = [Provider(f"{module}-{n} | 10.0.0.{n}:1 | provider:[{module}-x]") for n in range(providers)]
        for sid, provider in enumerate(self.providers):
            provider.add_session(sid, "a session")
            self.view = self.view.joined(provider, 1)
            self.balancer.on_up(provider)
            self.right.on_up(provider)

    def pick(self, key):
        return self.balancer.pick(self.view, key)

    def lose(self, provider):
        provider.sessions, provider.session = [], None
        self.view = self.view.left(provider, 2)
        self.balancer.on_down(provider)
        self.right.on_down(provider)


def test_a_key_seen_for_the_first_time_goes_to_its_rings_owner():
    visits = Type("visits", SharedMemo())
    for key in range(100):
        assert visits.pick(key) is visits.right.pick(visits.view, key)


def test_it_misroutes_a_key_of_one_type_goes_to_where_another_type_sent_it():
    memo = SharedMemo()
    visits, pages = Type("visits", memo), Type("pages", memo)
    for key in range(100):
        assert pages.pick(key) in pages.providers
        assert visits.pick(key) in pages.providers


def test_it_leaks_nothing_is_ever_forgotten_but_by_asking_again():
    memo = SharedMemo()
    visits = Type("visits", memo)
    for key in range(1000):
        visits.pick(key)
    gone = visits.providers[0]
    of_gone = [key for key in range(1000) if visits.pick(key) is gone]
    visits.lose(gone)
    assert (len(memo.providers), memo.gone()) == (1000, len(of_gone))
    for key in of_gone[:10]:
        assert visits.pick(key) is visits.right.pick(visits.view, key)
    assert (len(memo.providers), memo.gone()) == (1000, len(of_gone) - 10)


def test_it_moves_no_key_to_a_provider_that_joins():
    memo = SharedMemo()
    visits = Type("visits", memo)
    before = [visits.pick(key) for key in range(200)]
    new = Provider("visits-9 | 10.0.0.9:1 | provider:[visits-x]")
    new.add_session(9, "a session")
    visits.view = visits.view.joined(new, 2)
    visits.balancer.on_up(new)
    assert [visits.pick(key) for key in range(200)] == before
    assert any(visits.pick(key) is new for key in range(200, 400))


def test_without_key_any_provider_is_picked_and_nothing_remembered():
    memo = SharedMemo()
    visits = Type("visits", memo)
    assert {visits.pick(None) for _ in range(100)} == set(visits.providers)
    assert memo.providers == {}


def test_without_providers_nothing_is_picked_or_remembered():
    memo = SharedMemo()
    empty = Type("visits", memo, providers=0)
    assert empty.pick("k") is None
    assert memo.providers == {}


def test_after_a_refusal_it_asks_the_same_one_again():
    memo = SharedMemo()
    visits, pages = Type("visits", memo), Type("pages", memo)
    wrong = pages.pick("k")
    assert visits.balancer.route_around(visits.view, "k", wrong.ring_name)[0] is wrong


def test_its_memory_grows_with_its_keys():
    memo = SharedMemo()
    visits = Type("visits", memo)
    sizes = []
    for key in range(3000):
        visits.pick(f"10.0.{key}")
        if key % 1000 == 999:
            sizes.append(memo.estimated_bytes())
    assert sizes == sorted(sizes)
    assert sizes[-1] > 3000 * 50


def test_it_counts_what_each_type_brought_into_the_memo():
    memo = SharedMemo()
    visits, pages = Type("visits", memo), Type("pages", memo)
    for one, first in ((visits, 0), (pages, 200)):
        for key in range(first, first + 300):
            one.pick(key)
    figures = [one.balancer.stats() for one in (visits, pages)]
    assert [(one.entries, one.misses, one.hits) for one in figures] == [(300, 300, 0), (200, 200, 100)]
    total = sum(one.estimated_bytes for one in figures)
    assert 0 < memo.estimated_bytes() - total < 2
    assert figures[0].ring_points == visits.right.stats().ring_points
