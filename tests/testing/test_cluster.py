"""A cluster in one process: what a test finds there, without ports, without waiting."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from samples.services import Counts, VisitAsk, pages, visits
from tests.support.greetings import BlockAsk, Gate, GateAsk, HelloAsk, gates, greetings
from zfoo_py import AskTimeoutError, CallError, ConfigError, NotReadyError, ReceiverError
from zfoo_py.testing import FakeClock, cluster
from zfoo_py.testing.cluster import LONGEST_WAIT_S


async def test_a_cluster_needs_no_port_and_keeps_keys(zfoo_cluster):
    """Three providers in memory: the same key reaches the same one, and counts there; its state is its own."""
    async with zfoo_cluster(greetings, providers=3) as c:
        answers = [await c.ask(HelloAsk("ada")) for _ in range(3)]
        assert [answer.count for answer in answers] == [1, 2, 3]
        assert {answer.provider for answer in answers} == {c.serving(greetings, "ada")}
        owners = {str(n): (await c.ask(HelloAsk(str(n)))).provider for n in range(60)}
        assert set(owners.values()) == set(c.providers) == {"provider-1", "provider-2", "provider-3"}
        assert owners == {key: c.serving("greetings", key) for key in owners}


async def test_the_names_are_the_nodes(zfoo_cluster):
    """Consumers too; c.node and c.consumer are the first one's."""
    async with zfoo_cluster(greetings, providers=["left", "right"], consumers=2) as c:
        assert list(c.providers) == ["left", "right"]
        assert list(c.consumers) == ["consumer-1", "consumer-2"]
        assert set(c.nodes) == {"discovery", *c.providers, *c.consumers}
        assert c.discovery is c.nodes["discovery"]
        assert (c.node, c.consumer) == (c.consumers["consumer-1"], c.consumers["consumer-1"].consumer)
        for node in c.consumers.values():
            assert (await node.consumer.async_ask(HelloAsk("ada"))).provider == c.serving(greetings, "ada")
        assert {(await c.ask(HelloAsk(str(n)))).provider for n in range(40)} == {"left", "right"}


async def test_arguments_are_for_all_nodes_or_for_one(zfoo_cluster):
    """A name's own win; a provider that consumes waits for those it needs, in whatever order they are listed."""
    gate = {"provides": [gates], "receivers": [Gate("gate")], "consumes": [greetings], "workers": 1}
    async with zfoo_cluster(greetings, providers={"gate": gate, "greeter": {}}, consumes=[gates], workers=3) as c:
        workers = {name: node.config.limits.workers for name, node in c.nodes.items()}
        assert workers == {"gate": 1, "greeter": 3, "consumer-1": 3, "discovery": 3}
        assert (await c.ask(GateAsk("ada"))).provider == "greeter"
        began_s = c.clock.time()
        c.stop("greeter")
        with pytest.raises(CallError):
            await c.ask(GateAsk("ada"))
        assert c.clock.time() - began_s == pytest.approx(3.0), "the ask inside the receiver has a time-out too"


async def test_receivers_may_be_made_by_name(zfoo_cluster):
    """For objects that need arguments."""
    async with zfoo_cluster(provides=[visits], receivers=lambda name: [Counts(name)]) as c:
        answer = await c.ask(VisitAsk("ada", 1))
        assert answer.served_by == c.serving(visits, "ada")
        with pytest.raises(ConfigError, match="no provider of module 'pages'"):
            c.serving(pages, "ada")


async def test_only_what_is_balanced_by_key_has_an_owner(zfoo_cluster):
    async with zfoo_cluster(greetings, consumes=[("greetings", "greetings", "random")]) as c:
        with pytest.raises(ConfigError, match="balanced by 'random', so no provider owns a key"):
            c.serving(greetings, "ada")


def test_two_runs_of_one_test_are_the_same():
    """Addresses, owners, times and random choices."""

    async def run():
        async with cluster(greetings, consumes=[("greetings", "greetings", "random")]) as c:
            answers = [(await c.ask(HelloAsk("ada"))).provider for _ in range(20)]
            c.kill("provider-1")
            await c.advance(30)
            await c.restart("provider-1")
            addresses = [node.address for node in c.nodes.values()]
            return answers, addresses, c.clock.time(), (await c.node.sessions())

    assert asyncio.run(run()) == asyncio.run(run())


async def test_time_passes_only_as_far_as_it_must(zfoo_cluster):
    """An ask that is answered at once takes none, one whose receiver sleeps that much, a time-out its seconds."""
    real_s = time.monotonic()
    async with zfoo_cluster(greetings, ask_timeout_s=50.0) as c:
        began_s = c.clock.time()
        await c.ask(HelloAsk("ada"))
        assert c.clock.time() == began_s
        await c.ask(HelloAsk("ada", after_s=20.0))
        assert c.clock.time() - began_s == pytest.approx(20.0, abs=1e-3)
        with pytest.raises(AskTimeoutError):
            await c.ask(HelloAsk("ada", after_s=100.0))
        assert c.clock.time() - began_s == pytest.approx(70.0, abs=1e-3)
    assert time.monotonic() - real_s < 5


async def test_advancing_is_exact_and_sees_all_that_happens_meanwhile(zfoo_cluster, fake_clock):
    """Answers come at their own times, in order, though time is passed in one go."""
    async with zfoo_cluster(greetings, ask_timeout_s=50.0) as c:
        assert c.clock is fake_clock
        came = []
        began_s = c.clock.time()
        for after_s in (3.0, 1.0, 2.0):
            c.ask(HelloAsk(f"{after_s}", after_s)).when_complete(
                lambda done: came.append((done.result().text, round(c.clock.time() - began_s, 3)))
            )
        await c.advance(0.5)
        assert (came, c.clock.time()) == ([], began_s + 0.5)
        await c.advance(9.5)
        assert came == [("hello 1.0", 1.0), ("hello 2.0", 2.0), ("hello 3.0", 3.0)]
        assert c.clock.time() == began_s + 10.0


async def test_receivers_in_threads_are_waited_for(zfoo_cluster):
    """A ``def`` receiver runs in a thread; no fake time passes it by, and settling includes it."""
    async with zfoo_cluster(greetings) as c:
        began_s = c.clock.time()
        answers = [c.ask(BlockAsk(str(n))) for n in range(20)]
        await c.settle()
        assert all(answer.done() for answer in answers)
        assert threading.current_thread().name not in {(await answer).thread for answer in answers}
        assert c.clock.time() == began_s
    assert c.clock.time() == began_s, "nor does their end"


def test_a_test_that_waits_for_what_never_comes_fails_with_a_text():
    """Instead of hanging; time that is passed on purpose does not count."""
    answers = []

    async def main():
        async with cluster(greetings, providers=1) as c:
            await c.advance(2 * LONGEST_WAIT_S)
            answers.append(await c.ask(HelloAsk("ada")))
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError, match=r"has waited for 600 s of the fake clock, so it awaits what never comes"):
        asyncio.run(main())
    assert len(answers) == 1


async def test_a_timeout_of_the_test_itself_stays_what_it_is(zfoo_cluster):
    with pytest.raises(TimeoutError, match="mine"):
        async with zfoo_cluster(greetings, providers=1):
            raise TimeoutError("mine")


async def test_two_clusters_share_a_loop_and_a_clock(zfoo_cluster):
    """One inside the other; another clock is refused."""
    async with zfoo_cluster(greetings) as one, zfoo_cluster(greetings, providers=1) as other:
        assert (await other.ask(HelloAsk("ada"))).provider == "provider-1"
        one.kill("provider-1")
        await one.settle()
        assert (await other.ask(HelloAsk("ada"))).count == 2
        with pytest.raises(ConfigError, match="follows another FakeClock"):
            async with cluster(greetings, clock=FakeClock()):
                pass


async def test_what_cannot_start_says_why_and_leaves_nothing(zfoo_cluster):
    """The node's own errors; no real second passes."""
    with pytest.raises(NotReadyError, match="no provider of module 'greetings'"):
        async with zfoo_cluster(greetings, providers=0):
            pass
    with pytest.raises(ConfigError, match="heartbeat_interval_s"):
        async with zfoo_cluster(greetings, hearbeat_interval_s=1.0):
            pass
    with pytest.raises(ReceiverError, match=r"found no receiver of module 'visits' in .*services, .*test_cluster"):
        zfoo_cluster(visits)


async def test_the_loop_is_real_again_afterwards(zfoo_cluster):
    before = asyncio.get_running_loop().time
    async with zfoo_cluster(greetings, providers=1):
        assert asyncio.get_running_loop().time != before
    assert asyncio.get_running_loop().time == before
