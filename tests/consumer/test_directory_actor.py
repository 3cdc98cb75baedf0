"""The directory: registrations live as long as their sessions, and watchers hear of every change."""

from __future__ import annotations

import pytest

from tests.support.actors import step_runtime
from tests.support.consumers import registration
from tests.support.discovery import FakeSession
from zfoo_py.actor import CoreRef
from zfoo_py.config import MAX_WEIGHT
from zfoo_py.consumer import messages as c
from zfoo_py.consumer.directory_actor import (
    MAX_PUSH_CHARS,
    MAX_REGISTRATION_CHARS,
    MAX_REGISTRATIONS_PER_SESSION,
    DirectoryActor,
)
from zfoo_py.errors import BackpressureError
from zfoo_py.net.messages import SessionDown
from zfoo_py.protocol.common import DirectoryChange, Message

A, B, C = (registration(number).text for number in (1, 2, 3))


class Directory:
    """A directory actor, and the sessions that talk to it."""

    def __init__(self):
        self.runtime, self.loop = step_runtime()
        self.me = CoreRef(1000, lambda _: None)
        self.me.attach(self.runtime.spawn(DirectoryActor))
        self.sids = iter(range(1, 100_000))

    def tell(self, message):
        self.me.tell(message)
        self.loop.run()

    def session(self, *texts, watch=False):
        session = FakeSession(next(self.sids))
        for text in texts:
            self.tell(c.Registered(session, text))
        if watch:
            self.tell(c.Watching(session))
        return session

    def down(self, session):
        session.is_up = False
        self.tell(SessionDown(session.sid, "the session ended"))

    @property
    def texts(self):
        return list(self.me.actor.registered)


def joined(*texts, snapshot=False):
    return DirectoryChange(joined=list(texts), snapshot=snapshot)


def test_a_watcher_gets_a_snapshot_and_then_every_change():
    world = Directory()
    a = world.session(A)
    watcher = world.session(watch=True)
    b = world.session(B)
    world.tell(c.Unregistered(b, B))
    world.down(a)
    assert watcher.sent == [
        joined(A, snapshot=True),
        joined(B),
        DirectoryChange(left=[B]),
        DirectoryChange(lost=[A]),
    ]


def test_an_empty_directory_says_so():
    assert Directory().session(watch=True).sent == [joined(snapshot=True)]


def test_registering_again_is_no_news_and_watching_again_is_another_snapshot():
    world = Directory()
    a = world.session(A)
    watcher = world.session(watch=True)
    world.tell(c.Registered(a, A))
    world.tell(c.Watching(watcher))
    world.session(B)
    assert watcher.sent == [joined(A, snapshot=True), joined(A, snapshot=True), joined(B)]


def test_a_registration_moves_to_the_session_that_says_it_last_and_is_announced_again():
    """A node came back before its old session was noticed dead: those who wait to dial it need wait no longer."""
    world = Directory()
    old = world.session(A)
    watcher = world.session(watch=True)
    world.session(A)
    world.tell(c.Unregistered(old, A))
    world.down(old)
    assert watcher.sent == [joined(A, snapshot=True), joined(A)]
    assert world.texts == [A]


def test_what_was_never_registered_cannot_leave():
    world = Directory()
    world.session(A)
    watcher = world.session(watch=True)
    world.tell(c.Unregistered(watcher, A))
    world.tell(c.Unregistered(watcher, B))
    assert (len(watcher.sent), world.texts) == (1, [A])


def test_a_session_that_ends_takes_all_it_registered_in_one_change():
    world = Directory()
    both = world.session(A, B, watch=True)
    world.session(C)
    watcher = world.session(watch=True)
    world.down(both)
    world.down(both)
    world.down(world.session())
    assert watcher.sent[1:] == [DirectoryChange(lost=[A, B])]
    assert list(world.me.actor.watching) == [watcher.sid]


def test_a_session_that_has_ended_registers_and_watches_nothing():
    """Its orders may come after its end, which overtakes them; nobody would ever take them back."""
    world = Directory()
    session = FakeSession(7)
    world.down(session)
    world.tell(c.Registered(session, A))
    world.tell(c.Watching(session))
    assert (world.texts, world.me.actor.watching) == ([], {})


# ------------------------------------------------------------------------------------------------------ limits
@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing",
        "id | provider:[visits-visits]",
        "id | 10.0.0.1:1 | consumer:[random-visits]",
        "id | 10.0.0.1:1 | provider:[]",
        "|||",
        "\x00" * 10,
        A.ljust(MAX_REGISTRATION_CHARS + 1),
        registration(1, *(f"module{number}" for number in range(1000))).text,
    ],
)
def test_what_is_no_registration_of_a_provider_is_refused_with_a_message_and_not_announced(text):
    world = Directory()
    watcher = world.session(watch=True)
    session = world.session(text)
    [message] = session.sent
    assert isinstance(message, Message)
    assert message.message.endswith("is no registration of a provider; it is not announced")
    assert len(message.message) < 1000
    assert (world.texts, len(watcher.sent)) == ([], 1)


def test_one_session_may_hold_so_many_registrations_and_repeat_each():
    world = Directory()
    texts = [registration(number).text for number in range(MAX_REGISTRATIONS_PER_SESSION)]
    session = world.session(*texts)
    world.tell(c.Registered(session, texts[3]))
    assert session.sent == []
    world.tell(c.Registered(session, registration(99).text))
    [message] = session.sent
    assert message.message.startswith(f"one session may hold {MAX_REGISTRATIONS_PER_SESSION} registrations; 'app-99 |")
    assert world.texts == texts
    world.tell(c.Unregistered(session, texts[0]))
    world.tell(c.Registered(session, registration(99).text))
    assert world.texts == [*texts[1:], registration(99).text]


def test_a_snapshot_of_very_many_comes_in_parts_that_fit_a_frame():
    world = Directory()
    long = [registration(number, *(f"m{i}" for i in range(350)), node_id="x" * 100).text for number in range(160)]
    assert sum(map(len, long)) > MAX_PUSH_CHARS
    for first in range(0, len(long), MAX_REGISTRATIONS_PER_SESSION):
        world.session(*long[first : first + MAX_REGISTRATIONS_PER_SESSION])
    parts = world.session(watch=True).sent
    assert [part.snapshot for part in parts] == [True] + [False] * (len(parts) - 1)
    assert [text for part in parts for text in part.joined] == long
    assert all(sum(map(len, part.joined)) <= MAX_PUSH_CHARS for part in parts)


# ------------------------------------------------------------------------------------------------ bad watchers
def test_a_watcher_that_reads_too_slowly_is_closed_and_delays_nobody():
    world = Directory()
    slow, quick = world.session(watch=True), world.session(watch=True)
    slow.refuses = BackpressureError("full")
    world.session(A)
    world.session(B)
    assert quick.sent[1:] == [joined(A), joined(B)]
    assert (slow.closes, list(world.me.actor.watching)) == (1, [quick.sid])


def test_a_watcher_whose_session_has_just_ended_is_forgotten():
    world = Directory()
    gone, there = world.session(watch=True), world.session(watch=True)
    gone.is_up = False
    world.session(A)
    assert list(world.me.actor.watching) == [there.sid]
    assert there.sent[1:] == [joined(A)]


def test_a_slow_registrant_is_not_told_of_its_fault_and_closed():
    world = Directory()
    slow = FakeSession(5)
    slow.refuses = BackpressureError("full")
    world.tell(c.Registered(slow, "no registration"))
    assert slow.closes == 1


# ----------------------------------------------------------------------------------------------------- restart
def test_a_new_directory_goes_on_with_registrations_and_watchers():
    world = Directory()
    a = world.session(A)
    watcher = world.session(watch=True)
    previous = world.me.actor
    world.me.attach(world.runtime.spawn(DirectoryActor, previous.registered.items(), list(previous.watching.values())))
    assert len(watcher.sent) == 1
    world.session(B)
    world.down(a)
    assert watcher.sent[1:] == [joined(B), DirectoryChange(lost=[A])]


def test_weights_travel_beside_the_registrations_and_end_with_them():
    world = Directory()
    a = world.session(A)
    watcher = world.session(watch=True)
    b = world.session()
    world.tell(c.Registered(b, B, 3))
    world.tell(c.Registered(b, B, 3))
    late = world.session(watch=True)
    world.tell(c.Registered(b, B, 1))
    world.tell(c.Registered(a, A, 2))
    world.down(a)
    assert watcher.sent[1:] == [
        DirectoryChange(joined=[B], weights=[3]),
        joined(B),
        DirectoryChange(joined=[A], weights=[2]),
        DirectoryChange(lost=[A]),
    ]
    assert late.sent[0] == DirectoryChange(joined=[A, B], snapshot=True, weights=[1, 3])
    assert world.me.actor.weights == {}


@pytest.mark.parametrize("weight", [0, -1, MAX_WEIGHT + 1])
def test_a_weight_that_is_none_is_refused_in_words(weight):
    world = Directory()
    session = world.session()
    world.tell(c.Registered(session, A, weight))
    [answer] = session.sent
    assert f"a weight is 1 to {MAX_WEIGHT}, not {weight}" in answer.message
    assert world.texts == []
