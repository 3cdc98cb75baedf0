"""A policy of the user's own may be wrong, slow or raise: its own asks hear of it, in words, and nobody else."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.support.consumers import ConsumerWorld, registration, service
from zfoo_py.consumer.balancer import Balancer, BalancerOptions, BalancerStats, Provider, ServiceView
from zfoo_py.consumer.policies.cached_consistent_hash import CachedConsistentHashBalancer
from zfoo_py.consumer.policies.catalog import BALANCERS
from zfoo_py.consumer.policies.user_policy import SLOW_S, SWEEPS_PER_TICK, WARN_EVERY_S, ProviderView, UserPolicy, made
from zfoo_py.errors import BalancerError

OPTIONS = BalancerOptions(rng=random.Random(1), named={"size": 3})


class Clock:
    """Time passes by `now_s += …`."""

    now_s = 100.0

    def __call__(self):
        return self.now_s


def guard(make, clock=None):
    """Return the guarded policy and what it said in the log."""
    lines = []
    return made("mine", make, OPTIONS, clock=clock or Clock(), warn=lines.append), lines


class First:
    """As small as a policy can be: no base class, no constructor, nothing but pick."""

    def pick(self, view, key):
        return view.providers[0] if view.providers else None


def seeing(policy, *names):
    view = ServiceView("visits")
    for name in names:
        provider = Provider(
            name, node_id=f"id of {name}", address="h:1", services=frozenset({("visits", "x")}), weight=2
        )
        view = view.joined(provider, 1)
        policy.on_up(provider)
    return view


def test_a_policy_needs_nothing_but_pick():
    policy, lines = guard(First)
    view = seeing(policy, "a", "b")
    assert policy.pick(view, "key") is view.providers[0]
    assert policy.pick(ServiceView("visits"), "key") is None
    policy.tick(5)
    assert policy.sweep(9)
    assert policy.stats() == BalancerStats()
    assert (policy.needs_key, policy.counts_in_flight, lines) == (True, False, [])
    assert policy.follows(view)


def test_it_sees_providers_read_only_and_the_same_object_from_up_to_down():
    seen = []

    class Looks(First):
        counts_in_flight = True
        needs_key = False

        def __init__(self, options):
            assert options.named == {"size": 3}

        def on_up(self, provider):
            seen.append(provider)

        on_down = on_up

        def pick(self, view, key):
            seen.extend(view.providers)
            return view.providers[0]

    policy, _ = guard(Looks)
    view = seeing(policy, "a")
    policy.pick(view, 1)
    policy.in_flight.counts[view.providers[0]] = 7
    [first, again] = seen
    assert first is again
    assert (first.ring_name, first.node_id, first.address, first.weight) == ("a", "id of a", "h:1", 2)
    assert (first.text, first.services, first.in_flight) == ("a", {("visits", "x")}, 7)
    for name in (*vars(ProviderView), "anything"):
        if not name.startswith("_"):
            with pytest.raises(AttributeError):
                setattr(first, name, 1)
    assert not hasattr(first, "session")
    policy.on_down(view.providers[0])
    assert seen[2] is first
    assert (policy.needs_key, policy.counts_in_flight) == (False, True)
    assert not policy.follows(view)


@pytest.mark.parametrize(
    ("picked", "text"),
    [
        (None, "returned None, where 2 providers serve the module; return one of view.providers"),
        ("a", "returned a str, which is no provider; return one of view.providers"),
        (Provider("a"), "returned a Provider, which is no provider"),
    ],
)
def test_a_wrong_pick_is_a_typed_error_that_says_what_to_return(picked, text):
    policy, _ = guard(type("Wrong", (), {"pick": lambda *_: picked}))
    view = seeing(policy, "a", "b")
    with pytest.raises(BalancerError) as caught:
        policy.pick(view, "k")
    assert text in str(caught.value)


def test_a_provider_of_another_type_or_one_that_left_is_a_wrong_pick():
    class Remembers(First):
        first = None

        def pick(self, view, key):
            Remembers.first = Remembers.first or view.providers[0]
            return Remembers.first

    policy, _ = guard(Remembers)
    other, _ = guard(Remembers)
    view, others = seeing(policy, "a", "b"), seeing(other, "a", "b")
    assert policy.pick(view, "k") is view.providers[0]
    with pytest.raises(BalancerError, match=r"returned 'a', which does not serve the module now: forget a provider"):
        other.pick(others, "k")
    policy.on_down(view.providers[0])
    with pytest.raises(BalancerError, match="forget a provider in on_down"):
        policy.pick(view.left(view.providers[0], 2), "k")


RAISED = [ZeroDivisionError("boom"), SystemExit(3), asyncio.CancelledError(), GeneratorExit()]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["pick", "on_up", "on_down", "tick", "sweep", "stats", "__init__"])
def test_whatever_it_raises_wherever_other_types_go_on(where, error):
    """Also SystemExit, which would end the consumer, and a constructor that raises."""
    raises = dict.fromkeys(("pick", "on_up", "on_down", "tick", "sweep", "stats"), False)

    def hook(name):
        def call(self, *args):
            if raises[name]:
                raise error
            return args[0].providers[0] if name == "pick" else None

        return call

    def fail(self, options):
        raise ValueError("no") from error

    attributes = {name: hook(name) for name in raises} | ({"__init__": fail} if where == "__init__" else {})
    policy, lines = guard(type("Bad", (), attributes))
    world = ConsumerWorld(service("visits", policy), service("pages"))
    raises[where] = True
    both = {sid: registration(sid, "visits", "pages") for sid in (1, 2)}
    refs = [world.up(sid, which) for sid, which in both.items()]
    error_of = world.ask("k").exception() if world.ask("k").done() else None
    for _ in range(3):
        world.later(1.0)
    world.down(1)
    world.ask_page("k")
    assert [outbound.call.binding.module.name for outbound in refs[1].told].count("pages") == 1
    assert world.ring_names("visits") == world.ring_names("pages") == [both[2].ring_name]
    assert world.deaths == 0
    if where in ("pick", "__init__"):
        assert isinstance(error_of, BalancerError)
        assert f"in {where if where == 'pick' else 'its constructor'}: mend" in str(error_of)
        assert str(error_of).startswith("the balancer 'UserPolicy' of module 'visits' raised ")
        assert (error_of.may_have_run, error_of.module) == (False, "visits")
    else:
        assert error_of is None
    assert bool(lines) == (where == "__init__")


def test_something_without_pick_is_said_at_once_and_at_each_ask():
    policy, lines = guard(lambda options: object())
    view = seeing(policy, "a")
    with pytest.raises(BalancerError, match=r"is a object without pick\(view, key\): define it"):
        policy.pick(view, "k")
    assert len(lines) == 1
    assert "the balancer 'mine' is a object without pick(view, key): define it and restart" in lines[0]
    assert lines[0].endswith("until then every ask of its service type is a BalancerError")


@pytest.mark.parametrize("name", ["pick", "needs_key", "counts_in_flight"])
def test_an_attribute_that_raises_is_the_policys_fault_and_not_the_nodes(name):
    def raises(_):
        raise ZeroDivisionError("boom")

    policy, lines = guard(type("Raises", (First,), {name: property(raises)}))
    view = seeing(policy, "a")
    with pytest.raises(BalancerError, match=f"raised ZeroDivisionError: boom in {name}: mend it and restart"):
        policy.pick(view, "k")
    assert len(lines) == 1


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_a_method_that_cannot_be_looked_up_is_one_that_raised(error):
    def raises(_):
        raise error

    policy, _ = guard(type("Raises", (First,), {"tick": property(raises)}))
    with pytest.raises(BalancerError, match="in tick: mend the policy"):
        policy.tick(1)


def test_a_sweep_that_never_ends_rests_until_the_next_tick_and_is_told_once_a_minute():
    clock = Clock()
    policy, lines = guard(type("Sweeps", (First,), {"sweep": lambda *_: False}), clock)
    for now_s in range(3):
        policy.tick(now_s)
        calls = 1
        while not policy.sweep(500):
            calls += 1
            assert calls < 10 * SWEEPS_PER_TICK
        assert calls == SWEEPS_PER_TICK
        assert policy.sweep(500)  # a change in the same second
    assert len(lines) == 1
    assert "return True when nothing is left to sweep" in lines[0]
    clock.now_s += WARN_EVERY_S
    assert policy.sweep(500)
    assert len(lines) == 2


def test_a_slow_policy_is_told_once_a_minute_with_the_worst_time():
    clock = Clock()
    takes_s = [0.0]

    class Slow(First):
        def pick(self, view, key):
            clock.now_s += takes_s[0]
            return super().pick(view, key)

    policy, lines = guard(Slow, clock)
    view = seeing(policy, "a")
    policy.pick(view, 1)
    assert lines == []
    for takes_s[0] in (SLOW_S * 2, SLOW_S * 5, SLOW_S * 3):
        policy.pick(view, 1)
    assert len(lines) == 1
    assert "'mine' is slow: pick took 4.0 ms, and every service type of this node waits" in lines[0]
    clock.now_s += WARN_EVERY_S
    policy.pick(view, 1)
    assert len(lines) == 2
    assert "(3 calls over 2 ms since the last such line, the worst 10.0 ms)" in lines[1]


def test_zfoo_pys_own_policies_have_no_guard_but_a_changed_one_has():
    for make in BALANCERS.values():
        assert not isinstance(guard(lambda _, make=make: make(BalancerOptions(rng=OPTIONS.rng)))[0], UserPolicy)

    class Changed(CachedConsistentHashBalancer):
        def pick(self, view, key):
            return super().pick(view, key)

    changed, _ = guard(lambda options: Changed(options.rng))
    assert isinstance(changed, UserPolicy)
    view = seeing(changed, "a", "b", "c")
    plain = CachedConsistentHashBalancer(OPTIONS.rng)
    for provider in view.providers:
        plain.on_up(Provider(provider.ring_name, weight=2))
    for key in range(100):
        assert changed.pick(view, key).ring_name == plain.pick(view, key).ring_name
    assert changed.stats().entries == 100
    assert isinstance(guard(lambda _: Balancer())[0], UserPolicy)
