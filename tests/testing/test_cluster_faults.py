"""What can go wrong in a cluster, by name: what consumers see of it, and when."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.greetings import HelloAsk, greetings
from zfoo_py import AskTimeoutError, BackpressureError, ConfigError, SessionClosedError
from zfoo_py.engine import GOODBYE_S
from zfoo_py.events import ProviderDown, ProviderUp


def key_of(c, name):
    """Return a key that this provider owns."""
    return next(key for key in map(str, range(1000)) if c.serving(greetings, key) == name)


def downs(c):
    """Return a list that gathers (fake seconds from now, node, reason) of each ProviderDown."""
    seen, began_s = [], c.clock.time()
    c.node.events.subscribe(
        ProviderDown, lambda down: seen.append((round(c.clock.time() - began_s, 3), down.node_id, down.reason))
    )
    return seen


async def test_a_killed_provider_is_noticed_at_once_and_only_its_keys_move(zfoo_cluster):
    async with zfoo_cluster(greetings, providers=3) as c:
        before = {str(n): (await c.ask(HelloAsk(str(n)))).provider for n in range(60)}
        seen = downs(c)
        c.kill("provider-2")
        in_flight = c.ask(HelloAsk(key_of(c, "provider-2")))
        await c.settle()
        assert seen == [(0.0, "provider-2", "the peer closed it")]
        with pytest.raises(SessionClosedError):
            await in_flight
        assert list(c.providers) == ["provider-1", "provider-3"]
        after = {key: (await c.ask(HelloAsk(key))).provider for key in before}
        assert "provider-2" not in after.values()
        assert all(after[key] == name for key, name in before.items() if name != "provider-2")


async def test_a_killed_provider_comes_back_as_a_new_process_at_its_old_place(zfoo_cluster):
    """Its keys come back to it, its state does not."""
    async with zfoo_cluster(greetings) as c:
        key, address = key_of(c, "provider-1"), c.providers["provider-1"].address
        assert [(await c.ask(HelloAsk(key))).count for _ in range(2)] == [1, 2]
        c.kill("provider-1")
        await c.settle()
        assert (await c.ask(HelloAsk(key))).provider != "provider-1"
        node = await c.restart("provider-1")
        assert node is c.providers["provider-1"]
        assert node.address == address
        answer = await c.ask(HelloAsk(key))
        assert (answer.provider, answer.count) == ("provider-1", 1)


async def test_the_receivers_of_a_killed_provider_are_cancelled(zfoo_cluster):
    """And nobody else's. It is not stopped in order: its ``on_stop`` is not called."""
    called = []
    async with zfoo_cluster(greetings, ask_timeout_s=60.0, on_stop=lambda node: called.append(node.id)) as c:
        keys = {name: key_of(c, name) for name in ("provider-1", "provider-2")}
        asked = {name: c.ask(HelloAsk(key, after_s=10.0)) for name, key in keys.items()}
        await c.settle()
        c.kill("provider-1")
        with pytest.raises(SessionClosedError):
            await asked["provider-1"]
        assert (await asked["provider-2"]).count == 1
    assert set(called) == {"provider-2", "provider-3", "consumer-1", "discovery"}


async def test_a_silent_provider_is_down_after_two_silences_and_not_before(zfoo_cluster):
    """Heartbeat interval + timeout without a sign: ProviderDown, its asks fail, its keys move."""
    async with zfoo_cluster(greetings, heartbeat_interval_s=2.0, heartbeat_timeout_s=1.0, ask_timeout_s=60.0) as c:
        seen, key = downs(c), key_of(c, "provider-1")
        c.stop("provider-1")
        asked = c.ask(HelloAsk(key))
        await c.advance(1.9)
        assert seen == []
        assert c.serving(greetings, key) == "provider-1"
        await c.advance(1.2)
        assert [(name, reason) for _, name, reason in seen] == [("provider-1", "no reply to the heartbeat")]
        assert 2.0 <= seen[0][0] <= 3.0
        with pytest.raises(SessionClosedError):
            await asked
        assert c.serving(greetings, key) != "provider-1"


async def test_a_provider_that_is_stopped_for_a_moment_answers_later(zfoo_cluster):
    """What it was sent waits; no session is lost."""
    async with zfoo_cluster(greetings) as c:
        seen, key = downs(c), key_of(c, "provider-1")
        c.stop("provider-1")
        asked = c.ask(HelloAsk(key))
        await c.advance(2.0)
        assert not asked.done()
        c.cont("provider-1")
        assert (await asked).count == 1
        await c.advance(60.0)
        assert seen == []


async def test_a_provider_that_was_stopped_for_long_is_found_again(zfoo_cluster):
    async with zfoo_cluster(greetings) as c:
        seen, key = downs(c), key_of(c, "provider-1")
        assert (await c.ask(HelloAsk(key))).count == 1
        c.stop("provider-1")
        await c.advance(60.0)
        assert len(seen) == 1
        c.heal()
        await c.advance(10.0)
        answer = await c.ask(HelloAsk(key))
        assert (answer.provider, answer.count) == ("provider-1", 2), "the same process"


@pytest.mark.parametrize("direction", ["both", "in", "out"])
async def test_a_black_hole_lets_asks_time_out_and_is_found_by_the_heartbeat(zfoo_cluster, direction):
    """The connection stays. Whether the receiver ran depends on which way is lost."""
    async with zfoo_cluster(greetings) as c:
        seen, key = downs(c), key_of(c, "provider-1")
        c.drop("provider-1", direction=direction)
        with pytest.raises(AskTimeoutError):
            await c.ask(HelloAsk(key))
        assert seen == []
        c.heal("provider-1")
        assert (await c.ask(HelloAsk(key))).count == (2 if direction == "out" else 1)
        c.drop("provider-1", direction=direction)
        await c.advance(12.0)
        assert [name for _, name, _ in seen] == ["provider-1"]
        c.heal()
        await c.advance(12.0)
        assert c.serving(greetings, key) == "provider-1"


async def test_a_partition_is_between_two(zfoo_cluster):
    """One consumer loses the provider, the other does not."""
    async with zfoo_cluster(greetings, consumers=2) as c:
        key = key_of(c, "provider-1")
        one, other = (node.consumer for node in c.consumers.values())
        c.drop("consumer-1", "provider-1")
        await c.advance(12.0)
        assert (await other.async_ask(HelloAsk(key))).provider == "provider-1"
        assert (await one.async_ask(HelloAsk(key))).provider != "provider-1"
        c.heal("consumer-1")
        await c.advance(12.0)
        assert (await one.async_ask(HelloAsk(key))).provider == "provider-1"


async def test_delays_add_up_per_direction(zfoo_cluster):
    async with zfoo_cluster(greetings) as c:
        key = key_of(c, "provider-1")

        async def takes():
            began_s = c.clock.time()
            await c.ask(HelloAsk(key))
            return c.clock.time() - began_s

        c.delay("provider-1", 0.05)
        assert await takes() == pytest.approx(0.1)
        c.delay("provider-1", 0.2, direction="in")
        assert await takes() == pytest.approx(0.25)
        c.delay("consumer-1", 1.0, direction="out")
        assert await takes() == pytest.approx(1.25)
        c.heal()
        assert await takes() == 0.0
        c.delay("provider-1", 5.0, direction="out")
        with pytest.raises(AskTimeoutError):
            await c.ask(HelloAsk(key))


async def test_cut_connections_come_back(zfoo_cluster):
    """To one, or to all; keys do not stay away, and asks in flight may have run."""
    async with zfoo_cluster(greetings) as c:
        seen, ups, key = downs(c), [], key_of(c, "provider-1")
        c.node.events.subscribe(ProviderUp, lambda up: ups.append(up.node_id))
        asked = c.ask(HelloAsk(key, after_s=1.0))
        await c.settle()
        c.reset("provider-1", "consumer-1")
        with pytest.raises(SessionClosedError) as lost:
            await asked
        assert lost.value.may_have_run
        await c.advance(1.0)
        assert ([name for _, name, _ in seen], ups) == (["provider-1"], ["provider-1"])
        c.reset("consumer-1")
        await c.advance(1.0)
        assert sorted(ups[1:]) == ["provider-1", "provider-2", "provider-3"]
        assert (await c.ask(HelloAsk(key))).provider == "provider-1"


async def test_providers_join_and_leave(zfoo_cluster):
    """A joining one takes some keys; a stopping one finishes what it has begun, and only its own keys move."""
    async with zfoo_cluster(greetings, ask_timeout_s=30.0) as c:
        before = {str(n): c.serving(greetings, str(n)) for n in range(200)}
        node = await c.add(workers=1)
        assert (node.id, node.config.limits.workers) == ("provider-4", 1)
        joined = {key: c.serving(greetings, key) for key in before}
        moved = {key for key in before if joined[key] != before[key]}
        assert moved
        assert {joined[key] for key in moved} == {"provider-4"}
        await c.add("spare")
        with pytest.raises(ConfigError, match="spare runs already"):
            await c.add("spare")
        await c.term("spare")
        asked = c.ask(HelloAsk(min(moved), after_s=5.0))
        await c.settle()
        await c.term("provider-4")
        assert (await asked).provider == "provider-4"
        assert {key: c.serving(greetings, key) for key in before} == before
        await c.restart("provider-1")
        assert {key: c.serving(greetings, key) for key in before} == before


async def test_without_discovery_what_is_known_goes_on(zfoo_cluster):
    """And who joins meanwhile is seen once it is back."""
    async with zfoo_cluster(greetings) as c:
        c.kill("discovery")
        await c.advance(20.0)
        assert (await c.ask(HelloAsk("ada"))).count == 1
        await c.add()
        assert "provider-4" not in {c.serving(greetings, str(n)) for n in range(100)}
        await c.restart("discovery")
        await c.advance(20.0)
        assert "provider-4" in {c.serving(greetings, str(n)) for n in range(100)}


async def test_names_are_checked(zfoo_cluster):
    async with zfoo_cluster(greetings, providers=1) as c:
        for fault in (c.kill, c.stop, c.cont, c.drop, c.reset, c.slow_reader, c.heal, lambda name: c.delay(name, 1.0)):
            with pytest.raises(ConfigError, match=r"called 'provider_1'.*there are discovery, provider-1, consumer-1"):
                fault("provider_1")
        with pytest.raises(ConfigError, match=r"direction is \"both\", \"in\" or \"out\", not 'up'"):
            c.drop("provider-1", direction="up")
        c.kill("provider-1")
        with pytest.raises(ConfigError, match=r"does not run: .* `await c\.restart\('provider-1'\)` brings it back"):
            c.kill("provider-1")


async def test_a_provider_may_be_killed_while_it_stops(zfoo_cluster):
    """Its draining is cut short, and with it the receiver that it waited for."""
    async with zfoo_cluster(greetings, ask_timeout_s=60.0) as c:
        began_s, node = c.clock.time(), c.providers["provider-1"]
        asked = c.ask(HelloAsk(key_of(c, "provider-1"), after_s=8.0))
        await c.settle()
        stopping = asyncio.create_task(c.term("provider-1"))
        await c.advance(1.0)
        assert not stopping.done()
        c.kill("provider-1")
        await stopping
        with pytest.raises(SessionClosedError):
            await asked
        assert c.clock.time() - began_s == 1.0
        assert not node.is_running
        await node.abort()


async def test_a_cluster_in_ruins_ends_soon(zfoo_cluster, fake_clock):
    """Whatever is paused, lost, delayed or killed when the test ends; and nothing of it goes on.

    A peer that has lost the goodbye is waited for, by each node.
    """
    async with zfoo_cluster(greetings) as c:
        c.stop("provider-1")
        c.drop("provider-2")
        c.delay("consumer-1", 100.0)
        nodes = list(c.nodes.values())
        c.kill("provider-3")
        c.ask(HelloAsk("ada"))
        began_s = fake_clock.time()
    assert fake_clock.time() - began_s <= GOODBYE_S * len(nodes)
    assert not any(node.is_running for node in nodes)


async def test_a_cluster_of_which_nobody_lives_ends_too(zfoo_cluster):
    async with zfoo_cluster(greetings) as c:
        nodes = list(c.nodes.values())
        for name in list(c.nodes):
            c.kill(name)
    assert not any(node.is_running for node in nodes)


@pytest.mark.parametrize(("direction", "arrives"), [("out", True), ("in", False), ("both", False)])
async def test_a_fault_between_two_leaves_the_others_alone(zfoo_cluster, direction, arrives):
    """Of a provider and one consumer: what is lost on its way there, or on its way back; another consumer has both."""
    async with zfoo_cluster(greetings, providers=1, consumers=2) as c:
        c.drop("provider-1", "consumer-1", direction=direction)
        with pytest.raises(AskTimeoutError):
            await c.consumers["consumer-1"].consumer.async_ask(HelloAsk("ada"), timeout_s=1.0)
        answer = await c.consumers["consumer-2"].consumer.async_ask(HelloAsk("ada"))
        assert answer.count == 1 + arrives


async def test_a_delay_between_two_is_theirs_alone(zfoo_cluster):
    async with zfoo_cluster(greetings, providers=1, consumers=2) as c:
        c.delay("provider-1", 0.5, "consumer-1", direction="out")
        for name, took_s in (("consumer-1", 0.5), ("consumer-2", 0.0)):
            began_s = c.clock.time()
            await c.consumers[name].consumer.async_ask(HelloAsk("ada"))
            assert c.clock.time() - began_s == pytest.approx(took_s)


async def test_a_slow_reader_gets_nothing_and_is_heard(zfoo_cluster):
    """Its peer waits for an answer to the heartbeat, and it does not: it hears nothing, so it answers nothing."""
    async with zfoo_cluster(greetings, providers=2, heartbeat_interval_s=2.0, heartbeat_timeout_s=1.0) as c:
        key = key_of(c, "provider-1")
        c.slow_reader("consumer-1", "provider-1")
        asked = c.ask(HelloAsk(key))
        await c.advance(0.5)
        assert not asked.done(), "the provider has heard it, and its answer is not read"
        c.heal("consumer-1")
        assert (await asked).count == 1


async def test_a_flood_is_asked_at_once(zfoo_cluster):
    async with zfoo_cluster(greetings, providers=1, max_pending_asks=3) as c:
        answers = c.flood("consumer-1", (HelloAsk(f"ada-{number}") for number in range(5)))
        assert len(answers) == 5
        ends = await asyncio.gather(*answers, return_exceptions=True)
        assert [isinstance(end, BackpressureError) for end in ends] == [False] * 3 + [True] * 2
