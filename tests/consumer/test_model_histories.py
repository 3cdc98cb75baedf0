"""A consumer actor against a small model of the truth: whatever happens in whatever order, every pick is right.

`tests/support/truth.py` is the model, `tests/support/histories.py` what is compared with it after every step.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.support.consumers import ConsumerWorld, registration, service
from tests.support.histories import KEYS, REGISTRATIONS, CheckedConsumer, random_history, small_world
from tests.support.truth import HASHES, Truth, crowded
from zfoo_py.consumer.hashing import point_hashes
from zfoo_py.consumer.key_cache import KeyCache
from zfoo_py.consumer.policies.catalog import BALANCERS
from zfoo_py.consumer.ring import HashRing

ROOT = Path(__file__).parents[2]
modules = st.sampled_from(["visits", "pages"])
numbers = st.integers(0, 20)


class ConsumerAgainstTruth(RuleBasedStateMachine):
    """Picks, joins, leaves, reconnections, gaps, time, turns and sweeps, in any order."""

    def __init__(self):
        super().__init__()
        self.patches = ExitStack()
        self.patches.enter_context(small_world())
        self.world = CheckedConsumer()

    def teardown(self):
        try:
            self.world.check_rest()
        finally:
            self.patches.close()

    @rule(module=modules, key=st.sampled_from(KEYS))
    def ask(self, module, key):
        self.world.ask_for(module, key)

    @rule(module=modules, key=st.sampled_from(KEYS))
    def ask_at_once(self, module, key):
        self.world.ask_for(module, key)
        self.world.turn()

    @rule(of=st.sampled_from(REGISTRATIONS))
    def connect(self, of):
        self.world.connect(of)

    @rule(number=numbers)
    def disconnect(self, number):
        self.world.disconnect(number)

    @rule(number=numbers, new_first=st.booleans())
    def reconnect(self, number, new_first):
        self.world.reconnect(number, new_first=new_first)

    @rule()
    def turn(self):
        self.world.turn()

    @rule()
    def sweep(self):
        self.world.sweep()

    @rule(seconds=st.sampled_from([1, 1, 2, 15, 42]))
    def time_passes(self, seconds):
        self.world.time_passes(seconds)

    @rule()
    def lose_count(self):
        self.world.lose_count()

    @invariant()
    def all_is_as_it_should_be(self):
        self.world.check()


TestConsumerAgainstTruth = ConsumerAgainstTruth.TestCase
TestConsumerAgainstTruth.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@pytest.mark.slow
def test_random_histories_never_violate_the_model():
    """The short form of `python -m tests.support.histories`."""
    worlds = [random_history(seed, 300) for seed in range(8)]
    assert sum(world.answered for world in worlds) > 800
    assert sum(world.truth.version for world in worlds) > 400


# ------------------------------------------------------------------------------------ the checks can fail
def forget_the_change(self):
    self.version = self._ring.points_version
    if not self._providers:
        self.clear()
    for entry in self.entries.values():
        entry.checked = self.version


def keep_all(self, entry):
    if entry.checked != self.version:
        self._check(entry)
    return True


def never_done(self, budget):
    return False


FAULTS = {
    "a change is not seen by entries": (
        "ring_changed",
        forget_the_change,
        "remembered wrongly|a provider that is gone",
    ),
    "nothing expires": ("_inspect", keep_all, "should have gone"),
    "no room is made": ("_make_room", lambda self: None, "more than it may"),
    "the sweep does nothing": ("sweep", never_done, "the sweep does not end"),
    "the last provider's keys stay": ("clear", lambda self: None, "still a cache|more than it may"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_cache_with_a_fault_is_found_out(fault, monkeypatch):
    name, wrong, text = FAULTS[fault]
    monkeypatch.setattr(KeyCache, name, wrong)
    with pytest.raises(AssertionError, match=text):
        [random_history(seed, 300) for seed in range(20)]


def test_a_ring_that_is_wrong_is_found_out(monkeypatch):
    monkeypatch.setattr(HashRing, "owner_of_hash", lambda self, key_hash: min(self.providers, default=None))
    with pytest.raises(AssertionError, match="is picked for"):
        random_history(0, 300)


# --------------------------------------------------------------------------------------- minimal movement
@pytest.mark.parametrize("hash_points", [crowded, point_hashes], ids=["crowded", "real"])
@settings(max_examples=60)
@given(
    names=st.lists(st.sampled_from(["a", "b", "c", "é", "\uffff", "\U00010000", "\ud800"]), unique=True, min_size=1),
    hashes=st.lists(st.integers(0, HASHES - 1), min_size=1, max_size=60),
)
def test_a_change_moves_only_keys_to_who_came_and_from_who_went(hash_points, names, hashes):
    """Also where points coincide: the newcomer takes a point over, and gives it back."""
    *others, newcomer = names
    ring = HashRing(5, hash_points=hash_points)
    for name in others:
        ring.add(name)
    before = [ring.owner_of_hash(each) for each in hashes]
    ring.add(newcomer)
    during = [ring.owner_of_hash(each) for each in hashes]
    assert all(new in {old, newcomer} for old, new in zip(before, during, strict=True))
    ring.remove(newcomer)
    assert [ring.owner_of_hash(each) for each in hashes] == before


# -------------------------------------------------------------------------------------------- determinism
HASHING = [name for name in BALANCERS if "consistent-hash" in name]
PICKS = """
import sys
from tests.consumer.test_model_histories import picks
print(picks(sys.argv[1], int(sys.argv[2])))
"""


def picks(policy, order):
    """Return a digest of who gets which key; ``order`` is that of the providers' coming."""
    world = ConsumerWorld(service("visits", policy))
    numbers = range(1, 31)
    for sid in sorted(numbers, key=lambda number: number * order % 31):
        world.up(sid, registration(sid))
    world.down(7)
    keys = [*KEYS, *range(500), *(f"user-{number}" for number in range(500))]
    answers = [world.ask(key).provider for key in keys]
    assert len(set(answers)) == 29
    return hashlib.sha256("\n".join(answers).encode()).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("policy", HASHING)
def test_picks_are_the_same_in_every_process_and_for_every_order_of_coming(policy):
    found = {picks(policy, 1)}
    for seed, order in (("0", 3), ("1", 11), ("4294967295", 17)):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        words = [sys.executable, "-c", PICKS, policy, str(order)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, cwd=ROOT, timeout=50)
        assert done.returncode == 0, done.stderr
        found.add(done.stdout.strip())
    assert len(found) == 1


def test_the_truth_is_the_ring():
    """The model and the product have no line in common: they agree on a real ring, too."""
    truth, ring = Truth(), HashRing()
    for sid in range(1, 12):
        truth.up(sid, registration(sid))
        ring.add(registration(sid).ring_name)
    assert all(truth.owner(11, "visits", key) == ring.owner(key) for key in [*KEYS, *range(200)])
