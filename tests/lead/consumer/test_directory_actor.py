"""The embedded directory: registrations live as long as their sessions; watchers hear of every change."""

from __future__ import annotations

import pytest

from tests.support.actors import step_runtime
from zfoo_py.consumer import messages as c
from zfoo_py.consumer.directory_actor import (
    MAX_REGISTRATION_CHARS,
    MAX_REGISTRATIONS_PER_SESSION,
    DirectoryActor,
)
from zfoo_py.errors import BackpressureError, SessionClosedError
from zfoo_py.net.messages import SessionDown
from zfoo_py.protocol.common import DirectoryChange, Message


def text(n):
    return f"p{n} | 127.0.0.1:{12400 + n} | provider:[visits-visits]"


class FakeSession:
    """A session that takes notes of what is pushed."""

    def __init__(self, sid):
        self.sid = sid
        self.is_up = True
        self.pushed = []
        self.error = None
        self.closed = False

    def send(self, packet):
        if self.error is not None:
            raise self.error
        self.pushed.append(packet)

    def close(self):
        self.closed = True


class World:
    def __init__(self, *previous):
        self.runtime, self.loop = step_runtime()
        self.ref = self.runtime.spawn(DirectoryActor, *previous)
        self.actor = self.ref.actor_inbox.actor

    def tell(self, *messages):
        for message in messages:
            self.ref.tell(message)
        self.loop.run()


def test_a_watcher_gets_a_snapshot_and_then_every_change():
    """Joined, left with a goodbye, lost without one; registering twice is told once."""
    world, provider, watcher = World(), FakeSession(1), FakeSession(2)
    world.tell(c.Registered(provider, text(1)), c.Watching(watcher))
    world.tell(c.Registered(provider, text(1)), c.Registered(provider, text(2)))
    world.tell(c.Unregistered(provider, text(2)))
    world.tell(SessionDown(1, "gone"))  # overtakes what is told with it
    assert watcher.pushed == [
        DirectoryChange(joined=[text(1)], snapshot=True),
        DirectoryChange(joined=[text(2)]),
        DirectoryChange(left=[text(2)]),
        DirectoryChange(lost=[text(1)]),
    ]
    assert world.actor.registered == {}


def test_the_same_registration_from_another_session_moves_there():
    """A node that restarted before its old session was noticed dead: the old end changes nothing."""
    world, old, new, watcher = World(), FakeSession(1), FakeSession(2), FakeSession(3)
    world.tell(c.Registered(old, text(1)), c.Watching(watcher), c.Registered(new, text(1)))
    world.tell(SessionDown(1, "gone"))
    world.tell(c.Unregistered(old, text(1)))
    assert world.actor.registered == {text(1): new}
    assert len(watcher.pushed) == 1


@pytest.mark.parametrize(
    "bad", ["nonsense", "", "c | consumer:[random-x]", text(1) + "x" * MAX_REGISTRATION_CHARS, "p | provider:[a-b]"]
)
def test_what_is_no_registration_of_a_provider_is_refused_in_words(bad):
    """Whoever sent it is told why; nobody else hears of it."""
    world, session, watcher = World(), FakeSession(1), FakeSession(2)
    world.tell(c.Watching(watcher), c.Registered(session, bad))
    assert [type(packet) for packet in session.pushed] == [Message]
    assert "not announced" in session.pushed[0].message
    assert len(session.pushed[0].message) < 400
    assert len(watcher.pushed) == 1


def test_one_session_may_hold_only_so_many():
    """The bound that keeps a single peer from filling the directory."""
    world, session = World(), FakeSession(1)
    world.tell(*(c.Registered(session, text(n)) for n in range(MAX_REGISTRATIONS_PER_SESSION + 1)))
    assert len(world.actor.registered) == MAX_REGISTRATIONS_PER_SESSION
    assert len(session.pushed) == 1


def test_orders_of_sessions_that_have_ended_meanwhile_leave_nothing():
    """Their SessionDown came first, so nothing would ever remove them."""
    world, gone = World(), FakeSession(1)
    gone.is_up = False
    world.tell(c.Registered(gone, text(1)), c.Watching(gone))
    assert world.actor.registered == {}
    assert world.actor.watching == {}


def test_a_watcher_that_reads_too_slowly_is_closed_and_one_that_is_gone_forgotten():
    """It comes back for a fresh snapshot; the others are told all the same."""
    world, provider = World(), FakeSession(1)
    slow, gone, good = FakeSession(2), FakeSession(3), FakeSession(4)
    world.tell(*(c.Watching(session) for session in (slow, gone, good)))
    slow.error, gone.error = BackpressureError("full"), SessionClosedError("closed")
    world.tell(c.Registered(provider, text(1)))
    assert slow.closed
    assert not gone.closed
    assert list(world.actor.watching) == [4]
    assert good.pushed[-1] == DirectoryChange(joined=[text(1)])


def test_a_new_directory_begins_with_what_the_old_one_knew():
    """After a restart of the actor nobody has to register again."""
    provider, watcher, newcomer = FakeSession(1), FakeSession(2), FakeSession(3)
    world = World([(text(1), provider)], [watcher])
    world.tell(c.Registered(newcomer, text(2)))
    assert watcher.pushed == [DirectoryChange(joined=[text(2)])]
    world.tell(SessionDown(1, "gone"))
    assert watcher.pushed[-1] == DirectoryChange(lost=[text(1)])
