"""The connector dials what discovery announces and this node consumes; silence removes nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.actors import step_runtime
from tests.support.consumers import registration
from tests.support.discovery import Dials
from zfoo_py.actor import Abort, CoreRef, LoopFuture
from zfoo_py.consumer import messages as c
from zfoo_py.consumer.connector_actor import ConnectorActor, backoff_s
from zfoo_py.net.messages import Retire

FIRST_S, LAST_S = 0.1, 5.0


def target(number, *provides, text=None, address=None):
    """Return what discovery announces of a provider."""
    which = registration(number, *provides)
    return c.Target(which.text if text is None else text, address or which.address)


A, B, C = (target(number) for number in (1, 2, 3))


class Connector:
    """A connector that consumes visits, its clock and its dials; `jitter` 0.5 makes the backoff exact."""

    def __init__(self, jitter=0.5):
        self.runtime, self.loop = step_runtime()
        self.jitter = jitter
        self.me = CoreRef(1000, lambda _: None)
        self.dials = Dials(self.tell)
        self.reweighed = []
        self.connected = []
        self.spawn()

    def spawn(self):
        consumes = frozenset({("visits", "visits"), ("sessions", "blue")})
        previous = self.me.actor
        bounds = {"reconnect_min_s": FIRST_S, "reconnect_max_s": LAST_S}
        jitter = lambda: self.jitter  # noqa: E731
        how = {"jitter": jitter, "reweighed": lambda *news: self.reweighed.append(news), **bounds}
        how["connected"] = lambda *news: self.connected.append(news)
        self.me.attach(self.runtime.spawn(ConnectorActor, consumes, self.dials.dial, **how))
        if previous is not None:
            self.me.actor.take_over(previous)

    def tell(self, fact):
        self.me.tell(fact)
        self.loop.run()

    def announce(self, *joined, **more):
        self.tell(c.Announced(joined=joined, **more))

    def later(self, seconds):
        self.loop.clock.advance(seconds)
        self.loop.run()

    def connect(self, *targets):
        """Announce targets and let the dials succeed; return their sessions."""
        self.announce(*targets)
        return [self.dials.up(one) for one in targets]


def retired(session):
    return [order.reason for order in session.ref.of(Retire)]


# --------------------------------------------------------------------------------------------------- dialling
def test_all_that_join_are_dialled_at_once_and_together():
    world = Connector()
    many = [target(number) for number in range(200)]
    world.announce(*many)
    assert world.dials.targets() == many[:50]
    for so_far in (100, 150, 200):
        world.later(0.5)
        assert len(world.dials.targets()) == so_far - 50
        world.later(0.5)
        assert len(world.dials.targets()) == so_far
    assert world.dials.targets() == many
    world.dials.fail(many[0])
    for one in many[1:]:
        world.dials.up(one)
    assert world.dials.open == []
    assert world.loop.clock.pending() == 1


def test_what_is_announced_twice_is_dialled_once():
    world = Connector()
    world.announce(A, A)
    world.announce(A)
    world.announce(A, snapshot=True)
    assert world.dials.count == 1
    session = world.dials.up(A)
    world.announce(A)
    assert (world.dials.count, retired(session)) == (1, [])


@pytest.mark.parametrize(
    "stranger",
    [
        target(1, "pages"),
        target(1, "sessions"),  # the module, of another group
        target(1, text="no registration"),
        target(1, text="a | b | provider:[visits]"),
        target(1, text="a | 10.0.0.1:1 | consumer:[random-visits]"),
        target(1, text="a | provider:[visits-visits]"),
        target(1, text="\x00|||provider:[,]"),
    ],
)
def test_what_is_not_consumed_or_makes_no_sense_is_not_dialled_and_spoils_nothing(stranger):
    world = Connector()
    world.announce(A, stranger, target(4, "pages", "sessions/blue"))
    assert world.dials.targets() == [A, target(4, "pages", "sessions/blue")]


def test_a_static_address_is_dialled_whatever_it_provides():
    world = Connector()
    world.announce(c.Target("", "10.0.0.1:1"), snapshot=True)
    assert world.dials.targets() == [c.Target("", "10.0.0.1:1")]


# ---------------------------------------------------------------------------------------------------- backoff
def test_the_backoff_doubles_up_to_its_bound_and_begins_anew_after_a_success():
    world = Connector()
    world.announce(A)
    waits = []
    for _ in range(9):
        world.dials.fail(A)
        began_at = world.loop.clock.time()
        while not world.dials.open:
            world.later(0.0125)
        waits.append(round(world.loop.clock.time() - began_at, 1))
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    world.dials.up(A)
    world.dials.down(A)
    world.later(FIRST_S)
    assert world.dials.targets() == [A]


def test_one_that_does_not_answer_delays_nobody():
    world = Connector()
    world.announce(A, B)
    world.dials.fail(B)
    world.later(FIRST_S)
    assert world.dials.targets() == [A, B]  # A is still being dialled
    world.dials.up(B)


@given(
    failures=st.integers(1, 10**6),
    first=st.floats(0.001, 10.0),
    factor=st.floats(1.0, 1000.0),
    jitter=st.floats(0.0, 1.0, exclude_max=True),
)
def test_the_backoff_is_doubling_within_a_fifth_never_shrinks_and_is_bounded(failures, first, factor, jitter):
    last = first * factor
    wait = backoff_s(failures, first, last, jitter)
    exact = min(last, first * 2.0 ** min(failures - 1, 64))
    assert 0.8 * exact <= wait * (1 + 1e-12)
    assert wait <= 1.2 * exact * (1 + 1e-12)
    assert backoff_s(failures + 1, first, last, jitter) >= wait
    assert backoff_s(failures, first, last, 0.0) <= wait <= backoff_s(failures, first, last, 1.0)


def test_jitter_spreads_the_attempts():
    world = Connector()
    world.announce(A, B)
    world.jitter = 0.0
    world.dials.fail(A)
    world.jitter = 0.99
    world.dials.fail(B)
    world.later(FIRST_S * 0.8)
    assert world.dials.targets() == [A]


# ------------------------------------------------------------------------------------- left, lost and silence
def test_who_left_is_retired_and_not_dialled_again():
    world = Connector()
    [session] = world.connect(A)
    world.announce(left=(A,))
    assert retired(session) == ["it left discovery"]
    world.dials.down(A)
    world.later(60.0)
    assert (world.dials.open, world.loop.clock.pending(), world.me.actor.links()) == ([], 0, {})


def test_who_left_while_being_dialled_is_retired_when_the_dial_succeeds():
    world = Connector()
    world.announce(A)
    world.announce(left=(A,))
    session = world.dials.up(A)
    assert retired(session) == ["it left discovery"]


def test_who_left_while_waiting_is_forgotten():
    world = Connector()
    world.announce(A)
    world.dials.fail(A)
    world.announce(left=(A,))
    world.later(60.0)
    assert (world.dials.open, world.me.actor.links()) == ([], {})


@pytest.mark.parametrize("silence", [{"lost": (A,)}, {"snapshot": True}])
def test_silence_closes_nothing_and_ends_the_dialling_after_the_session(silence):
    world = Connector()
    a, b = world.connect(A, B)
    world.announce(B, **silence)
    assert (retired(a), retired(b)) == ([], [])
    world.dials.down(A)
    world.later(60.0)
    assert world.dials.open == []
    assert set(world.me.actor.links()) == {B}
    world.dials.down(B)
    world.later(60.0)
    assert world.dials.targets() == [B]


@pytest.mark.parametrize("silence", [{"lost": (A,)}, {"snapshot": True}])
def test_silence_ends_the_attempts_to_reach_somebody_who_is_not_there(silence):
    world = Connector()
    world.announce(A)
    world.dials.fail(A)
    world.announce(**silence)
    world.later(60.0)
    assert (world.dials.open, world.loop.clock.pending()) == ([], 0)


@pytest.mark.parametrize("words", [[{"also": (A,)}], [{}, {"also": (A,), "lost": ()}]])
def test_who_is_lost_and_announced_at_once_or_after_that_stays_wanted(words):
    world = Connector()
    [session] = world.connect(A)
    for word in words:
        world.announce(*word.get("also", ()), lost=word.get("lost", (A,)))
    world.dials.down(A)
    world.later(FIRST_S)
    assert (world.dials.targets(), retired(session)) == ([A], [])


def test_what_is_announced_again_is_dialled_at_once_and_only_once():
    """Whoever is announced has just come back: the backoff has lost its reason, and its timer its effect."""
    world = Connector()
    world.announce(A)
    for _ in range(6):
        world.dials.fail(A)
        world.later(LAST_S)
    world.dials.fail(A)
    world.announce(A)
    assert world.dials.targets() == [A]
    world.later(LAST_S)
    assert world.dials.targets() == [A]


def test_a_redial_that_was_on_its_way_when_the_target_was_announced_again_means_nothing():
    world = Connector()
    world.announce(A)
    world.dials.fail(A)
    world.me.tell(c.Announced(joined=(A,)))
    world.me.tell(c.Redial(A))
    world.me.tell(c.Redial(B))  # of somebody forgotten meanwhile
    world.loop.run()
    assert world.dials.targets() == [A]


def test_announced_again_while_it_still_retires_it_is_dialled_after_that():
    world = Connector()
    world.connect(A)
    world.announce(left=(A,))
    world.announce(A)
    world.dials.down(A)
    world.later(FIRST_S)
    assert world.dials.targets() == [A]


def test_the_same_address_under_another_text_is_another_provider():
    world = Connector()
    [old] = world.connect(A)
    new = target(1, "visits", "pages")
    world.announce(new)
    world.announce(lost=(A,))
    world.dials.up(new)
    assert retired(old) == []
    assert set(world.me.actor.links()) == {A, new}


# ------------------------------------------------------------------------------------------------- duplicates
def test_a_second_session_to_a_target_is_retired_and_its_end_changes_nothing():
    world = Connector()
    [first] = world.connect(A)
    world.dials.dial(A)
    second = world.dials.up(A)
    assert (retired(first), retired(second)) == ([], ["it is not wanted any more"])
    world.dials.down(A)
    world.dials.dial(A)
    world.dials.fail(A)
    world.later(60.0)
    assert world.dials.open == []
    world.announce(left=(A,))
    assert retired(first) == ["it left discovery"]


def test_a_session_to_a_target_nobody_knows_any_more_is_retired():
    world = Connector()
    world.dials.dial(A)
    assert retired(world.dials.up(A)) == ["it is not wanted any more"]
    world.dials.down(A)
    assert world.me.actor.links() == {}


# ---------------------------------------------------------------------------------------------------- restart
def test_a_new_connector_keeps_the_sessions_and_dials_the_others():
    world = Connector()
    lost, lost_and_died = target(4), target(6)
    connected, _, died, gone = world.connect(A, lost, target(5), lost_and_died)
    world.announce(B, C, lost=(lost, lost_and_died))
    world.dials.fail(C)
    world.me.tell(Abort())
    died.is_up = gone.is_up = False
    world.loop.run()
    assert world.loop.clock.pending() == 0  # its timers died with it
    world.dials.open.clear()
    world.spawn()
    assert world.dials.targets() == [target(5), B, C]
    world.announce(left=(A, lost))
    assert retired(connected) == ["it left discovery"]
    world.dials.down(lost)
    assert set(world.me.actor.links()) == {A, B, C, target(5)}


def test_what_happened_while_it_was_down_is_handled_by_the_next():
    world = Connector()
    world.announce(A, B)
    world.me.tell(Abort())
    world.loop.run()
    session = world.dials.up(A)
    world.dials.fail(B)
    world.spawn()
    world.loop.run()
    assert world.dials.targets() == [A, B]  # it cannot know that A was answered
    assert retired(session) == []
    assert retired(world.dials.up(A)) == ["it is not wanted any more"]
    world.dials.up(B)
    world.later(60.0)
    assert world.dials.open == []


# ------------------------------------------------------------------------------------- whether all were tried
def tried(world):
    """Ask to be told when all of the first snapshot were tried; return the future."""
    future = LoopFuture()
    world.tell(c.WhenTried(future))
    return future


def test_tried_means_that_each_target_of_the_first_snapshot_was_reached_or_failed_once():
    world = Connector()
    before = tried(world)
    world.announce(A, B, C, snapshot=True)
    after = tried(world)
    world.dials.up(A)
    world.dials.fail(B)
    assert (before.done(), after.done()) == (False, False)
    world.dials.up(C)
    assert (before.done(), after.done(), tried(world).done()) == (True, True, True)


def test_what_joins_later_delays_nobody():
    world = Connector()
    world.announce(A, snapshot=True)
    world.announce(B)
    world.dials.up(A)
    assert tried(world).done()


def test_a_refused_session_counts_as_tried():
    world = Connector()
    world.announce(A, snapshot=True)
    world.tell(c.TargetDown(A, "the Hello was refused"))
    assert tried(world).done()


def test_an_empty_discovery_leaves_nothing_to_try_and_an_unheard_one_everything():
    world = Connector()
    world.announce(A)
    unheard = tried(world)
    assert not unheard.done()
    world.announce(snapshot=True)
    assert unheard.done()


def test_only_another_weight_of_a_provider_that_is_connected_is_news():
    """At the start of a session its Hello says the weight, so what was announced before need not be told."""
    world = Connector()
    one, other = target(1), target(2)
    world.announce(one, other, weights={one: 3})
    session = world.dials.up(one)
    for weights in ({one: 3}, {one: 4, other: 2}, {one: 4}, {}):
        world.announce(one, other, weights=weights)
    assert world.reweighed == [(session.sid, 4), (session.sid, 1)]
    session.is_up = False
    world.announce(one, weights={one: 7})
    assert len(world.reweighed) == 2


# --------------------------------------------------------------------------- lost while discovery could be heard
def test_whoever_is_lost_and_not_back_in_time_is_drained():
    world = Connector()
    world.announce(A, B, snapshot=True)
    session = world.dials.up(A)
    world.announce(lost=(A,), grace_s=45.0)
    world.later(44.9)
    assert retired(session) == []
    world.later(0.2)
    assert retired(session) == ["it left discovery"]


def test_whoever_is_back_in_time_keeps_its_session_and_its_grace_is_forgotten():
    world = Connector()
    world.announce(A, snapshot=True)
    session = world.dials.up(A)
    world.announce(lost=(A,), grace_s=45.0)
    world.later(40.0)
    world.announce(A)
    world.later(100.0)
    assert (retired(session), world.dials.count) == ([], 1)


@pytest.mark.parametrize("news", [c.DiscoverySilent(), c.Announced(snapshot=True, grace_s=45.0)])
def test_nobody_is_drained_for_what_a_discovery_said_before_it_fell_silent(news):
    world = Connector()
    world.announce(A, snapshot=True)
    session = world.dials.up(A)
    world.announce(lost=(A,), grace_s=45.0)
    world.tell(news)
    world.later(1000.0)
    assert retired(session) == []


def test_a_snapshot_after_trouble_removes_nobody_who_lives():
    world = Connector()
    world.announce(A, B, snapshot=True)
    sessions = [world.dials.up(one) for one in (A, B)]
    world.tell(c.DiscoverySilent())
    world.announce(snapshot=True, grace_s=45.0)
    world.later(1000.0)
    assert [retired(session) for session in sessions] == [[], []]


def test_a_codec_that_this_node_does_not_speak_is_never_dialled():
    world = Connector()
    world.announce(A, c.Target(B.text, B.address, "http"), c.Target(C.text, C.address, "quic"), snapshot=True)
    assert world.dials.targets() == [A]


def test_discovery_is_told_who_has_a_session():
    world = Connector()
    world.announce(A, snapshot=True)
    world.dials.up(A)
    world.dials.down(A)
    assert world.connected == [(A, True), (A, False)]


def test_what_waits_to_be_dialled_and_is_lost_is_not_dialled():
    world = Connector()
    many = [target(number) for number in range(60)]
    world.announce(*many)
    world.announce(lost=tuple(many[50:]))
    world.later(5.0)
    assert len(world.dials.targets()) == 50
