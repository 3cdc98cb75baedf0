"""However fast membership changes, no pick disagrees with a consumer that starts now; and the watchdog looks at it."""

from __future__ import annotations

import random

import pytest

from tests.support.consumers import ConsumerWorld, owner, registration, service
from zfoo_py.consumer.balancer import Provider
from zfoo_py.consumer.ring import HashRing
from zfoo_py.events import Alert
from zfoo_py.net import messages as m

KEYS = [*range(120), *(f"k{number}" for number in range(80))]


class Watched(ConsumerWorld):
    """A consumer whose registry answers AskVersion; it has two hashed types, the second of them not cached."""

    def __init__(self, **how):
        super().__init__(service("visits"), service("pages", "consistent-hash"), **how)
        self.answers = True

    def second(self, seconds=1.0):
        """Let time pass; the registry answers what it was asked."""
        self.later(seconds)
        told, self.registry.told = self.registry.told, []
        for message in told:
            if isinstance(message, m.AskVersion) and self.answers:
                self.me.tell(m.VersionIs(self.version))
            elif isinstance(message, m.Subscribe) and self.answers:
                self.me.tell(m.Snapshot(self.version, tuple(self.providers.values())))
        self.run()

    def agrees(self):
        """Every pick, of keys long known and of new ones, is a fresh consumer's."""
        alive = {up.registration.ring_name for up in self.providers.values()}
        for key in [*KEYS, f"new {self.version}"]:
            expected = owner(alive, key)
            assert (self.ask(key, run=False), self.ask_page(key))[1].provider == (expected or "")
            cached = self.actor._services["visits"].balancer.entry(key)
            assert (cached.provider.ring_name if cached else None) == expected
        for ref in self.refs.values():
            ref.told.clear()
        return True


def test_200_providers_at_once_come_and_go_in_one_burst():
    """Every change is handled before the next ask, and half of the keys were known before."""
    world = Watched()
    for key in KEYS:
        world.ask(key)
    both = [registration(number, "visits", "pages") for number in range(200)]
    for sid, which in enumerate(both, 1):
        world.up(sid, which, run=False)
    asked = [world.ask(key, run=False) for key in KEYS]
    world.run()
    assert {answer.membership_version for answer in asked} == {200}
    assert [answer.provider for answer in asked] == [owner([one.ring_name for one in both], key) for key in KEYS]
    assert world.agrees()
    for sid in range(1, 201):
        world.down(sid, run=False)
        if sid == 150:
            assert world.agrees()
    world.run()
    assert world.actor.version == 400
    figures = world.stats()["services"]["visits"]
    assert (figures["entries"], figures["ring_points"]) == (0, 0)


def test_100_changes_in_a_second_at_50_providers_agree_after_each_of_them():
    """R8, with half of the sweep's turns in between."""
    rng = random.Random(8)
    world = Watched()
    both = {sid: registration(sid, "visits", "pages") for sid in range(1, 71)}
    for sid in range(1, 51):
        world.up(sid, both[sid])
    for change in range(100):
        gone = sorted(both.keys() - world.providers.keys())
        if change % 2:
            sid = rng.choice(gone)
            world.up(sid, both[sid], run=False)
        else:
            world.down(rng.choice(sorted(world.providers)), run=False)
        assert world.agrees()
        world.later(0.01)
        world.run()
    assert world.actor.version == world.version == 150
    world.second()
    assert world.stats()["services"]["visits"]["unswept"] == 0
    assert world.of(Alert) == []


@pytest.mark.parametrize("overlap", [True, False], ids=["new first", "old first"])
def test_a_rolling_restart_moves_no_key_where_the_registrations_come_back(overlap):
    world = Watched()
    for sid in range(1, 6):
        world.up(sid, registration(sid, "visits", "pages"))
    before = {key: world.ask(key).provider for key in KEYS}
    for sid in range(1, 6):
        which = registration(sid, "visits", "pages")
        if overlap:
            world.up(sid + 100, which)
            assert {key: world.ask(key).provider for key in KEYS} == before
            world.down(sid)
        else:
            world.down(sid)
            assert world.agrees()
            world.up(sid + 100, which)
        assert {key: world.ask(key).provider for key in KEYS} == before
        assert world.agrees()


def test_of_a_provider_with_several_sessions_each_may_go_but_the_last():
    world = Watched()
    world.up(1, registration(1, "visits", "pages"))
    for sid in (11, 12, 13):
        world.up(sid, registration(2, "visits", "pages"))
    before = world.stats()["services"]["visits"]["points_version"]
    for sid in (12, 11):
        world.down(sid)
        assert world.agrees()
    assert world.stats()["services"]["visits"]["points_version"] == before
    world.down(13)
    assert world.agrees()
    assert world.stats()["services"]["visits"]["points_version"] == before + 1


def test_with_the_last_provider_of_a_type_its_ring_and_its_memory_go_and_no_others():
    world = Watched()
    world.up(1, registration(1, "visits"))
    world.up(2, registration(2, "pages"))
    for key in range(3000):
        world.ask(key)
    cache = world.actor._services["visits"].balancer.cache
    world.down(1)
    assert world.stats()["services"]["visits"]["ring_points"] == len(cache) == 0
    assert cache.dead > 0
    while cache.dead:
        world.later()
    assert world.stats()["services"]["visits"]["estimated_bytes"] == 0
    assert world.stats()["services"]["pages"]["ring_points"] == 200


# ---------------------------------------------------------------------------------------------------- weights
def weighted(names, key):
    """Whom a consumer that starts now would pick."""
    ring = HashRing()
    for name, weight in names.items():
        ring.add(name, 200 * weight)
    return ring.owner(key)


def picks(world):
    """Ask one after the other, so that no bound is met."""
    found = {}
    for key in KEYS:
        answer = world.ask(key)
        found[key] = answer.provider
        answer.settle(None)
    return found


@pytest.mark.parametrize("policy", ["cached-consistent-hash", "consistent-hash", "bounded-consistent-hash"])
def test_another_weight_of_the_same_registration_changes_the_ring_like_any_change(policy):
    """Told of the session that is there, or by another session to the same provider."""
    world = ConsumerWorld(service("visits", policy))
    names = {registration(sid).ring_name: 1 for sid in (1, 2, 3)}
    for sid in (1, 2, 3):
        world.up(sid)
    before = picks(world)
    for sid, number, weight in ((2, 2, 4), (2, 2, 2), (9, 3, 3)):
        changed = registration(number).ring_name
        heavier = weight > names[changed]
        names[changed] = weight
        ref = world.refs.get(sid, world.refs[number])
        world.providers[sid] = m.ProviderUp(sid, registration(number), ref, weight)
        world._change(world.providers[sid], run=True)
        now = picks(world)
        assert now == {key: weighted(names, key) for key in KEYS}
        assert {(now if heavier else before)[key] for key in KEYS if now[key] != before[key]} == {changed}
        assert world.stats()["services"]["visits"]["ring_points"] >= 200 * sum(names.values()) - 5
        before = now
    assert world.actor.version == 6
    world.snapshot()
    assert picks(world) == before


@pytest.mark.parametrize("policy", ["least-pending", "bounded-consistent-hash"])
def test_another_weight_forgets_no_ask_in_flight(policy):
    world = ConsumerWorld(service("visits", policy))
    ref = world.up(1)
    for key in range(5):
        world.ask(key)
    world._change(m.ProviderUp(1, registration(1), ref, 3), run=True)
    in_flight = world.actor._services["visits"].balancer.in_flight
    assert list(in_flight.counts.values()) == [in_flight.total] == [5]


# --------------------------------------------------------------------------------------------- the watchdog
def test_the_watchdog_is_quiet_at_a_change_that_got_lost_and_is_asked_for_again():
    world = Watched()
    world.up(1, registration(1))
    world.version += 1
    world.providers[2] = m.ProviderUp(2, registration(2), world.refs[1])
    for _ in range(5):
        world.second()
    assert (len(world.ring_names()), world.actor.version) == (2, 2)
    assert world.of(Alert) == []


def test_the_watchdog_barks_once_when_the_rings_stay_behind_the_registry():
    world = Watched()
    world.up(1, registration(1))
    world.answers = False
    for _ in range(6):
        world.me.tell(m.VersionIs(7))
        world.later(1.0)
    [alert] = world.of(Alert)
    assert alert.name == "ring-is-not-membership"
    assert "the rings are at membership version 1, and the registry is at 7" in alert.text


@pytest.mark.parametrize("module", ["visits", "pages"])
def test_the_watchdog_barks_when_a_ring_holds_another_provider_than_membership(module):
    world = Watched()
    world.up(1, registration(1, "visits", "pages"))
    world.second()
    world.actor._services[module].balancer.on_up(Provider("left over"))
    for _ in range(5):
        world.second()
    [alert] = world.of(Alert)
    assert f"the ring of module '{module}' has not the providers of its membership" in alert.text


def test_before_the_first_snapshot_the_watchdog_has_nothing_to_compare():
    world = Watched(snapshot=False)
    world.version = 5
    for _ in range(5):
        world.later(1.0)
        world.me.tell(m.VersionIs(5))
    assert world.of(Alert) == []
