"""Kills and joins: measured, one at a time, never the last provider; over a consumer's own ring and cache."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from types import SimpleNamespace

from samples.replay import Recorder
from samples.story_orders import MAX_PROVIDERS, MAX_WAITING_ORDERS, Orders
from zfoo_py.consumer.balancer import BalancerOptions, Provider, ServiceView
from zfoo_py.consumer.policies.catalog import BALANCERS
from zfoo_py.events import Events, MembershipChanged, ProviderDown, ProviderUp

KEYS = [f"10.0.0.{n}" for n in range(200)]


class FakeCluster:
    """Providers of visits that need no process: one consumer's balancer, and its events."""

    def __init__(self, providers=3):
        self.recorder = Recorder(None)
        self.node = SimpleNamespace(events=Events())
        self.balancer = BALANCERS["cached-consistent-hash"](BalancerOptions(rng=Random(1)))
        self.view = ServiceView("visits")
        self.providers = {}
        self.said = []
        self.failed = Counter()
        self.done = []
        self.version = 0
        for number in range(1, providers + 1):
            self.up(f"visits-{number}")
        self.orders = Orders(self, lambda: self.balancer.cache, self.failed, self.said.append)

    def up(self, name):
        provider = Provider(f"{name} | 127.0.0.1:1 | provider:[visits-visits]", node_id=name)
        self.providers[name] = provider
        self.balancer.on_up(provider)
        self.changed(ProviderUp, provider)

    def down(self, name):
        provider = self.providers.pop(name)
        self.balancer.on_down(provider)
        self.changed(ProviderDown, provider, "it was killed")

    def changed(self, event, provider, *reason):
        self.version += 1
        self.node.events.publish(
            event(self.version, provider.ring_name, provider.node_id, "127.0.0.1:1", ("visits",), *reason, 1)
        )
        members = tuple((one.ring_name, name) for name, one in self.providers.items())
        self.recorder.membership(MembershipChanged(self.version, {"visits": members}))

    async def kill(self, name):
        self.done.append(f"kill {name}")
        self.down(name)
        self.ask_everything()

    async def start(self, name):
        self.done.append(f"start {name}")
        self.up(name)
        self.ask_everything()

    def ask_everything(self):
        self.balancer.sweep(10_000)
        for n, key in enumerate(KEYS):
            provider = self.balancer.pick(self.view, key)
            self.orders.took((n, "visits", key, 0, provider.node_id, 1, None, "ok", self.version))


def told(coroutine_of, providers=3):
    """Let something happen to a fake cluster; return the cluster."""

    async def happen():
        cluster = FakeCluster(providers)
        cluster.ask_everything()
        async with asyncio.timeout(30):
            await coroutine_of(cluster.orders)
        return cluster

    return asyncio.run(happen())


def test_a_kill_is_measured_and_said():
    cluster = told(lambda orders: orders.kill("visits-2"))
    assert cluster.done == ["kill visits-2"]
    (line,) = cluster.said
    down = cluster.balancer.stats().evictions["provider_down"]
    assert line.kind == "fact"
    assert line.text.startswith("visits-2 killed: noticed after ")
    assert f"{down:,} keys evicted, exactly those moved, 0 others; first answer" in line.text
    assert 0 < down < 200
    assert cluster.orders.dead == ["visits-2"]
    assert [title for title, _ in cluster.orders.rings] == ["at first", "visits-2 killed"]
    assert set(cluster.orders.rings[1][1]) == {"visits-1", "visits-3"}


def test_a_join_is_measured_and_said():
    cluster = told(lambda orders: orders.add())
    assert cluster.done == ["start visits-4"]
    (line,) = cluster.said
    up = cluster.balancer.stats().evictions["provider_up"]
    assert f"{up:,} of 200 keys moved to it, exactly those moved, 0 others; first answer from it " in line.text
    assert cluster.orders.offers["visits-4"] == ("visits",)
    assert cluster.orders.next_name() == "visits-5"


def test_asks_that_failed_meanwhile_are_told():
    async def fail(orders):
        cluster = orders._cluster
        cluster.failed["SessionClosedError"] = 5  # long before
        inner = cluster.kill

        async def kill(name):
            cluster.failed["SessionClosedError"] += 2
            await inner(name)

        cluster.kill = kill
        await orders.kill()

    cluster = told(fail)
    assert cluster.done == ["kill visits-3"], "by default the one that joined last"
    assert cluster.said[0].text.endswith("; 2 asks on the way failed")


def test_the_last_provider_is_never_killed():
    async def kill_all(orders):
        for _ in range(4):
            await orders.kill()

    cluster = told(kill_all)
    assert cluster.done == ["kill visits-3", "kill visits-2"]
    refused = "k: visits-1 is the last provider of visits; add one first (a)"
    assert [line.text for line in cluster.said[2:]] == [refused, refused]


def test_a_name_is_of_one_life_and_there_is_a_bound():
    async def add_many(orders):
        await orders.kill("visits-2")
        for _ in range(MAX_PROVIDERS):
            await orders.add()

    cluster = told(add_many)
    assert cluster.done == ["kill visits-2", *(f"start visits-{n}" for n in range(4, 4 + MAX_PROVIDERS - 2))]
    assert cluster.said[-1].text.startswith(f"a: {MAX_PROVIDERS} providers of visits are enough")


def test_the_last_moved_key_is_explained_by_whoever_can():
    cluster = told(lambda orders: orders.explain_last())
    assert cluster.said[0].text == "e: no key has moved yet; press k or a first"

    async def kill_and_explain(orders):
        await orders.kill("visits-2")
        await orders.explain_last()

    cluster = told(kill_and_explain)
    text = cluster.said[1].text
    key = text.removeprefix("why a key moved: ").partition(" ")[0]
    owner = cluster.balancer.pick(cluster.view, key).node_id
    assert ", of visits-2, and now it is " in text
    assert text.endswith(f", of {owner}: so that is its owner now")


def test_what_is_typed_is_done_in_order_and_no_more_than_a_few_wait():
    async def type_and_finish(orders):
        for order in ["kill", "add", "explain", "kill", "add", "kill"]:
            orders.typed(order)
        obeying = asyncio.create_task(orders.obey())
        while len(orders._cluster.said) < MAX_WAITING_ORDERS:
            await asyncio.sleep(0)
        obeying.cancel()
        await orders.finish()

    cluster = told(type_and_finish)
    assert cluster.done == ["kill visits-3", "start visits-4", "kill visits-4"]
    assert cluster.said[2].text.startswith("why a key moved: ")
