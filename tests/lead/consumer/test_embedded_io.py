"""The client of the embedded discovery: registers and watches on every session it gets, and keeps what it knows."""

from __future__ import annotations

import asyncio

from zfoo_py.consumer.embedded_io import EmbeddedDiscovery
from zfoo_py.consumer.messages import Announced, DialFailed, Target, TargetDown, TargetUp
from zfoo_py.errors import SessionClosedError
from zfoo_py.protocol.common import DirectoryChange, DirectoryRegister, DirectoryUnregister, DirectoryWatch
from zfoo_py.testing import FakeClock

TEXT = "p | 127.0.0.1:12400 | provider:[visits-visits]"
DIRECTORY = Target("", "127.0.0.1:12399")


class FakeSession:
    def __init__(self):
        self.sent = []
        self.closed = False
        self.is_lost = False

    def send(self, packet):
        if self.is_lost:
            raise SessionClosedError("lost")
        self.sent.append(packet)

    def close(self):
        self.closed = True


class World:
    """A discovery client with a dial that takes notes."""

    def __init__(self, *, watch=True):
        self.clock = FakeClock()
        self.dials = []
        self.heard = []
        self.warnings = []
        self.discovery = EmbeddedDiscovery(
            DIRECTORY.address,
            lambda target, report: self.dials.append((target, report)),
            self.clock,
            reconnect_min_s=0.1,
            reconnect_max_s=5.0,
            jitter=lambda: 0.5,
            warn=self.warnings.append,
        )
        asyncio.run(self.discovery.start(self.heard.append, watch=watch))

    def report(self, fact):
        self.dials[-1][1](fact)

    def up(self):
        session = FakeSession()
        self.report(TargetUp(DIRECTORY, None, session))
        return session


def test_it_watches_and_registers_as_soon_as_it_is_connected():
    """Registered before the connection or after it: told in either case."""
    world = World()
    assert [target for target, _ in world.dials] == [DIRECTORY]
    world.discovery.register(TEXT)
    session = world.up()
    assert session.sent == [DirectoryWatch(), DirectoryRegister(TEXT)]
    late = World(watch=False)
    session = late.up()
    late.discovery.register(TEXT)
    assert session.sent == [DirectoryRegister(TEXT)]


def test_a_lost_directory_is_dialled_again_and_told_everything_again():
    """Backoff while it is away; the loss and the return are one log line each; nothing is removed meanwhile."""
    world = World()
    world.discovery.register(TEXT)
    world.up()
    world.report(TargetDown(DIRECTORY, "the peer closed it"))
    world.clock.advance(0.11)
    assert len(world.dials) == 2
    world.report(DialFailed(DIRECTORY, "refused"))
    world.clock.advance(0.11)
    assert len(world.dials) == 2
    world.clock.advance(0.1)
    assert len(world.dials) == 3
    session = world.up()
    assert session.sent == [DirectoryWatch(), DirectoryRegister(TEXT)]
    assert len(world.warnings) == 2
    assert world.heard == []


def test_changes_are_announced_and_malformed_texts_skipped():
    """Only from its own session; a text that names no address is nothing to dial."""
    world = World()
    session = world.up()
    world.discovery.on_change(FakeSession(), DirectoryChange(joined=[TEXT]))
    world.discovery.on_change(session, DirectoryChange(joined=[TEXT, "nonsense", "|"], snapshot=True))
    world.discovery.on_change(session, DirectoryChange(left=[TEXT], lost=["also nonsense"]))
    target = Target(TEXT, "127.0.0.1:12400")
    assert world.heard == [Announced(joined=(target,), snapshot=True), Announced(left=(target,))]


def test_leaving_says_goodbye_and_the_end_is_no_news():
    """After leave a lost session is neither dialled again nor warned about; stop closes, twice is harmless."""
    world = World()
    world.discovery.register(TEXT)
    session = world.up()
    asyncio.run(world.discovery.leave())
    assert session.sent[-1] == DirectoryUnregister(TEXT)
    asyncio.run(world.discovery.stop())
    asyncio.run(world.discovery.stop())
    assert session.closed
    world.report(TargetDown(DIRECTORY, "closed"))
    world.clock.advance(60)
    assert len(world.dials) == 1
    assert world.warnings == []
    late = FakeSession()
    world.report(TargetUp(DIRECTORY, None, late))
    assert late.closed


def test_its_trouble_says_where_and_what_to_do():
    """While it is not connected: the address, the reason, the command."""
    world = World()
    world.report(DialFailed(DIRECTORY, "refused"))
    trouble = world.discovery.trouble()
    assert "127.0.0.1:12399" in trouble
    assert "refused" in trouble
    assert "zfoo-py discovery" in trouble
    world.up()
    assert world.discovery.trouble() == ""


def test_a_session_that_is_lost_while_telling_waits_for_its_end():
    """The register fails quietly: its TargetDown is on the way, and the next session is told again."""
    world = World()
    session = world.up()
    session.is_lost = True
    world.discovery.register(TEXT)
    world.report(TargetDown(DIRECTORY, "lost"))
    world.clock.advance(1)
    assert world.up().sent == [DirectoryWatch(), DirectoryRegister(TEXT)]
