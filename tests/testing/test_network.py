"""The memory network: who listens, who can be reached, and faults by name."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.wires import paired
from zfoo_py import SessionClosedError
from zfoo_py.errors import ConfigError
from zfoo_py.testing import MemoryNetwork
from zfoo_py.testing.network import ANY, pass_time


def test_an_address_is_listened_on_once_and_dialled_only_while_it_is():
    """The memory network refuses as TCP does; it needs no fake clock."""

    async def main():
        network = MemoryNetwork()
        listener = await network.listen("127.0.0.1", 0, lambda: None)
        host, _, port = listener.address.rpartition(":")
        with pytest.raises(ConfigError, match="somebody does"):
            await network.listen(host, int(port), lambda: None)
        await listener.close()
        with pytest.raises(SessionClosedError, match="nobody listens"):
            await network.dial(host, int(port), lambda: None, 1.0)

    asyncio.run(main())


def test_ports_are_the_same_in_every_run():
    async def main():
        network = MemoryNetwork()
        return [(await network.listen("127.0.0.1", 0, lambda: None)).address for _ in range(3)]

    assert asyncio.run(main()) == asyncio.run(main()) == ["127.0.0.1:40001", "127.0.0.1:40002", "127.0.0.1:40003"]


def test_dialling_takes_a_round_trip():
    async def main(pair):
        await pair.listen()
        pair.network.delay("near", ANY, 0.5)
        pair.network.delay(ANY, "near", 0.25)
        began_s = pair.clock.time()
        await pair.dial()
        assert pair.clock.time() - began_s == 0.75
        with pytest.raises(SessionClosedError, match=r"within 0\.7 s: no answer in time"):
            await pair.dial(0.7)
        assert pair.clock.time() - began_s == pytest.approx(1.45)

    paired(main)


@pytest.mark.parametrize("way", [("near", "far"), ("far", ANY), (ANY, "near")])
def test_dialling_into_a_black_hole_takes_until_the_time_out(way):
    async def main(pair):
        await pair.listen()
        pair.network.drop(*way)
        began_s = pair.clock.time()
        with pytest.raises(SessionClosedError, match="no answer in time"):
            await pair.dial(3.0)
        assert pair.clock.time() - began_s == pytest.approx(3.0)
        assert pair.accepted == []

    paired(main)


def test_dialling_goes_through_once_it_heals():
    """The system tries again, as TCP does; also for several who wait."""

    async def main(pair):
        await pair.listen()
        pair.network.drop("near", "far")
        dialling = [asyncio.create_task(pair.dial(timeout_s)) for timeout_s in (1.0, 3.0, 3.0)]
        await pass_time(pair.clock, 2.0)
        assert [task.done() for task in dialling] == [True, False, False]
        pair.network.heal("far")
        assert [type(await task).__name__ for task in dialling[1:]] == ["End", "End"]
        assert pair.clock.time() < 1003.0
        with pytest.raises(SessionClosedError):
            await dialling[0]

    paired(main)


def test_what_is_dropped_is_gone_and_the_connection_stays():
    """In the direction that was named; also the end of a connection, until it heals."""

    async def main(pair):
        near, far = await pair.connect()
        pair.network.drop("near", "far")
        near.transport.write(b"gone")
        far.transport.write(b"back")
        await pair.settle()
        assert (near.heard, far.heard) == ("<made>back", "<made>")
        pair.network.heal("near")
        near.transport.write(b"again")
        await pair.settle()
        assert far.heard == "<made>again"
        pair.network.drop(ANY, "far")
        near.transport.close()
        await asyncio.sleep(100)
        assert (near.heard, far.heard) == ("<made>back<lost>", "<made>again")
        pair.network.heal("someone else")
        await pair.settle()
        assert far.heard == "<made>again"
        pair.network.heal()
        await pair.settle()
        assert far.heard == "<made>again<lost>"

    paired(main)


def test_a_paused_host_hears_and_says_nothing_until_it_goes_on():
    """Its system accepts connections and takes bytes; its timers wait."""

    async def main(pair):
        near, far = await pair.connect()
        ticks = []
        pair.far.timers.call_later(1.0, ticks.append, "tick")
        pair.far.stop()
        near.transport.write(b"hello")
        far.transport.write(b"held")
        second = await pair.dial()
        second.transport.write(b"hi")
        await asyncio.sleep(10)
        assert (near.heard, far.heard, second.heard, pair.accepted[1].heard) == ("<made>", "<made>", "<made>", "")
        assert ticks == []
        pair.far.cont()
        await pair.settle()
        assert (near.heard, far.heard, pair.accepted[1].heard) == ("<made>held", "<made>hello", "<made>hi")
        assert ticks == ["tick"]

    paired(main)


def test_a_paused_host_learns_later_that_a_connection_broke():
    async def main(pair):
        near, far = await pair.connect()
        pair.far.stop()
        pair.network.reset("near", "far")
        await pair.settle()
        assert (near.heard, far.heard) == ("<made><lost>", "<made>")
        pair.far.cont()
        await pair.settle()
        assert far.heard == "<made><lost>"

    paired(main)


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_killed_host_is_gone_without_a_word(is_stopped):
    """Its peers find the connection closed, nobody listens, and nothing of it goes on; a dial of its own ends."""

    async def main(pair):
        near, far = await pair.connect()
        ticks = []
        pair.far.timers.call_later(1.0, ticks.append, "tick")
        if is_stopped:
            pair.far.stop()
        far.transport.write(b"x")
        pair.far.kill()
        far.transport.write(b"never")
        await asyncio.sleep(5)
        assert near.heard == ("<made><lost>" if is_stopped else "<made>x<lost>")
        assert far.heard == "<made>"
        assert ticks == []
        with pytest.raises(SessionClosedError, match="nobody listens"):
            await pair.dial()
        with pytest.raises(SessionClosedError, match="was killed"):
            await pair.far.dial(*pair.address, lambda: None, 1.0)
        pair.far.cont()
        assert ticks == []

    paired(main)


def test_of_a_host_that_dies_in_a_black_hole_nobody_hears():
    async def main(pair):
        near, _ = await pair.connect()
        pair.network.drop("far", ANY)
        pair.far.kill()
        await asyncio.sleep(1000)
        assert near.heard == "<made>"
        pair.network.heal()
        await pair.settle()
        assert near.heard == "<made><lost>"

    paired(main)


def test_cutting_breaks_what_stands_between_two_and_nothing_else():
    async def main(pair):
        near, far = await pair.connect()
        third = pair.network.host("third")
        other = await third.dial(*pair.address, lambda: type(near)(pair.clock), 1.0)
        near.transport.write(b"on its way")
        pair.network.reset("far", "near")
        await pair.settle()
        assert (near.heard, far.heard, other.heard) == ("<made><lost>", "<made><lost>", "<made>")
        assert (await pair.dial()).heard == "<made>"
        pair.network.reset("far")
        await pair.settle()
        assert other.heard == "<made><lost>"

    paired(main)


def test_a_listener_that_closes_while_somebody_dials_is_not_reached():
    async def main(pair):
        listener = await pair.listen()
        pair.network.delay("near", "far", 1.0)
        dialling = asyncio.create_task(pair.dial())
        await pass_time(pair.clock, 0.5)
        await listener.close()
        with pytest.raises(SessionClosedError, match="nobody listens"):
            await dialling

    paired(main)


def test_what_a_slow_reader_does_not_read_stays_with_the_sender():
    async def main(pair):
        await pair.listen()
        near = await pair.dial()
        far = pair.accepted[0]
        pair.network.slow_reader("far", "near")
        near.transport.write(b"hello")
        far.transport.write(b"there")
        await asyncio.sleep(10)
        assert (near.heard, far.heard) == ("<made>there", "<made>")
        assert near.transport.get_write_buffer_size() == len(b"hello")
        pair.network.heal("far")
        await pair.settle()
        assert far.heard == "<made>hello"
        assert near.transport.get_write_buffer_size() == 0

    paired(main)


def test_a_slow_reader_may_be_deaf_to_everybody():
    async def main(pair):
        await pair.listen()
        near = await pair.dial()
        pair.network.slow_reader("far")
        near.transport.write(b"hello")
        near.transport.close()
        await pair.settle()
        assert pair.accepted[0].heard == "<made>"
        pair.network.heal()
        await pair.settle()
        assert pair.accepted[0].heard == "<made>hello<lost>"

    paired(main)
