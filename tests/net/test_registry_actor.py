"""The registry: records, indexes, versions, and its second life."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sessions import PROVIDER, Recorder, World
from zfoo_py.actor import Abort, Runtime
from zfoo_py.events import Events, SessionActive, SessionInactive
from zfoo_py.net import messages as m
from zfoo_py.net.registry_actor import LOOK_AGAIN_S, RegistryActor
from zfoo_py.net.session import SessionRecord
from zfoo_py.protocol.registration import parse
from zfoo_py.testing import FakeClock

TWO_MODULES = "b | 10.0.0.1:2 | provider:[visits-visits, pages-pages]"


class Registry:
    """A registry on a loop that does not run."""

    def __init__(self, runtime, **how):
        self.runtime = runtime
        self.events = Events()
        self.ref = runtime.spawn(RegistryActor, self.events, **how)
        self.actor = self.ref.actor_inbox.actor
        runtime.drain()

    def tell(self, *messages):
        for message in messages:
            self.ref.tell(message)
        self.runtime.drain()

    def ask(self, message):
        future = self.ref.ask(message, block=False)
        self.runtime.drain()
        assert future.done()
        if future.exception() is not None:
            raise future.exception()
        return future.value()

    def subscribe(self):
        subscriber = Recorder()
        self.tell(m.Subscribe(subscriber))
        return subscriber

    def sids(self, **which):
        return sorted(record.sid for record in self.ask(m.ListSessions(**which)))


@contextmanager
def registry(**how):
    loop = asyncio.new_event_loop()
    try:
        yield Registry(Runtime(loop, timers=FakeClock()), **how)
    finally:
        loop.close()


def up(sid, side="client", uid=0, text=PROVIDER):
    record = SessionRecord(sid, side, "node", "peer:1", "local:2", "them", text, 5.0, uid)
    return m.SessionUp(record, f"ref {sid}", f"session {sid}")


def provider(sid, text=PROVIDER):
    return m.ProviderUp(sid, parse(text), f"ref {sid}")


def test_records_are_listed_by_all_uid_and_module():
    with registry() as r:
        r.tell(up(1, uid=7), up(2), provider(2), up(3, text=TWO_MODULES), provider(3, TWO_MODULES), up(4, uid=7))
        assert r.sids() == [1, 2, 3, 4]
        assert r.sids(uid=7) == [1, 4]
        assert r.sids(uid=8) == []
        assert r.sids(module="visits") == [2, 3]
        assert r.sids(module="pages") == [3]
        assert r.ask(m.ListSessions(uid=7))[0] == up(1, uid=7).record


def test_a_uid_that_is_bound_moves_between_the_indexes():
    with registry() as r:
        r.tell(up(1), m.BindUid(1, 7), m.BindUid(1, 8), m.BindUid(1, 8), m.BindUid(99, 8))
        assert r.sids(uid=7) == []
        assert r.sids(uid=8) == [1]
        assert r.ask(m.ListSessions())[0].uid == 8


def test_counters_are_kept_for_the_living_only():
    with registry() as r:
        r.tell(up(1), m.CountersReport(1, 2, 3, 4, 5), m.CountersReport(9, 2, 3, 4, 5))
        [record] = r.ask(m.ListSessions())
        assert (record.frames_in, record.frames_out, record.bytes_in, record.bytes_out) == (2, 3, 4, 5)


def test_a_subscriber_gets_a_snapshot_and_then_every_change_in_order():
    with registry() as r:
        early = r.subscribe()
        assert early.told == [m.Snapshot(0, ())]
        r.tell(up(1), provider(1), up(2), provider(2))
        late = r.subscribe()
        assert late.told == [m.Snapshot(2, (provider(1), provider(2)))]
        r.tell(m.ProviderDown(1, "drains"), m.SessionDown(1, "closed"), m.SessionDown(2, "lost"))
        changes = [m.ProviderDown(1, "drains"), m.ProviderDown(2, "lost")]
        assert late.told[1:] == [m.MembershipChange(3, changes[0]), m.MembershipChange(4, changes[1])]
        assert [change.version for change in early.told[1:]] == [1, 2, 3, 4]


def test_a_subscriber_that_saw_a_gap_subscribes_again_and_is_told_once():
    with registry() as r:
        subscriber = r.subscribe()
        r.tell(up(1), provider(1), m.Subscribe(subscriber), up(2), provider(2))
        assert [type(each) for each in subscriber.told] == [
            m.Snapshot,
            m.MembershipChange,
            m.Snapshot,
            m.MembershipChange,
        ]
        assert subscriber.told[2] == m.Snapshot(1, (provider(1),))
        assert subscriber.told[3].version == 2


def test_what_is_told_twice_or_of_strangers_changes_nothing():
    with registry() as r:
        subscriber = r.subscribe()
        r.tell(up(1), up(1, uid=5), provider(1), provider(1), provider(9), m.ProviderDown(9, ""), m.SessionDown(9, ""))
        assert r.actor.version == 1
        assert len(subscriber.told) == 2
        assert r.sids(uid=5) == []
        r.tell(m.ProviderDown(1, "a"), m.ProviderDown(1, "b"), m.SessionDown(1, "c"), m.SessionDown(1, "d"))
        assert r.actor.version == 2


def test_events_tell_of_sessions_and_the_engine_of_those_that_dialled_us():
    heard, ended = [], []
    with registry(on_session_down=ended.append) as r:
        r.events.subscribe(SessionActive, heard.append)
        r.events.subscribe(SessionInactive, heard.append)
        r.tell(up(1, side="server"), up(2), m.SessionDown(1, "why"), m.SessionDown(2, "so"))
        assert heard[0] == SessionActive(1, "server", "peer:1", "them")
        assert heard[2] == SessionInactive(1, "server", "peer:1", "them", "why")
        assert ended == [1]


def test_it_survives_a_subscriber_to_events_that_raises():
    with registry() as r:
        r.events.subscribe(SessionActive, lambda _: 1 / 0)
        subscriber = r.subscribe()
        r.tell(up(1), provider(1))
        assert r.sids() == [1]
        assert subscriber.told[-1].version == 1


facts = st.lists(
    st.tuples(st.sampled_from(["up", "provider", "bind", "down", "provider down", "count"]), st.integers(1, 5)),
    max_size=50,
)


@given(facts, st.lists(st.integers(1, 4), min_size=50, max_size=50))
def test_indexes_never_outgrow_the_sessions_and_versions_never_skip(facts, uids):
    """Whatever comes in whatever order; at the end everybody goes, and nothing is left."""
    with registry() as r:
        subscriber = r.subscribe()
        texts = {sid: TWO_MODULES if sid % 2 else PROVIDER for sid in range(1, 6)}
        for (what, sid), uid in zip(facts, uids, strict=False):
            r.tell(
                {
                    "up": up(sid, text=texts[sid]),
                    "provider": provider(sid, texts[sid]),
                    "bind": m.BindUid(sid, uid),
                    "down": m.SessionDown(sid, ""),
                    "provider down": m.ProviderDown(sid, ""),
                    "count": m.CountersReport(sid, 1, 1, 1, 1),
                }[what]
            )
            actor, sids = r.actor, set(r.actor._records)
            assert set(actor._refs) == sids
            assert set(actor._providers) <= sids
            assert {s for group in actor._by_uid.values() for s in group} <= sids
            by_module = {name: {s for s in actor._providers if name in texts_of(texts[s])} for name in actor._by_module}
            assert actor._by_module == by_module
            assert all(actor._by_uid.values())
            assert all(actor._by_module.values())
        r.tell(*(m.SessionDown(sid, "") for sid in texts))
        state = (actor._records, actor._refs, actor._providers, actor._by_uid, actor._by_module) if facts else ()
        assert not any(state)
        versions = [change.version for change in subscriber.told[1:]]
        assert versions == list(range(1, len(versions) + 1))


def texts_of(text):
    return {service.module for service in parse(text).provides}


# --- its second life


def restarted(world):
    """Start a second registry over a world's sessions, whose inboxes need not be empty."""
    refs = [actor.actor_ref for actor in world.runtime.actors]
    runtime = world.runtime
    ref = runtime.spawn(RegistryActor, Events(), first_version=0, life=1, sessions=refs)
    new = Registry.__new__(Registry)
    new.runtime, new.ref, new.actor = runtime, ref, ref.actor_inbox.actor
    world.registry.tell = ref.tell
    return new


def test_a_restarted_registry_rebuilds_itself_from_the_sessions():
    with World() as world:
        one, two, young = world.up("client"), world.up("server"), world.session("client")
        two.session.bind_uid(7)
        world.runtime.drain()
        refs = [session.ref for session in (one, two, young)]
        inbox = []
        world.registry.tell = inbox.append
        new = Registry(world.runtime, first_version=7, life=1, sessions=refs)
        subscriber = Recorder()
        new.tell(m.Subscribe(subscriber))
        assert subscriber.told == [], "it waits until all have reported"
        assert len(inbox) == 3
        new.tell(*inbox[:2])
        assert subscriber.told == []
        new.tell(inbox[2])
        [snapshot] = subscriber.told
        assert snapshot.version > 7, "the version goes on, so that nobody takes it for an old one"
        assert [each.sid for each in snapshot.providers] == [1]
        assert new.sids() == [1, 2]
        assert new.sids(uid=7) == [2]
        assert world.clock.pending() > 0
        world.registry.tell = new.ref.tell
        young.hello()
        assert subscriber.told[-1].version == snapshot.version + 1


def test_reports_for_an_earlier_life_are_ignored():
    with World() as world:
        session = world.up()
        new = restarted(world)
        world.runtime.drain()
        assert new.sids() == [1]
        stranger = m.SessionReport(0, session.actor.actor_urn, up(5), provider(5))
        new.tell(stranger)
        assert new.sids() == [1]


@pytest.mark.parametrize("others", [0, 2])
def test_a_session_that_dies_before_it_reports_does_not_hold_up_the_others(others):
    with World() as world:
        dying = world.up()
        for _ in range(others):
            world.up()
        dying.ref.tell(Abort("before it was asked"))
        dead = restarted(world)
        subscriber = dead.subscribe()
        world.clock.advance(LOOK_AGAIN_S * 1.01)
        [snapshot] = subscriber.told
        assert len(snapshot.providers) == others
        assert dead.actor._unreported == {}
        world.clock.advance(LOOK_AGAIN_S * 5)
        assert len(subscriber.told) == 1


def test_rebuilding_from_many_sessions_takes_steps_in_proportion():
    """Each report may not walk over all sessions that have not reported."""
    looks = 0

    def is_alive():
        nonlocal looks
        looks += 1
        return True

    count = 2000
    refs = [SimpleNamespace(actor_urn=str(n), tell=lambda _: None, is_alive=is_alive) for n in range(count)]
    with registry(life=1, sessions=refs) as r:
        subscriber = r.subscribe()
        r.tell(*(m.SessionReport(1, str(n), up(n), None) for n in range(count)))
        while r.runtime._ready:
            r.runtime.drain()
        assert len(subscriber.told) == 1
        assert looks <= 3 * count


def test_who_asks_for_the_version_hears_it_after_the_changes_before_it():
    with registry(first_version=5) as r:
        asker = r.subscribe()
        r.tell(up(1), provider(1), m.AskVersion(asker), up(2), provider(2), m.AskVersion(asker))
        heard = [message for message in asker.told if not isinstance(message, m.Snapshot)]
        assert [type(message).__name__ for message in heard] == ["MembershipChange", "VersionIs"] * 2
        assert [message.version for message in heard] == [6, 6, 7, 7]


def test_a_registry_that_does_not_know_its_sessions_yet_answers_no_version():
    with World() as world:
        world.up()
        new, asker = restarted(world), Recorder()
        new.tell(m.AskVersion(asker))
        assert asker.told == []


def test_another_weight_of_a_provider_is_a_change_with_a_version():
    with registry() as r:
        subscriber = r.subscribe()
        r.tell(up(1), provider(1), m.Reweighed(1, 3), m.Reweighed(1, 3), m.Reweighed(2, 3))
        assert [(change.version, change.change.weight) for change in subscriber.told[1:]] == [(1, 1), (2, 3)]
        assert r.subscribe().told[0].providers[0].weight == 3
