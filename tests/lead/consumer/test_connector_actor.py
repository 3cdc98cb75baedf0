"""The connector: whom it dials, how often, and what silence and goodbyes do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.actors import step_runtime
from zfoo_py.consumer import messages as c
from zfoo_py.consumer.connector_actor import ConnectorActor, backoff_s
from zfoo_py.net.messages import Retire

CONSUMES = frozenset({("visits", "visits")})


def target(n, module="visits", address=None):
    address = address or f"127.0.0.1:{12400 + n}"
    return c.Target(f"p{n} | {address} | provider:[{module}-{module}]", address)


class FakeSession:
    """A session's ref: takes notes, and is alive until told otherwise."""

    def __init__(self):
        self.told = []
        self.alive = True

    def tell(self, message):
        self.told.append(message)

    def is_alive(self):
        return self.alive


class World:
    """A connector on a loop stepped by hand, with a dial that takes notes."""

    def __init__(self):
        self.runtime, self.loop = step_runtime()
        self.dialled = []
        self.spawn()

    def spawn(self):
        self.ref = self.runtime.spawn(
            ConnectorActor,
            CONSUMES,
            self.dialled.append,
            reconnect_min_s=0.1,
            reconnect_max_s=5.0,
            jitter=lambda: 0.5,
        )
        self.actor = self.ref.actor_inbox.actor

    def tell(self, *messages):
        for message in messages:
            self.ref.tell(message)
        self.loop.run()

    def joined(self, *targets, **how):
        self.tell(c.Announced(joined=targets, **how))

    def up(self, one):
        session = FakeSession()
        self.tell(c.TargetUp(one, session, None))
        return session

    def down(self, one, session):
        session.alive = False
        self.tell(c.TargetDown(one, "gone"))

    def advance(self, seconds):
        self.loop.clock.advance(seconds)
        self.loop.run()


@given(failures=st.integers(1, 10_000), jitter=st.floats(0, 1, exclude_max=True))
def test_backoff_doubles_up_to_its_cap_and_spreads_by_a_fifth(failures, jitter):
    """Bounds for any number of failures."""
    wait = backoff_s(failures, 0.1, 5.0, jitter)
    middle = min(5.0, 0.1 * 2 ** min(failures - 1, 32))
    assert 0.8 * middle <= wait <= 1.2 * middle


def test_all_announced_targets_are_dialled_at_once_and_each_only_once():
    """200 joins: 200 dials, none waits for another, announcing again dials nobody twice."""
    world = World()
    targets = [target(n) for n in range(200)]
    world.joined(*targets)
    world.joined(*targets)
    assert world.dialled == targets


@pytest.mark.parametrize(
    "bad",
    [
        target(1, module="pages"),
        c.Target("no registration", "127.0.0.1:1"),
        c.Target("p | 127.0.0.1:1 | provider:[visits-visits]", "127.0.0.1:2"),
        c.Target("p | 127.0.0.1:1 | provider:[visits-other]", "127.0.0.1:1"),
    ],
    ids=["another module", "malformed", "another address", "another group"],
)
def test_what_is_not_consumed_or_makes_no_sense_is_not_dialled(bad):
    """Only a well-formed registration of a consumed module and group, at the address it names."""
    world = World()
    world.joined(bad)
    assert world.dialled == []
    assert world.actor.links() == {}


def test_a_static_target_is_dialled_for_its_address_alone():
    """Which modules it has, its Hello will tell."""
    world = World()
    world.joined(c.Target("", "127.0.0.1:12400"))
    assert len(world.dialled) == 1


def test_failed_dials_and_lost_sessions_are_tried_again_with_backoff_that_success_resets():
    """0.1 s, 0.2 s, 0.4 s … ; after a session that came up, 0.1 s again."""
    world, one = World(), target(1)
    world.joined(one)
    for wait in (0.1, 0.2, 0.4):
        world.tell(c.DialFailed(one, "refused"))
        world.advance(wait * 0.99)
        dials = len(world.dialled)
        world.advance(wait * 0.02)
        assert len(world.dialled) == dials + 1
    session = world.up(one)
    world.down(one, session)
    world.advance(0.101)
    assert len(world.dialled) == 5


def test_who_leaves_is_retired_and_never_dialled_again():
    """A goodbye: finish what is in flight; its end is no reason to dial."""
    world, one = World(), target(1)
    world.joined(one)
    session = world.up(one)
    world.tell(c.Announced(left=(one,)))
    assert [type(message) for message in session.told] == [Retire]
    world.down(one, session)
    world.advance(60)
    assert world.dialled == [one]
    assert world.actor.links() == {}


@pytest.mark.parametrize("news", [c.Announced(lost=(target(1),)), c.Announced(snapshot=True)], ids=["lost", "absent"])
def test_silence_closes_nothing_but_ends_the_dialling(news):
    """Lost without goodbye, or missing from a snapshot: the live session stays, and is not replaced when it ends."""
    world, one = World(), target(1)
    world.joined(one)
    session = world.up(one)
    world.tell(news)
    assert session.told == []
    world.down(one, session)
    world.advance(60)
    assert world.dialled == [one]


def test_who_is_lost_and_announced_again_is_kept():
    """The registration came back before its session ended: it is wanted as before."""
    world, one = World(), target(1)
    world.joined(one)
    session = world.up(one)
    world.tell(c.Announced(lost=(one,)))
    world.joined(one)
    world.down(one, session)
    world.advance(1)
    assert world.dialled == [one, one]


def test_an_announcement_ends_the_backoff():
    """It has just come back: no reason to wait."""
    world, one = World(), target(1)
    world.joined(one)
    for _ in range(8):
        world.tell(c.DialFailed(one, "refused"))
        world.advance(0.001)
    dials = len(world.dialled)
    world.joined(one)
    assert len(world.dialled) == dials + 1
    world.advance(60)
    assert len(world.dialled) == dials + 1  # the timer is gone


def test_a_session_that_comes_up_unwanted_or_twice_is_retired():
    """Nobody keeps two sessions to one target, or one to a target that has left."""
    world, one = World(), target(1)
    stray = world.up(one)
    assert [type(message) for message in stray.told] == [Retire]
    world.joined(one)
    world.up(one)
    second = world.up(one)
    assert [type(message) for message in second.told] == [Retire]


def test_a_new_connector_takes_the_links_over():
    """After a restart living sessions stay, the others are dialled."""
    world, one, two = World(), target(1), target(2)
    world.joined(one, two)
    alive = world.up(one)
    links = world.actor.links()
    world.dialled.clear()
    world.spawn()
    world.actor.take_over(links)
    assert world.dialled == [two]
    assert alive.told == []
    world.down(one, alive)
    world.advance(1)
    assert world.dialled == [two, one]
