"""The embedded discovery's client: it registers and watches again after every reconnection, and says its trouble."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.consumers import registration
from tests.support.discovery import Dials
from zfoo_py.consumer.embedded_io import EmbeddedDiscovery
from zfoo_py.consumer.messages import Announced, Target
from zfoo_py.errors import BackpressureError
from zfoo_py.protocol.common import DirectoryChange, DirectoryRegister, DirectoryUnregister, DirectoryWatch
from zfoo_py.testing import FakeClock

WHERE = Target("", "127.0.0.1:12399")
ME = registration(1).text
A, B = (registration(number) for number in (2, 3))


class World:
    """A discovery client that has started, its dials and its clock; the backoff is exact."""

    def __init__(self, *, watch=True):
        self.clock = FakeClock()
        self.dials = Dials()
        self.warnings = []
        self.announced = []
        self.client = EmbeddedDiscovery(
            WHERE.address,
            self.dials.dial,
            self.clock,
            reconnect_min_s=0.1,
            reconnect_max_s=5.0,
            jitter=lambda: 0.5,
            warn=self.warnings.append,
        )
        self.do(self.client.start(self.announced.append, watch=watch))

    def do(self, coroutine):
        """Run a method that never waits."""
        with pytest.raises(StopIteration):
            coroutine.send(None)

    def up(self):
        return self.dials.up(WHERE)

    def down(self):
        self.dials.down(WHERE, self.client._report)

    def fail(self, reason="connection refused"):
        self.dials.fail(WHERE, reason)


def target(of):
    return Target(of.text, of.address)


def test_starting_dials_and_waits_for_nobody():
    world = World()
    assert world.dials.targets() == [WHERE]
    assert world.up().sent == [DirectoryWatch()]


def test_what_is_registered_before_the_session_stands_is_said_when_it_does():
    world = World()
    world.client.register(ME)
    assert world.up().sent == [DirectoryWatch(), DirectoryRegister(ME)]


def test_what_is_registered_later_is_said_at_once():
    world = World(watch=False)
    session = world.up()
    assert session.sent == []
    world.client.register(ME)
    assert session.sent == [DirectoryRegister(ME)]


def test_after_each_reconnection_it_watches_and_registers_again():
    world = World()
    world.client.register(ME)
    for _ in range(3):
        assert world.up().sent == [DirectoryWatch(), DirectoryRegister(ME)]
        world.down()
        assert world.dials.open == []
        world.clock.advance(0.1)
    assert world.dials.targets() == [WHERE]


def test_it_tries_for_ever_with_a_growing_wait():
    world = World()
    waits = []
    for _ in range(8):
        world.fail()
        began_at = world.clock.time()
        while not world.dials.open:
            world.clock.advance(0.0125)
        waits.append(round(world.clock.time() - began_at, 1))
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_changes_are_announced_as_targets_and_what_makes_no_sense_is_skipped():
    world = World()
    session = world.up()
    world.client.on_change(session, DirectoryChange(joined=[A.text, "nonsense", "id | provider:[a-b]"], snapshot=True))
    world.client.on_change(session, DirectoryChange(left=[A.text], lost=[B.text, "\x00"]))
    assert world.announced == [
        Announced(joined=(target(A),), snapshot=True),
        Announced(left=(target(A),), lost=(target(B),)),
    ]


def test_the_snapshot_after_a_reconnection_is_one_again_and_old_sessions_have_no_say():
    world = World()
    old = world.up()
    world.down()
    world.client.on_change(old, DirectoryChange(lost=[A.text]))
    world.clock.advance(0.1)
    new = world.up()
    world.client.on_change(old, DirectoryChange(lost=[A.text]))
    world.client.on_change(new, DirectoryChange(joined=[A.text], snapshot=True))
    assert world.announced == [Announced(joined=(target(A),), snapshot=True)]


def test_losing_the_directory_announces_nothing():
    world = World()
    world.client.on_change(world.up(), DirectoryChange(joined=[A.text], snapshot=True))
    world.announced.clear()
    world.down()
    assert world.announced == []


def test_a_stranger_that_pushes_a_change_is_not_believed():
    world = World()
    world.up()
    stranger = Dials()
    stranger.dial(WHERE, lambda _: None)
    world.client.on_change(stranger.up(WHERE), DirectoryChange(joined=[A.text]))
    assert world.announced == []


# ------------------------------------------------------------------------------------------------------ goodbye
def test_leaving_says_goodbye_once_and_a_lost_session_is_no_news_then():
    world = World()
    world.client.register(ME)
    session = world.up()
    world.do(world.client.leave())
    world.do(world.client.leave())
    assert session.sent[2:] == [DirectoryUnregister(ME)]
    world.down()
    world.clock.advance(60.0)
    assert (world.dials.open, world.warnings) == ([], [])


def test_leaving_without_session_or_registration_says_nothing():
    world = World()
    world.client.register(ME)
    world.do(world.client.leave())
    session = world.up()  # its dial was under way
    assert (session.sent, session.closes) == ([], 1)
    other = World()
    session = other.up()
    other.do(other.client.leave())
    assert session.sent == [DirectoryWatch()]


def test_stopping_closes_the_session_ends_the_attempts_and_may_be_repeated():
    connected, waiting = World(), World()
    session = connected.up()
    waiting.fail()
    for world in (connected, connected, waiting, waiting):
        world.do(world.client.stop())
    connected.down()
    assert session.closes == 1
    for world in (connected, waiting):
        assert world.clock.pending() == 0
        assert world.dials.open == []


def test_after_the_stop_nothing_is_announced():
    world = World()
    session = world.up()
    world.do(world.client.stop())
    world.client.on_change(session, DirectoryChange(joined=[A.text]))
    assert world.announced == []


# ------------------------------------------------------------------------------------------------------ trouble
def test_it_says_what_is_wrong_and_what_to_do():
    world = World()
    advice = "start one with `zfoo-py discovery`"
    assert world.client.trouble() == f"no discovery answers at 127.0.0.1:12399: {advice}"
    world.fail("connection refused")
    assert world.client.trouble() == f"no discovery answers at 127.0.0.1:12399 (connection refused): {advice}"
    world.clock.advance(0.1)
    world.up()
    assert world.client.trouble() == ""
    world.down()
    assert "(lost)" in world.client.trouble()


def test_losing_it_and_its_return_are_one_line_each():
    world = World()
    world.up()
    world.down()
    for _ in range(5):
        world.clock.advance(5.0)
        world.fail()
    world.clock.advance(5.0)
    world.up()
    assert world.warnings == [
        "lost discovery at 127.0.0.1:12399 (lost); what is known stays",
        "discovery at 127.0.0.1:12399 is back",
    ]


def test_a_directory_that_was_never_there_is_one_line_that_says_what_to_do():
    world = World()
    for _ in range(3):
        world.fail("refused")
        world.clock.advance(5.0)
    [line] = world.warnings
    assert line.startswith("no discovery answers at 127.0.0.1:12399 (refused): start one with `zfoo-py discovery`")


def test_a_session_that_ends_between_two_words_is_waited_for():
    world = World()
    session = world.up()
    session.is_up = False
    world.client.register(ME)
    world.down()
    world.clock.advance(0.1)
    assert world.up().sent == [DirectoryWatch(), DirectoryRegister(ME)]


def test_a_directory_that_reads_nothing_is_closed_and_told_again_on_the_next_session():
    world = World()
    session = world.up()
    session.refuses = BackpressureError("full")
    world.client.register(ME)
    assert session.closes == 1
    world.down()
    world.clock.advance(0.1)
    assert world.up().sent == [DirectoryWatch(), DirectoryRegister(ME)]


def test_a_life_on_a_real_loop():
    """Nothing above depends on the loop; this one shows that a node may await the methods."""

    async def life():
        world = World()
        await world.client.leave()
        await world.client.stop()
        return world.client.trouble()

    assert "no discovery answers" in asyncio.run(life())


def test_weights_go_out_with_the_registration_and_come_in_with_those_that_joined():
    world = World()
    session = world.up()
    world.client.register(ME, weight=4)
    assert session.sent[-1] == DirectoryRegister(ME, 4)
    change = DirectoryChange(joined=[A.text, "nonsense", B.text], weights=[1, 5, 2])
    world.client.on_change(session, change)
    assert world.announced[-1].weights == {target(B): 2}
