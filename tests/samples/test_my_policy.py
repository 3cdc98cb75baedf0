"""The sample policy does what it says, behind the guard and in a node that finds it by name."""

from __future__ import annotations

import asyncio
import random

import pytest

from samples.my_policy import Sticky
from tests.support.nodes import TABLE, Tallies, TallyAsk, tallies
from zfoo_py import Node, NodeConfig
from zfoo_py.consumer.balancer import BalancerOptions, Provider, ServiceView
from zfoo_py.consumer.policies.user_policy import made
from zfoo_py.errors import ConfigError
from zfoo_py.testing import MemoryNetwork

NAME = "samples.my_policy:Sticky"


def test_a_key_keeps_its_provider_while_that_lives_and_no_longer():
    policy = made(NAME, Sticky, BalancerOptions(rng=random.Random(1)), clock=lambda: 0.0, warn=pytest.fail)
    view = ServiceView("visits")
    assert policy.pick(view, "k") is None
    for name in "ab":
        provider = Provider(name)
        view = view.joined(provider, 1)
        policy.on_up(provider)
    keys = [*range(50), *(f"k{number}" for number in range(50)), None, True, 1.0]
    before = {(type(key), key): policy.pick(view, key) for key in keys}
    assert set(before.values()) == set(view.providers)
    newcomer = Provider("c")
    policy.on_up(newcomer)
    view = view.joined(newcomer, 2)
    assert {(type(key), key): policy.pick(view, key) for key in keys} == before
    gone = view.providers[0]
    policy.on_down(gone)
    view = view.left(gone, 3)
    for key in keys:
        was = before[type(key), key]
        assert policy.pick(view, key) in ({was} if was is not gone else set(view.providers))


def test_it_remembers_no_more_keys_than_it_may():
    sticky = Sticky(BalancerOptions(rng=random.Random(1), named={"max_keys": 3}))
    view = ServiceView("visits", (Provider("a"),))
    for key in range(10):
        sticky.pick(view, key)
    assert [key for _, key in sticky._homes] == [7, 8, 9]


def test_a_node_finds_it_by_module_and_class_in_arguments_and_in_toml(tmp_path):
    async def main():
        network = MemoryNetwork()
        (tmp_path / "c.toml").write_text(
            f'[[consumer]]\nmodule = "tallies"\nbalancer = "{NAME}"\noptions = {{ max_keys = 5 }}\n'
        )
        given = {"receivers": [], "table": TABLE, "network": network}
        hosting = {"address": "127.0.0.1:0", "host": True}
        async with Node(id="d", discovery=hosting, **given) as d:
            where = {"address": d.discovery_address}
            provider = {**given, "receivers": [Tallies("p")]}
            config = NodeConfig.from_toml(tmp_path / "c.toml", {}, discovery=where)
            async with (
                Node(id="p", provides=[tallies], discovery=where, **provider),
                Node(id="c", consumes=[(tallies, "tallies", NAME)], discovery=where, **given) as one,
                Node(config, **given) as other,
            ):
                for consumer in (one, other):
                    for key in range(10):
                        assert (await consumer.consumer.async_ask(TallyAsk(str(key)))).served_by == "p"
                    assert (await consumer.consumer.stats())["services"]["tallies"]["balancer"] == NAME
                policy = other._engine._services[0].balancer._policy
                assert len(policy._homes) == 5

    asyncio.run(main())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "samples.my_policy:Stiky",
            r"consumer\[0\]\.balancer: .* has no class 'Stiky' \(did you mean 'Sticky'",
        ),
        ("samples.no_policy:Sticky", r"consumer\[0\]\.balancer: cannot import 'samples.no_policy'"),
        ("samples.my_policy:MAX_KEYS", "has no class 'MAX_KEYS'"),
        ("stiky", "there is no balancer 'stiky'; there are bounded-consistent-hash"),
    ],
)
def test_what_is_not_there_is_said_before_the_node_starts(name, text):
    with pytest.raises(ConfigError, match=text):
        Node(consumes=[(tallies, "tallies", name)], receivers=[], table=TABLE)


def test_a_wrong_option_is_said_before_the_node_starts():
    consumes = [("tallies", "tallies", "bounded-consistent-hash", {"facto": 2})]
    with pytest.raises(ConfigError, match=r"consumer\[0\]\.options\.facto: no such key \(did you mean 'factor'\?\)"):
        Node(consumes=consumes, receivers=[], table=TABLE)
