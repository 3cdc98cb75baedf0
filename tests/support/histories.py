"""Histories of a consumer actor, checked against the truth after every step (promise R11).

    python -m tests.support.histories --histories 1000 --steps 1000

The actor gets every message in turns of its own, stepped one by one; caches are tiny, and the providers' points
collide, so that every path is taken often.
"""

from __future__ import annotations

import argparse
import heapq
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock
from uuid import UUID

from tests.support.consumers import ConsumerWorld, registration, service
from tests.support.packets import PageAsk, VisitAsk
from tests.support.truth import Truth, crowded
from zfoo_py.consumer import sweeper
from zfoo_py.consumer.balancer import BalancerOptions
from zfoo_py.consumer.hashing import task_hash
from zfoo_py.consumer.policies import consistent_hash
from zfoo_py.consumer.policies.catalog import BALANCERS
from zfoo_py.consumer.ring import HashRing
from zfoo_py.errors import NoProviderError
from zfoo_py.net import messages as m
from zfoo_py.protocol.registration import Registration
from zfoo_py.router.answer import Answer

__all__ = ["KEYS", "REGISTRATIONS", "CheckedConsumer", "random_history", "small_world"]

VIRTUAL_NODES = 5
MAX_ENTRIES = 8
EXPIRE_S = 40  # long enough for the hand to need several ticks for a round
SWEEP_ENTRIES = 6  # over both types: three of each in a turn
OFFERS = (("visits",), ("visits", "pages"), ("pages",), ("pages", "visits"), ("visits/blue",))
REGISTRATIONS = tuple(registration(number, *OFFERS[number % len(OFFERS)]) for number in range(8))
KEYS = (*range(-2, 8), "1", "2", "true", "1.0", "user-7", "é", "\U0001f600", True, 1.0, 2.5, b"1", UUID(int=7))
KEYS += ((), ("room", 7), ("room", "7"), ("room", True), ("bytes", "0x31"))


@contextmanager
def small_world() -> Iterator[None]:
    """Make rings crowded and sweeps short."""
    with (
        mock.patch.object(consistent_hash, "HashRing", lambda count: HashRing(count, hash_points=crowded)),
        mock.patch.object(sweeper, "SWEEP_ENTRIES_PER_TURN", SWEEP_ENTRIES),
        mock.patch.object(sweeper, "SWEEP_TURNS_PER_ROUND", 2),
    ):
        yield


class CheckedConsumer(ConsumerWorld):
    """A consumer actor of two service types with tiny caches, and the truth beside it. Made within `small_world`.

    Attributes:
        truth: what is right.
        steps: what was done, for the report of a violation.
    """

    def __init__(self) -> None:
        self.truth = Truth(crowded, VIRTUAL_NODES)
        self.steps: list[tuple[Any, ...]] = []
        self.asked: list[tuple[str, Any, Answer[Any]]] = []
        self.last_asked: dict[str, float] = {}
        self.answered = 0
        self.next_sid = 1
        super().__init__(*(service(module, self._policy()) for module in ("visits", "pages")))

    @staticmethod
    def _policy() -> Any:
        options = BalancerOptions(
            rng=random.Random(1),
            max_entries=MAX_ENTRIES,
            expire_after_access_s=EXPIRE_S,
            virtual_nodes=VIRTUAL_NODES,
        )
        return BALANCERS["cached-consistent-hash"](options)

    # --- steps

    def connect(self, of: Registration) -> None:
        """A session to a provider gets ready; the actor has not heard of it yet."""
        sid, self.next_sid = self.next_sid, self.next_sid + 1
        self.truth.up(sid, of)
        self.up(sid, of, run=False)

    def disconnect(self, number: int) -> None:
        """One of the sessions is lost; the actor has not heard of it yet."""
        if self.providers:
            sid = sorted(self.providers)[number % len(self.providers)]
            self.truth.down(sid)
            self.down(sid, run=False)

    def reconnect(self, number: int, *, new_first: bool) -> None:
        """A provider gets a new session and loses an old one, in either order."""
        if self.providers:
            sid = sorted(self.providers)[number % len(self.providers)]
            of = self.providers[sid].registration
            if new_first:
                self.connect(of)
            self.truth.down(sid)
            self.down(sid, run=False)
            if not new_first:
                self.connect(of)

    def ask_for(self, module: str, key: Any) -> None:
        """Ask; the actor has not heard of it yet."""
        answer = self.ask(key, VisitAsk("?") if module == "visits" else PageAsk("?"), run=False)
        self.asked.append((module, key, answer))

    def turn(self) -> None:
        """One round of the loop: what was told is handled, and no sweep."""
        self.loop.step()

    def sweep(self) -> None:
        """Everything is handled, then one turn of the sweep if it is due."""
        self.run()
        self._next_timer(self.loop.clock.time())

    def time_passes(self, seconds: int) -> None:
        """Ticks of the clock, and whatever else falls due."""
        self.run()
        until_s = self.loop.clock.time() + seconds
        for _ in range(seconds + 4 * MAX_ENTRIES):
            if not self._next_timer(until_s):
                break
        else:
            raise AssertionError("the sweep does not end")
        self.loop.clock.advance(until_s - self.loop.clock.time())

    def _next_timer(self, until_s: float) -> bool:
        """Run the next timer that is due by then, and no other one: the clock's own `advance` runs them all."""
        clock = self.loop.clock
        if not clock._timers or clock._timers[0][0] > until_s:
            return False
        clock._now_s, _, timer = heapq.heappop(clock._timers)
        timer.run()
        self.run()
        return True

    def lose_count(self) -> None:
        """A message of the registry is missed: the consumer subscribes again and gets a snapshot."""
        self.run()
        self.registry.told.clear()
        self.me.tell(m.MembershipChange(self.version + 2, m.ProviderDown(-1, "from the future")))
        self.run()
        assert any(isinstance(message, m.Subscribe) for message in self.registry.told), "a gap was not noticed"
        self.snapshot()

    # --- what must be true after every step

    def check(self) -> None:
        """Compare all there is with the truth."""
        version = self.actor.version
        for module, served in self.actor._services.items():
            names = self.truth.providers(version, module)
            policy, cache = served.balancer, served.balancer.cache
            assert set(policy.ring.providers) == {provider.ring_name for provider in served.view.providers} == names
            assert len(cache) == len(cache._clock) <= MAX_ENTRIES, "it holds more than it may"
            if not names:
                assert not len(cache), "no provider, and still a cache"
            for entry in cache.entries.values():
                assert cache.now_tick - entry.tick <= EXPIRE_S * 1.2 + 2, f"{entry.key!r} should have gone"
                if entry.checked == cache.version:
                    assert entry.provider is policy._providers[entry.provider.ring_name], "a provider that is gone"
                    at = policy.ring.owner_of_hash(entry.hash)
                    assert entry.provider.ring_name == at, f"{entry.key!r} is remembered wrongly"
        self._check_picks()

    def _check_picks(self) -> None:
        waiting = []
        for module, key, answer in self.asked:
            if answer.done():
                assert isinstance(answer.exception(), NoProviderError)
            elif not answer.provider:
                waiting.append((module, key, answer))
            else:
                self.answered += 1
                expected = self.truth.owner(answer.membership_version, module, key)
                assert answer.provider == expected, f"{module} {key!r}: {answer.provider} is picked for {expected}"
        self.asked = waiting
        for sid, ref in self.refs.items():
            for outbound in ref.told:
                version = outbound.call.answer.membership_version
                assert sid in self.truth.at[version], f"session {sid} got an ask after it was lost"
                assert outbound.lane == task_hash(outbound.call.key)
            ref.told.clear()

    def check_rest(self) -> None:
        """When all is handled: every pick a fresh consumer's, every entry swept, every version equal."""
        self.run()
        self.time_passes(0)
        self.check()
        assert not self.asked, "an ask was neither forwarded nor answered"
        assert self.actor.version == self.truth.version
        for served in self.actor._services.values():
            assert served.view.applied_version == self.truth.version
            cache = served.balancer.cache
            assert cache.unswept == 0, "the sweep does not end"
            assert all(entry.checked == cache.version for entry in cache.entries.values())
        for module in ("visits", "pages"):
            for key in KEYS:
                self.ask_for(module, key)
        self.run()
        self.check()
        figures = [served.balancer.stats() for served in self.actor._services.values()]
        assert sum(one.hits + one.misses for one in figures) == self.answered, "a pick is counted once"


def random_history(seed: int, steps: int) -> CheckedConsumer:
    """Live through one history.

    Raises:
        AssertionError: something was not as it should be.
    """
    rng = random.Random(seed)
    with small_world():
        world = CheckedConsumer()
        for _ in range(steps):
            number = rng.randrange(100)
            if number < 50:
                world.ask_for(rng.choice(("visits", "pages")), rng.choice(KEYS))
            elif number < 58:
                world.connect(rng.choice(REGISTRATIONS))
            elif number < 66:
                world.disconnect(rng.randrange(20))
            elif number < 72:
                world.reconnect(rng.randrange(20), new_first=rng.random() < 0.5)
            elif number < 88:
                rng.choice((world.turn, world.turn, world.sweep, world.run))()
            elif number < 98:
                world.time_passes(rng.choice((1, 1, 1, 2, 5, 15)))
            elif number < 99:
                world.time_passes(EXPIRE_S + 2)
            else:
                world.lose_count()
            world.check()
        world.check_rest()
    return world


def main() -> int:
    """Live through many; say how many violations there were."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.histories")
    parser.add_argument("--histories", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=1000)
    options = parser.parse_args()
    begun = time.monotonic()
    violations = picks = changes = 0
    for seed in range(options.histories):
        try:
            world = random_history(seed, options.steps)
        except AssertionError as error:
            violations += 1
            sys.stdout.write(f"seed {seed}: {error}\n")
        else:
            picks += world.answered
            changes += world.truth.version
    seconds = time.monotonic() - begun
    sys.stdout.write(
        f"{options.histories:,} histories of {options.steps:,} steps: {violations} violations "
        f"({picks:,} picks, {changes:,} changes, {seconds:.0f} s)\n"
    )
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
