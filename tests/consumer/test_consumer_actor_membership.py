"""The consumer actor follows the registry: through reconnections, gaps, snapshots and restarts, exactly."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.consumers import ConsumerWorld, FakeSessionRef, first_of, owner, registration, service
from tests.support.sessions import Recorder
from zfoo_py.actor import Abort, CoreRef, LoopFuture
from zfoo_py.consumer import messages as c
from zfoo_py.consumer.balancer import Balancer
from zfoo_py.consumer.sweeper import SWEEP_ENTRIES_PER_TURN, SWEEP_TURNS_PER_ROUND
from zfoo_py.errors import NoProviderError
from zfoo_py.events import Events, MembershipChanged, ProviderDown, ProviderUp
from zfoo_py.net import messages as m
from zfoo_py.net.registry_actor import RegistryActor
from zfoo_py.net.session import SessionRecord

R1, R2, R3 = (registration(number) for number in (1, 2, 3))


class Notes(Balancer):
    """A policy that notes what it is told, and what it saw when it picked."""

    def __init__(self):
        self.told = []
        self.picked_at = []

    def on_up(self, provider):
        self.told.append(("up", provider.ring_name))

    def on_down(self, provider):
        self.told.append(("down", provider.ring_name))

    def pick(self, view, key):
        self.picked_at.append(view.applied_version)
        return first_of(view)


def names(world, module="visits"):
    """Return the ring's providers; the view's must be the same."""
    ring = world.actor._services[module].balancer.ring
    assert sorted(ring.providers) == world.ring_names(module)
    return world.ring_names(module)


# ------------------------------------------------------------------------- a provider is a registration
SECOND_COMES_BEFORE_FIRST_GOES = [["up 2", "down 1"], ["up 2", "up 3", "down 1", "down 2"], ["up 2", "down 2"]]


@pytest.mark.parametrize("steps", SECOND_COMES_BEFORE_FIRST_GOES)
def test_a_reconnection_moves_no_key_and_is_no_event(steps):
    world = ConsumerWorld(service("visits"))
    world.up(1, R1)
    world.up(9, R2)
    before = [world.ask(key).provider for key in range(200)]
    points_version = world.stats()["services"]["visits"]["points_version"]
    world.heard.clear()
    for step in steps:
        word, sid = step.split()
        world.up(int(sid), R1) if word == "up" else world.down(int(sid))
    assert [world.ask(key).provider for key in range(200)] == before
    figures = world.stats()["services"]["visits"]
    assert (figures["points_version"], figures["moved_keys"]) == (points_version, 0)
    assert world.of(ProviderUp, ProviderDown) == []
    assert [event.membership_version for event in world.of(MembershipChanged)] == list(range(3, 3 + len(steps)))


@pytest.mark.parametrize("order", sorted(set(permutations(["up 2", "down 1", "up 3", "down 2"]))))
def test_in_any_order_the_ring_holds_exactly_what_has_a_session(order):
    """Even a session that is lost before it was told to be there."""
    world = ConsumerWorld(service("visits"))
    world.up(1, R1)
    known = {1}
    for step in order:
        word, sid = step.split()
        if word == "up":
            world.up(int(sid), R1)
            known.add(int(sid))
        elif int(sid) in known:
            world.down(int(sid))
            known.discard(int(sid))
        else:
            world._change(m.ProviderDown(int(sid), "never seen"), run=True)
        assert names(world) == ([R1.ring_name] if known else [])


def test_asks_go_to_the_oldest_living_session():
    world = ConsumerWorld(service("visits"))
    first, second = world.up(1, R1), world.up(2, R1)
    world.ask("k")
    world.down(1)
    world.ask("k")
    assert (len(first.told), len(second.told)) == (1, 1)


def test_a_registration_that_has_no_name_is_left_out_and_stops_nobody():
    """A static address may belong to a node that says it provides without address."""
    world = ConsumerWorld(service("visits"))
    world.up(1, registration(1, address=None))
    world.up(2, R2)
    assert names(world) == [R2.ring_name]
    world.down(1)
    assert world.actor.version == 3
    assert world.registry.told == [m.Subscribe(world.me)]


# --------------------------------------------------------------------------------------- events
def test_events_come_once_per_provider_with_the_version_before_any_pick_at_it():
    policy = Notes()
    world = ConsumerWorld(service("visits", policy))
    heard = world.heard = []
    world.events.subscribe(MembershipChanged, lambda event: heard.append((event, list(policy.picked_at))))
    for kind in (ProviderUp, ProviderDown):
        world.events.subscribe(kind, heard.append)
    world.ask("k", run=False)
    world.up(1, registration(1, "visits", "pages"), run=False)
    world.ask("k", run=False)
    world.up(2, registration(1, "visits", "pages"), run=False)
    world.run()
    world.down(1)
    world.down(2, "the last one")
    ring_name = registration(1, "visits", "pages").ring_name
    shown = {"visits": ((ring_name, "app-1"),)}
    assert heard == [
        ProviderUp(1, ring_name, "app-1", "10.0.0.1:1", ("pages", "visits"), 1),
        (MembershipChanged(1, shown), []),
        (MembershipChanged(2, shown), []),  # membership overtakes asks
        (MembershipChanged(3, shown), [2, 2]),
        ProviderDown(4, ring_name, "app-1", "10.0.0.1:1", ("pages", "visits"), "the last one", 2),
        (MembershipChanged(4, {"visits": ()}), [2, 2]),
    ]
    assert policy.told == [("up", ring_name), ("down", ring_name)]


def test_a_policy_hears_only_of_providers_of_its_type_and_group():
    policy = Notes()
    world = ConsumerWorld(service("visits", policy, group="blue"))
    world.up(1, registration(1, "pages"))
    world.up(2, registration(2, "visits/green"))
    world.up(3, registration(3, "visits/blue", "pages"))
    world.down(1)
    assert policy.told == [("up", registration(3, "visits/blue", "pages").ring_name)]


# ----------------------------------------------------------------------------------- gaps and snapshots
def test_after_a_gap_it_subscribes_again_and_waits_for_the_snapshot():
    world = ConsumerWorld(service("visits"))
    world.up(1, R1)
    world.registry.told.clear()
    world.version += 1  # a change that got lost
    world.up(2, R2)
    assert world.registry.told == [m.Subscribe(world.me)]
    assert (names(world), world.actor.version) == ([R1.ring_name], 1)
    world.snapshot()
    assert (names(world), world.actor.version) == ([R1.ring_name, R2.ring_name], 3)
    world.down(1)
    assert names(world) == [R2.ring_name]
    assert len(world.registry.told) == 1


def test_what_is_older_than_the_snapshot_changes_nothing():
    world = ConsumerWorld(service("visits"))
    world.version = 4
    world.up(1, R1, run=False)
    world.snapshot()
    world.me.tell(m.MembershipChange(5, m.ProviderDown(1, "said before the snapshot")))
    world.me.tell(m.MembershipChange(3, m.ProviderDown(1, "said long before")))
    world.run()
    assert (names(world), world.actor.version) == ([R1.ring_name], 5)


def test_a_snapshot_is_taken_as_a_difference():
    """Who is still there keeps points, session and keys; only joiners and leavers are events."""
    world = ConsumerWorld(service("visits"))
    for sid, which in ((1, R1), (2, R2)):
        world.up(sid, which)
    for key in range(100):
        world.ask(key)
    world.heard.clear()
    del world.providers[1]
    world.version = 9
    world.up(3, R3, run=False)
    world.snapshot()
    assert names(world) == [R2.ring_name, R3.ring_name]
    assert [
        (type(event), event.provider, event.membership_version) for event in world.of(ProviderUp, ProviderDown)
    ] == [
        (ProviderDown, R1.ring_name, 10),
        (ProviderUp, R3.ring_name, 10),
    ]
    assert [event.membership_version for event in world.of(MembershipChanged)] == [10]
    kept = [key for key in range(100) if owner([R1.ring_name, R2.ring_name], key) == R2.ring_name]
    moved = [key for key in kept if world.ask(key).provider != R2.ring_name]
    assert moved == [key for key in kept if owner(names(world), key) != R2.ring_name]


def test_the_same_snapshot_again_is_no_news():
    world = ConsumerWorld(service("visits"))
    world.up(1, R1)
    world.heard.clear()
    world.snapshot()
    world.snapshot()
    assert world.heard == []


def test_a_new_registry_is_subscribed_to_and_may_begin_with_fewer_providers():
    world = ConsumerWorld(service("visits"))
    world.up(1, R1)
    world.up(2, R2)
    world.registry.told.clear()
    world.me.tell(c.RegistryRestarted())
    world.run()
    assert world.registry.told == [m.Subscribe(world.me)]
    assert names(world) == [R1.ring_name, R2.ring_name]  # until it speaks, what is known stays
    del world.providers[1]
    world.version = 3
    world.snapshot()
    assert names(world) == [R2.ring_name]


# ------------------------------------------------------------------------------------------ when ready
def test_ready_is_when_every_consumed_module_has_a_provider_of_its_group():
    world = ConsumerWorld(service("visits"), service("pages", group="blue"))
    ready = LoopFuture()
    world.me.tell(c.WhenReady(ready))
    world.up(1, R1)
    world.up(2, registration(2, "pages"))
    assert not ready.done()
    world.up(3, registration(3, "pages/blue"))
    assert ready.done()
    world.down(3)
    again = LoopFuture()
    world.me.tell(c.WhenReady(again))
    world.run()
    assert not again.done()
    world.version += 1
    world.up(4, registration(3, "pages/blue"), run=False)
    world.snapshot()
    assert again.done()


# -------------------------------------------------------------------------------------- sweep and clock
def test_the_sweep_goes_in_bounded_turns_between_which_others_run_and_it_ends():
    budgets = Counter()

    class Counting(Balancer):
        left = 0

        def sweep(self, budget_entries):
            budgets[self.name] += 1
            assert budget_entries <= SWEEP_ENTRIES_PER_TURN
            self.left = max(0, self.left - budget_entries)
            return not self.left

    policies = {"visits": Counting(), "pages": Counting()}
    for name, policy in policies.items():
        policy.name = name
    world = ConsumerWorld(*(service(name, policy) for name, policy in policies.items()))
    budgets.clear()
    size, round_ = SWEEP_ENTRIES_PER_TURN, SWEEP_TURNS_PER_ROUND
    policies["visits"].left = 10 * size
    world.up(1)
    # The first turn is for both types, the others of the round for the one that has work; then the loop is free.
    assert policies["visits"].left == 10 * size - size // 2 - (round_ - 1) * size
    assert (budgets["visits"], budgets["pages"]) == (round_, 1)
    world.down(1)  # a change during the sweep starts no second one
    assert (budgets["visits"], world.loop.clock.pending()) == (round_, 2)
    world.later()
    assert policies["visits"].left == 0
    assert budgets["visits"] == 11  # with two halves
    assert world.loop.clock.pending() == 1  # the clock's
    world.up(2)
    assert budgets["visits"] == 12


def test_after_a_join_and_a_leave_the_sweep_leaves_no_stale_entry():
    world = ConsumerWorld(service("visits"))
    world.up(1, R1)
    for key in range(3 * SWEEP_ENTRIES_PER_TURN):
        world.ask(key, run=False)
        if key % 500 == 0:
            world.run()
    world.up(2, R2)
    world.up(3, R3)
    world.down(1)
    while world.stats()["services"]["visits"]["unswept"]:
        world.later()
    entries = world.actor._services["visits"].balancer.cache.entries
    ring = [R2.ring_name, R3.ring_name]
    assert {key for key, entry in entries.items() if entry.provider.ring_name != owner(ring, key)} == set()
    figures = world.stats()["services"]["visits"]
    assert figures["evictions"]["provider_down"] + figures["evictions"]["provider_up"] == figures["moved_keys"] > 0


def test_the_clock_ticks_every_second_and_expires_keys_nobody_asks_for():
    world = ConsumerWorld(service("visits"))
    world.up(1)
    world.ask("k")
    for _ in range(800):
        world.later(1.0)
    figures = world.stats()["services"]["visits"]
    assert (figures["entries"], figures["evictions"]["expired"]) == (0, 1)


def test_neither_clock_nor_sweep_is_lost_to_a_full_inbox():
    world = ConsumerWorld(service("visits"), limit_messages=1)
    world.up(1)
    world.ask("k", run=False)
    world.loop.clock.advance(1.0)
    world.up(2, run=False)
    world.later()
    assert world.loop.clock.pending() == 1
    assert world.actor._services["visits"].balancer.cache.now_tick == int(world.loop.clock.time())
    assert world.stats()["services"]["visits"]["unswept"] == 0


# ------------------------------------------------------------------------------------ any history at all
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("up"), st.integers(0, 4)),
        st.tuples(st.just("down"), st.integers(0, 9)),
        st.tuples(st.just("reconnect"), st.integers(0, 9)),
        st.tuples(st.just("ask"), st.integers(0, 12)),
        st.tuples(st.sampled_from(["page", "run", "turn", "wait", "restart", "gap"]), st.integers(0, 12)),
    ),
    max_size=30,
)
OFFERS = (("visits",), ("visits", "pages"), ("pages",), ("visits/blue",), ("pages", "visits"))


class ReportingRef(FakeSessionRef):
    """A session that tells a new registry what it is."""

    def __init__(self, world, up, provider):
        super().__init__()
        self.world, self.up, self.provider = world, up, provider
        self.actor_urn = str(provider.sid)

    def is_alive(self):
        return self.provider.sid in self.world.alive

    def tell(self, message):
        if isinstance(message, m.ReportYourself):
            report = m.SessionReport(message.registry_life, self.actor_urn, self.up, self.provider)
            self.world.registry_ref.tell(report)


class History(ConsumerWorld):
    """A consumer beside a real registry, which a second subscriber watches to know who was there at each version."""

    def __init__(self):
        super().__init__(service("visits"), service("pages", "consistent-hash"), snapshot=False)
        self.registry_ref = CoreRef(1000, lambda _: None)
        self.life = 0
        self.truth = {0: {}}
        self.sids = iter(range(1, 1000))
        self.alive = {}
        self.asked = []
        self.watcher = Recorder()
        self.watcher.tell = self.watch
        self.actor._registry = self.registry_ref
        self.start_registry()

    def start_registry(self):
        sessions = [self.refs[sid] for sid in self.alive]
        more = {"first_version": max(self.truth), "life": self.life, "sessions": sessions}
        self.registry_ref.attach(self.runtime.spawn(RegistryActor, Events(), **more))
        self.registry_ref.tell(m.Subscribe(self.watcher))
        self.me.tell(c.RegistryRestarted())

    def watch(self, message):
        if isinstance(message, m.Snapshot):
            self.truth[message.version] = {up.sid: up for up in message.providers}
            return
        providers = dict(self.truth[message.version - 1])
        if isinstance(message.change, m.ProviderUp):
            providers[message.change.sid] = message.change
        else:
            del providers[message.change.sid]
        self.truth[message.version] = providers

    def owner_at(self, version, module, key):
        offered = {
            up.registration.ring_name
            for up in self.truth[version].values()
            if (module, module) in up.registration.provides
        }
        return owner(offered, key)

    def open(self, index):
        sid, which = next(self.sids), registration(index, *OFFERS[index])
        record = SessionRecord(sid, "client", "node", "p", "l", "app", which.text, 0.0)
        self.alive[sid] = index
        self.refs[sid] = ref = ReportingRef(self, None, m.ProviderUp(sid, which, None))
        ref.up, ref.provider = m.SessionUp(record, ref, None), m.ProviderUp(sid, which, ref)
        self.registry_ref.tell(ref.up)
        self.registry_ref.tell(ref.provider)

    def close(self, number):
        if self.alive:
            sid = sorted(self.alive)[number % len(self.alive)]
            del self.alive[sid]
            self.registry_ref.tell(m.ProviderDown(sid, "lost"))
            self.registry_ref.tell(m.SessionDown(sid, "lost"))

    def step(self, what, number):
        if what == "up":
            self.open(number)
        elif what == "down":
            self.close(number)
        elif what == "reconnect" and self.alive:
            self.open(self.alive[sorted(self.alive)[number % len(self.alive)]])
            self.close(number)
        elif what == "ask":
            self.asked.append(("visits", number, self.ask(number, run=False)))
        elif what == "page":
            self.asked.append(("pages", number, self.ask_page(number)))
        elif what == "turn":
            self.loop.step()
        elif what == "run":
            self.run()
        elif what == "wait":
            self.later(number / 4)
        elif what == "gap":
            self.me.tell(m.MembershipChange(max(self.truth) + 5, m.ProviderDown(-1, "from the future")))
        elif what == "restart":
            self.registry_ref.tell(Abort())
            self.run()
            self.life += 1
            self.start_registry()


@settings(max_examples=250)
@given(STEPS)
def test_after_any_history_every_pick_was_a_fresh_consumers_pick(steps):
    """Ups, downs, reconnects, gaps, registry restarts and asks in any order, handled one by one or together."""
    world = History()
    for step in steps:
        world.step(*step)
    for _ in range(10):
        world.later()
    for module, key, answer in world.asked:
        if answer.done():
            assert isinstance(answer.exception(), NoProviderError)
        else:
            assert answer.provider == world.owner_at(answer.membership_version, module, key) is not None
    last = world.registry_ref.actor.version
    assert world.actor.version == last == max(world.truth)
    for module in ("visits", "pages"):
        figures = world.stats()["services"][module]
        assert world.actor._services[module].view.applied_version == last
        assert figures["unswept"] == 0
        for key in range(13):
            expected = world.owner_at(last, module, key)
            asked = world.ask(key) if module == "visits" else world.ask_page(key)
            assert (asked.provider or None) == expected
    changes = Counter((type(event), event.provider) for event in world.of(ProviderUp, ProviderDown))
    for ring_name in {event.provider for event in world.of(ProviderUp)}:
        is_there = any(up.registration.ring_name == ring_name for up in world.truth[last].values())
        assert changes[ProviderUp, ring_name] - changes[ProviderDown, ring_name] == is_there
