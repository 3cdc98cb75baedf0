"""Each fault of zfoo's balancers, shown on a model of it; and beside it, that zfoo_py does not have it.

zfoo_py is asked through its ConsumerActor, with the same sessions and the same keys.
"""

from __future__ import annotations

import random

import pytest

from tests.support.consumers import ConsumerWorld, owner, registration, service
from tests.support.zfoo_models import CachedConsistentHash, ConsistentHash, JavaConsumer, Memory2024, Random
from zfoo_py.consumer.balancer import BalancerOptions, Provider, ServiceView
from zfoo_py.consumer.policies.catalog import BALANCERS
from zfoo_py.errors import NoProviderError

MODULES = {"visits": 10, "pages": 11}
VISITS, PAGES = ("visits", "visits"), ("pages", "pages")


class Both:
    """zfoo and zfoo_py, side by side: what happens to one happens to the other.

    Args:
        policy: zfoo's balancer, for both service types.
        capacity: of both caches.
    """

    def __init__(self, policy, *, capacity=100_000):
        self.policy = policy
        self.java = JavaConsumer(MODULES, {"visits": policy, "pages": policy})
        cached = BALANCERS["cached-consistent-hash"]
        options = BalancerOptions(rng=random.Random(1), max_entries=capacity)
        self.ours = ConsumerWorld(service("visits", cached(options)), service("pages", cached(options)))
        self.registrations = {}

    def connect(self, sid, *modules):
        found = registration(sid, *modules)
        self.registrations[sid] = found
        self.java.connect(sid, found.ring_name, *((name, name) for name in modules))
        self.ours.up(sid, found)

    def lose(self, sid):
        del self.java.sessions[sid]
        self.ours.down(sid)

    def java_picks(self, module, keys):
        return [self.java.route(module, key).register for key in keys]

    def our_picks(self, module, keys):
        ask = self.ours.ask if module == "visits" else self.ours.ask_page
        return [ask(key).provider for key in keys]

    def right(self, module, keys):
        """Whom a consumer that starts now would pick."""
        live = [sid for sid in self.java.sessions if any(name == module for name, _ in self.java_modules(sid))]
        names = [self.registrations[sid].ring_name for sid in live]
        return [owner(names, key) for key in keys]

    def java_modules(self, sid):
        return self.java.sessions[sid].provider_modules

    def ours_is_right(self, module, keys):
        return self.our_picks(module, keys) == self.right(module, keys)


def today(**more):
    """Java as it is now, with some providers of visits."""
    both = Both(CachedConsistentHash([0.0], **more), **more)
    for sid in (1, 2, 3):
        both.connect(sid, "visits")
    return both


def in_2024():
    """Java as it was in January 2024, with providers of two service types."""
    both = Both(Memory2024())
    for sid, module in enumerate(("visits", "visits", "pages", "pages"), 1):
        both.connect(sid, module)
    return both


def differing(one, other):
    return sum(a != b for a, b in zip(one, other, strict=True))


# --------------------------------------------------------------------------------------- the models are right
def test_for_keys_never_seen_the_models_route_as_the_ring_does():
    """Else a fault below could be the model's own."""
    keys = [*range(200), "a", "b", 2.5, True]
    for both in (today(), in_2024()):
        assert both.java_picks("visits", keys[:200]) == both.right("visits", keys[:200])
        assert both.java_picks("visits", ["a", "b", True]) == both.right("visits", ["a", "b", True])


# ------------------------------------------------------------------------------------------ the cached key
@pytest.mark.parametrize("bit", [56, 57, 60, 63])
def test_java_loses_the_upper_bits_of_a_number(bit):
    """2^56 is the first bit that `<< 8` pushes out of a long."""
    both = today()
    low = list(range(1, 300))
    high = [key + (1 << bit) for key in low]
    first = both.java_picks("visits", low)
    assert both.java_picks("visits", high) == first
    assert differing(first, both.right("visits", high)) > 100
    assert both.ours_is_right("visits", low)
    assert both.ours_is_right("visits", high)


def test_java_takes_numbers_that_differ_in_their_fraction_for_one():
    both = today()
    whole = list(range(100, 400))
    for keys in ([key + 0.2 for key in whole], [key + 0.7 for key in whole], [float(key) for key in whole]):
        assert both.java_picks("visits", whole) == both.java_picks("visits", keys)
        assert differing(both.java_picks("visits", keys), both.right("visits", keys)) > 100
        assert both.ours_is_right("visits", whole)
        assert both.ours_is_right("visits", keys)


def test_java_remembers_numbers_only():
    both = today()
    keys = ["10.0.0.7", "user-7", True] * 10
    both.java_picks("visits", keys)
    assert len(both.policy.cache.entries) == 0
    assert both.policy.hashed == 30
    keys += [b"raw", ("room", 7), 2.5] * 10
    assert both.ours_is_right("visits", keys)
    figures = both.ours.stats()["services"]["visits"]
    assert (figures["entries"], figures["misses"], figures["hits"]) == (6, 6, 54)


# ------------------------------------------------------------------------------------ after a membership change
def test_java_keeps_a_key_where_it_was_and_so_disagrees_with_a_consumer_that_starts_now():
    both = Both(CachedConsistentHash([0.0]))
    for sid in range(1, 6):
        both.connect(sid, "visits")
    keys = list(range(3000))
    before = both.java_picks("visits", keys)
    both.our_picks("visits", keys)
    both.connect(6, "visits")
    assert both.java_picks("visits", keys) == before
    assert 0.12 < differing(before, both.right("visits", keys)) / len(keys) < 0.21, "a sixth should have moved"
    assert both.ours_is_right("visits", keys)


def test_javas_map_depends_on_history():
    """The same sessions in the end, and two consumers that send the same user to different places."""
    one, other = today(), Both(CachedConsistentHash([0.0]))
    keys = list(range(500))
    other.connect(1, "visits")
    other.java_picks("visits", keys)
    other.our_picks("visits", keys)
    for sid in (2, 3):
        other.connect(sid, "visits")
    assert differing(one.java_picks("visits", keys), other.java_picks("visits", keys)) > 200
    assert one.our_picks("visits", keys) == other.our_picks("visits", keys) == one.right("visits", keys)


def test_java_keeps_the_keys_of_a_dead_provider_until_they_expire():
    both = today()
    keys = list(range(900))
    of_first = [key for key, name in zip(keys, both.java_picks("visits", keys), strict=True) if "-1 |" in name]
    both.our_picks("visits", keys)
    both.lose(1)
    both.java.route("visits", "something else")
    sids = [entry[1] for entry in both.policy.cache.entries.values()]
    assert sids.count(1) == len(of_first) > 200
    both.ours.later()
    figures = both.ours.stats()["services"]["visits"]
    assert figures["entries"] == 900 - len(of_first)
    assert figures["evictions"]["provider_down"] == len(of_first)
    assert both.ours_is_right("visits", keys)


def test_java_returns_a_session_that_is_closed_and_one_that_does_not_serve_the_module_any_more():
    both = today()
    keys = [key for key in range(100) if both.java.route("visits", key).sid == 1]
    both.our_picks("visits", keys)
    session = both.java.sessions[1]
    session.is_active = False
    assert {both.java.route("visits", key) for key in keys} == {session}
    session.is_active, session.provider_modules = True, (PAGES,)
    assert {both.java.route("visits", key) for key in keys} == {session}, "it is not in the list it was given"
    both.ours.down(1)
    both.ours.up(9, registration(1, "pages"))
    assert set(both.our_picks("visits", keys)) <= {registration(sid, "visits").ring_name for sid in (2, 3)}


# -------------------------------------------------------------------------------------------- service types
def test_java_balances_a_type_by_the_policy_of_another_that_the_same_node_offers():
    policies = {"pages": Random(), "visits": ConsistentHash()}
    java = JavaConsumer(MODULES, policies)
    ours = ConsumerWorld(service("pages", "random"), service("visits"))
    for sid in (1, 2, 3):
        both = registration(sid, "pages", "visits")
        java.connect(sid, both.ring_name, PAGES, VISITS)
        ours.up(sid, both)
    assert java.load_balancer(java.find_providers("visits")) is policies["pages"]
    assert len({java.route("visits", 7).register for _ in range(50)}) == 3, "one key, everywhere"
    assert len({ours.ask(7).provider for _ in range(50)}) == 1
    assert ours.ask(7).provider == owner(ours.ring_names(), 7)
    assert len({ours.ask_page(7).provider for _ in range(50)}) == 3


def test_javas_choice_of_the_policy_depends_on_the_order_of_its_session_map():
    """Sid 16 is in the first of 16 buckets, sid 1 in the second: whoever connected later may come first."""
    policies = {"pages": Random(), "visits": ConsistentHash()}
    java = JavaConsumer(MODULES, policies)
    java.connect(1, "one", VISITS)
    assert java.load_balancer(java.find_providers("visits")) is policies["visits"]
    java.connect(16, "sixteen", PAGES, VISITS)
    assert java.load_balancer(java.find_providers("visits")) is policies["pages"]


def test_java_misrouted_in_2024_a_user_known_to_one_type_went_there_for_every_type():
    both = in_2024()
    keys = list(range(200))
    pages = {registration(sid, "pages").ring_name for sid in (3, 4)}
    both.java_picks("pages", keys)
    both.our_picks("pages", keys)
    assert set(both.java_picks("visits", keys)) == pages, "providers that do not serve visits"
    assert both.ours_is_right("visits", keys)
    assert both.ours_is_right("pages", keys)


def test_java_sends_to_a_provider_of_the_wrong_type_even_when_there_is_none_of_the_right_one():
    both = in_2024()
    both.java_picks("visits", [7])
    both.our_picks("visits", [7])
    for sid in (1, 2):
        both.lose(sid)
    with pytest.raises(LookupError):
        both.java.route("visits", 7)
    assert isinstance(both.ours.ask(7).exception(), NoProviderError)
    assert both.ours.stats()["services"]["visits"]["entries"] == 0


# --------------------------------------------------------------------------------------------------- memory
def test_javas_memo_of_2024_grew_for_ever():
    """Keys that never come again, and the keys of providers that are gone, stay; nothing bounds them."""
    both = Both(Memory2024(), capacity=1000)
    both.connect(1, "visits")
    both.connect(2, "visits")
    keys = iter(range(10**9))
    for turn in range(1, 6):
        batch = [next(keys) for _ in range(1000)]
        both.java_picks("visits", batch)
        both.our_picks("visits", batch)
        assert len(both.policy.memory) == 1000 * turn
        assert both.ours.stats()["services"]["visits"]["entries"] <= 1000
    both.lose(1)
    gone = sum(sid == 1 for sid in both.policy.memory.values())
    assert gone > 2000
    both.java_picks("visits", [next(keys) for _ in range(100)])
    assert sum(sid == 1 for sid in both.policy.memory.values()) == gone
    both.ours.later(3600)
    for _ in range(800):
        both.ours.later(1)
    assert both.ours.stats()["services"]["visits"]["entries"] == 0


def test_java_forgets_nothing_while_nobody_calls():
    now_s = [0.0]
    both = Both(CachedConsistentHash(now_s))
    both.connect(1, "visits")
    both.java_picks("visits", range(500))
    both.our_picks("visits", range(500))
    for _ in range(1000):
        now_s[0] += 1
        both.ours.later(1)
    assert len(both.policy.cache.entries) == 500
    assert both.ours.stats()["services"]["visits"]["entries"] == 0


def test_java_exceeds_its_capacity_by_13_percent_and_then_sorts_everything_in_one_call():
    both = Both(CachedConsistentHash([0.0], capacity=1000), capacity=1000)
    both.connect(1, "visits")
    most = ours_most = 0
    for key in range(1500):
        both.java.route("visits", key)
        most = max(most, len(both.policy.cache.entries))
        both.ours.ask(key)
        ours_most = max(ours_most, len(both.ours.actor._services["visits"].balancer.cache))
    assert most == 1130
    assert both.policy.cache.longest_pass == 1131
    assert ours_most == 1000


# ---------------------------------------------------------------------------------------------------- cost
class Untouchable(tuple):
    """Providers that nobody may walk through."""

    __slots__ = ()

    def __iter__(self):
        raise AssertionError("a pick walked through all providers")

    __getitem__ = __contains__ = __iter__


def test_java_walks_all_sessions_on_every_call():
    java = JavaConsumer(MODULES, {"visits": CachedConsistentHash([0.0])})
    view = ServiceView("visits")
    balancer = BALANCERS["cached-consistent-hash"](BalancerOptions(rng=random.Random(1)))
    for sid in range(100):
        provider = Provider(registration(sid).ring_name)
        java.connect(sid, provider.ring_name, VISITS, PAGES)
        view = view.joined(provider, sid)
        balancer.on_up(provider)
    java.route("visits", 7)
    before = java.visited
    java.route("visits", 7)
    assert java.visited - before == 200, "100 sessions of 2 modules, for a key that is remembered"
    blind = ServiceView("visits", Untouchable(view.providers))
    assert balancer.pick(blind, 7) is balancer.pick(view, 7)
    assert balancer.pick(blind, "never seen") is balancer.pick(view, "never seen")
