"""An explanation is what a pick would do, and leaves no trace."""

from __future__ import annotations

import copy
import random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zfoo_py.consumer.balancer import Balancer, BalancerOptions, Provider, ServiceView
from zfoo_py.consumer.explain import KEY_KINDS, explanation, key_kind, read_key
from zfoo_py.consumer.policies.catalog import BALANCERS
from zfoo_py.errors import ConfigError

NAMES = [f"app-{n} | 10.0.0.{n}:1 | provider:[visits-visits]" for n in range(6)]
keys = st.one_of(
    st.integers(-3, 20), st.text(max_size=3), st.booleans(), st.floats(allow_nan=False), st.binary(max_size=2)
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("flip"), st.integers(0, 5)),
        st.tuples(st.just("pick"), keys),
        st.tuples(st.just("tick"), st.integers(1, 8)),
        st.tuples(st.just("sweep"), st.integers(0, 3)),
    ),
    max_size=25,
)


class World:
    """A policy with its providers."""

    def __init__(self, policy: str) -> None:
        options = BalancerOptions(rng=random.Random(1), max_entries=6, expire_after_access_s=5, virtual_nodes=3)
        self.balancer = BALANCERS[policy](options)
        self.view = ServiceView("visits")
        self.providers = [Provider(name, node_id=name[:5], address=name[8:18]) for name in NAMES]
        self.now_s = 0

    def flip(self, number: int) -> None:
        provider = self.providers[number]
        version = self.view.applied_version + 1
        if provider in self.view.providers:
            self.view = self.view.left(provider, version)
            self.balancer.on_down(provider)
        else:
            self.view = self.view.joined(provider, version)
            self.balancer.on_up(provider)

    def do(self, what: str, value) -> None:
        if what == "flip":
            self.flip(value)
        elif what == "pick":
            self.balancer.pick(self.view, value)
        elif what == "tick":
            self.now_s += value
            self.balancer.tick(self.now_s)
        else:
            self.balancer.sweep(value)

    def explain(self, key):
        decision = self.balancer.explain(self.view, key)
        return explanation(self.view, "visits", "policy", key, decision, self.balancer.stats().points_version)

    def state(self):
        cache = getattr(self.balancer, "cache", None)
        if cache is None:
            return self.balancer.stats()
        entries = [(e.key, e.provider.ring_name, e.checked, e.tick) for e in cache._clock]
        return self.balancer.stats(), entries, list(cache.entries)


@pytest.mark.parametrize("policy", ["consistent-hash", "cached-consistent-hash"])
@given(steps, keys)
def test_it_equals_the_pick_of_that_moment_and_changes_nothing(policy, history, key):
    world = World(policy)
    for step in history:
        world.do(*step)
    before = world.state()
    found = world.explain(key)
    assert world.state() == before
    picked = world.balancer.pick(world.view, key)
    assert (found.owner and found.owner.ring_name) == (picked and picked.ring_name)
    assert found.is_certain


@given(steps, keys)
def test_what_it_says_of_the_cache_is_what_the_pick_does(history, key):
    world = World("cached-consistent-hash")
    for step in history:
        world.do(*step)
    found = world.explain(key)
    before = world.balancer.stats()
    world.balancer.pick(world.view, key)
    after = world.balancer.stats()
    assert (found.cached.state == "fresh") <= (after.hits == before.hits + 1)
    assert (found.cached.state == "absent" and bool(world.view.providers)) <= (after.misses == before.misses + 1)
    expired = after.evictions["expired"] - before.evictions["expired"]
    if found.cached.state != "absent":  # to make room for it, other entries may have expired
        assert expired == (found.cached.state == "expired")


@given(steps, keys)
def test_the_heirs_follow_in_that_order(history, key):
    world = World("consistent-hash")
    for step in history:
        world.do(*step)
    found = world.explain(key)
    for heir in found.heirs:
        world.flip(NAMES.index(world.explain(key).owner.ring_name))
        assert world.explain(key).owner == heir


def test_chance_is_not_told_and_not_drawn():
    world = World("random")
    world.flip(0)
    world.flip(1)
    state = world.balancer._random.__self__.getstate()
    found = world.explain("key")
    assert world.balancer._random.__self__.getstate() == state
    assert (found.owner, found.is_certain, found.point, found.cached) == (None, False, None, None)
    assert str(found).startswith("visits, key 'key' (str) → any of 2 providers\n")
    assert "  versions   membership 2" in str(found)


def test_without_key_any_provider_is_right():
    world = World("cached-consistent-hash")
    world.flip(0)
    found = world.explain(None)
    assert (found.key, found.hash, found.lane, found.owner, found.is_certain) == (None, None, None, None, False)
    assert str(found).startswith("visits, without key → any of 1 providers")


def test_a_policy_of_ones_own_may_keep_its_reasons():
    class Mine(Balancer):
        pass

    decision = Mine().explain(ServiceView("visits"), "key")
    assert decision.owner is None
    assert not decision.is_certain
    assert "Mine does not explain itself" in decision.because[0]


def test_the_text_reads_well():
    world = World("cached-consistent-hash")
    for number in range(4):
        world.flip(number)
    world.do("pick", "10.0.0.7")
    world.do("tick", 3)
    world.flip(5)
    text = str(world.explain("10.0.0.7"))
    owner = world.explain("10.0.0.7").owner
    first, *rows = text.splitlines()
    assert first == f"visits, key '10.0.0.7' (str) → {owner.node_id} at {owner.address}"
    shown = {row[2:13].strip(): row[13:] for row in rows if row[2:13].strip()}
    assert list(shown) == ["ring name", "hash", "ring point", "cached", "next", "policy", "lane", "versions"]
    assert shown["ring name"] == owner.ring_name
    assert shown["cached"] == "yes, outdated: checked at ring 4, last asked for 3 s ago"
    assert shown["versions"] == "ring 5, membership 5"
    assert "(if it leaves)" in shown["next"]


def test_nobody_serves_it():
    text = str(World("cached-consistent-hash").explain(7))
    assert text.startswith("visits, key '7' (int) → nobody: no provider serves it")


def test_as_dict_is_plain_json():
    world = World("cached-consistent-hash")
    world.flip(1)
    found = world.explain("\ud800 odd").as_dict()
    assert found["key"] == "\\ud800 odd"
    assert found["owner"]["ring_name"] == NAMES[1]
    assert found == copy.deepcopy(found)
    assert isinstance(found["because"], list)


@pytest.mark.parametrize(
    ("kind", "text", "key"),
    [
        ("str", "7", "7"),
        ("int", "-7", -7),
        ("float", "1e10", 1e10),
        ("bool", "True", True),
        ("bytes", "0x00ff", b"\x00\xff"),
        ("bytes", "00ff", b"\x00\xff"),
        ("uuid", "6f2c0d52-0000-4000-8000-000000000000", UUID("6f2c0d52-0000-4000-8000-000000000000")),
    ],
)
def test_keys_that_people_write(kind, text, key):
    assert read_key(kind, text) == key
    assert type(read_key(kind, text)) is type(key)
    assert key_kind(read_key(kind, text)) == kind


@pytest.mark.parametrize("kind", sorted(set(KEY_KINDS) - {"str"}))
def test_a_text_that_is_no_such_key(kind):
    with pytest.raises(ConfigError, match=f"no key of type {kind}"):
        read_key(kind, "zz")


def test_an_unknown_kind():
    with pytest.raises(ConfigError, match="no kind of key: use str, int"):
        read_key("list", "1")
