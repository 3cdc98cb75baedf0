"""The consumer actor picks, forwards, and picks again; whatever a policy does, each order ends and others go on."""

from __future__ import annotations

import pytest

from tests.support.consumers import ConsumerWorld, first_of, owner, registration, service
from tests.support.packets import PageAsk, VisitAsk
from zfoo_py.actor import Abort
from zfoo_py.consumer import consumer_actor
from zfoo_py.consumer.balancer import Balancer, BalancerStats, Provider
from zfoo_py.consumer.figures import ServiceFigures
from zfoo_py.consumer.hashing import task_hash
from zfoo_py.consumer.orders import MAX_NAMED_PROVIDERS
from zfoo_py.consumer.retries import MAX_TRIES
from zfoo_py.errors import (
    AskTimeoutError,
    BackpressureError,
    BalancerError,
    NoProviderError,
    SessionClosedError,
)
from zfoo_py.net import messages as m

VISITS = registration(1, "visits")


class Boom(Balancer):
    """A policy that raises wherever it is told to, and picks the first provider otherwise."""

    def __init__(self, *where, error=None):
        self.where = where
        self.error = error or ZeroDivisionError("boom")

    def do(self, where):
        if where in self.where:
            raise self.error

    def pick(self, view, key):
        self.do("pick")
        return first_of(view)

    def on_up(self, provider):
        self.do("on_up")

    def on_down(self, provider):
        self.do("on_down")

    def tick(self, now_s):
        self.do("tick")

    def sweep(self, budget_entries):
        self.do("sweep")
        return True

    def stats(self):
        self.do("stats")
        return BalancerStats(entries=1)


# ------------------------------------------------------------------------------------------ where an ask goes
def test_an_ask_goes_to_the_session_of_its_keys_provider_with_lane_provider_and_version():
    world = ConsumerWorld(service("visits"))
    refs = {registration(sid).ring_name: world.up(sid) for sid in (1, 2, 3)}
    for key in ("a", "b", 7, 2.5, True, b"x", ("a", 1)):
        answer = world.ask(key)
        expected = owner(refs, key)
        outbound = refs[expected].told.pop()
        assert (answer.provider, answer.membership_version) == (expected, 3)
        assert (outbound.call.answer, outbound.provider, outbound.lane) == (answer, expected, task_hash(key))
    assert not any(ref.told for ref in refs.values())
    assert world.actor.asks == 7


def test_an_ask_without_key_has_no_lane():
    world = ConsumerWorld(service("visits"))
    ref = world.up(1)
    world.ask(None)
    assert ref.told[0].lane is None


def test_a_type_is_balanced_by_its_own_policy_over_its_own_providers():
    """A node that offers both types, and the same key for both: nothing of one type shows in the other."""

    class Last(Balancer):
        def pick(self, view, key):
            return view.providers[-1]

    class First(Balancer):
        def pick(self, view, key):
            return view.providers[0]

    world = ConsumerWorld(service("visits", First()), service("pages", Last()))
    only_visits, both = world.up(1, registration(1, "visits")), world.up(2, registration(2, "visits", "pages"))
    only_pages = world.up(3, registration(3, "pages"))
    world.ask("k")
    world.ask_page("k")
    assert [len(ref.told) for ref in (only_visits, both, only_pages)] == [1, 0, 1]
    assert only_visits.told[0].call.binding.module.name == "visits"
    assert only_pages.told[0].call.binding.module.name == "pages"


def test_equal_keys_of_two_hashed_types_never_mix():
    world = ConsumerWorld(service("visits"), service("pages", "consistent-hash"))
    for sid, modules in enumerate((["visits"], ["visits", "pages"], ["pages"], ["visits"], ["pages"]), 1):
        world.up(sid, registration(sid, *modules))
    visits, pages = world.ring_names("visits"), world.ring_names("pages")
    for key in [*map(str, range(50)), *range(50)]:
        assert world.ask(key).provider == owner(visits, key)
        assert world.ask_page(key).provider == owner(pages, key)
    assert world.stats()["services"]["visits"]["entries"] == 100
    assert world.stats()["services"]["pages"]["entries"] == 0


def test_a_consumer_calls_only_the_provider_group_it_names():
    world = ConsumerWorld(service("visits", group="blue"))
    blue, green = world.up(1, registration(1, "visits/blue")), world.up(2, registration(2, "visits/green"))
    for key in range(20):
        world.ask(key)
    assert (len(blue.told), len(green.told)) == (20, 0)
    world.down(1)
    error = world.ask("k").exception()
    assert isinstance(error, NoProviderError)
    assert "no provider serves module 'visits' as 'blue'" in str(error)
    assert "app-2 | 10.0.0.2:1 | provider:[visits-green]" in str(error)


# --------------------------------------------------------------------------------------------- nobody to ask
def test_without_provider_the_error_says_so_at_once():
    world = ConsumerWorld(service("visits"))
    error = world.ask("k").exception()
    assert str(error) == "no provider serves module 'visits' as 'visits'; providers known: none at all"
    assert (error.module, error.packet, error.may_have_run) == ("visits", "VisitAsk", False)


def test_the_error_names_other_providers_but_not_a_thousand():
    world = ConsumerWorld(service("visits"))
    for sid in range(1, MAX_NAMED_PROVIDERS + 3):
        world.up(sid, registration(sid, "pages"))
    text = str(world.ask("k").exception())
    assert text.count("provider:[pages-pages]") == MAX_NAMED_PROVIDERS
    assert text.endswith(" and 2 more")


def test_a_module_that_is_not_consumed_is_named_with_what_to_do():
    world = ConsumerWorld(service("visits"))
    world.up(1, registration(1, "visits", "pages"))
    error = world.ask_page().exception()
    assert isinstance(error, NoProviderError)
    assert str(error).startswith("this node does not consume module 'pages': add it to consumes=[…]")


# ---------------------------------------------------------------------------------------------- early orders
def test_early_orders_wait_for_the_first_snapshot_and_keep_their_order():
    world = ConsumerWorld(service("visits"), snapshot=False)
    assert world.registry.told == [m.Subscribe(world.me)]
    answers = [world.ask("k", VisitAsk(text)) for text in "ab"]
    world.send("k", "c")
    assert not any(answer.done() for answer in answers)
    world.version = 7
    ref = world.up(1, run=False)  # a change that comes before the snapshot
    world.ask("k", VisitAsk("d"), run=False)  # in the inbox when the snapshot overtakes it
    world.snapshot()
    assert ref.texts() == ["a", "b", "c", "d"]
    assert {answer.membership_version for answer in answers} == {8}


def test_an_early_order_whose_policy_raises_harms_no_other():
    world = ConsumerWorld(service("visits", Boom("pick")), service("pages"), snapshot=False)
    bad, good = world.ask("k"), world.ask_page("k")
    ref = world.up(1, registration(1, "visits", "pages"), run=False)
    world.snapshot()
    assert isinstance(bad.exception(), BalancerError)
    assert (good.done(), len(ref.told)) == (False, 1)


def test_early_orders_are_bounded():
    world = ConsumerWorld(service("visits"), snapshot=False, limit_messages=3)
    waiting = [world.ask("k") for _ in range(3)]
    error = world.ask("k").exception()
    assert isinstance(error, BackpressureError)
    assert "3 orders wait until this node knows its providers" in str(error)
    assert not any(answer.done() for answer in waiting)


def test_early_orders_end_with_the_node():
    world = ConsumerWorld(service("visits"), snapshot=False)
    asked, sent = world.ask("k"), world.send("k")
    world.me.detach()
    world.me.tell(Abort())
    world.run()
    for future in (asked, sent):
        assert isinstance(future.exception(), SessionClosedError)
        assert future.exception().may_have_run is False
    assert world.loop.clock.pending() == 0


# ------------------------------------------------------------------------------------------------ pick again
def test_what_was_never_written_is_picked_again_on_the_next_turn_by_the_present_membership():
    world = ConsumerWorld(service("visits"))
    first, second = world.up(1), world.up(2)
    key = next(key for key in range(100) if owner(world.ring_names(), key) == registration(1).ring_name)
    answer = world.ask(key)
    first.give_back()
    world.run()
    assert second.told == []  # not in the same turn: the registry speaks first
    world.down(1)
    world.later()
    assert [outbound.call.answer for outbound in second.told] == [answer]
    assert second.told[0].call.tries == 1
    assert (answer.provider, answer.membership_version) == (registration(2).ring_name, 3)
    assert world.actor.retries == 1


def test_after_three_tries_the_ask_ends_and_surely_did_not_run():
    world = ConsumerWorld(service("visits"))
    ref = world.up(1)
    answer = world.ask("k")
    for tries in range(1, MAX_TRIES + 1):
        assert not answer.done()
        assert [outbound.call.tries for outbound in ref.told] == [tries - 1]
        ref.give_back("the session drains")
        world.later()
    error = answer.exception()
    assert isinstance(error, SessionClosedError)
    assert str(error) == "VisitAsk was not sent in 3 tries: the session drains"
    assert (error.may_have_run, error.module, error.packet) == (False, "visits", "VisitAsk")
    assert ref.told == []


def test_an_ask_is_not_picked_again_after_its_deadline():
    world = ConsumerWorld(service("visits"))
    ref = world.up(1)
    answer = world.ask("k", in_s=0.0)
    ref.give_back("the session is down")
    world.later()
    error = answer.exception()
    assert isinstance(error, AskTimeoutError)
    assert error.may_have_run is False
    assert "the session is down" in str(error)
    assert ref.told == []


def test_a_policy_that_picks_a_provider_without_session_is_asked_again_and_then_given_up():
    class Stale(Balancer):
        picks = 0

        def pick(self, view, key):
            self.picks += 1
            return Provider("long gone")

    policy = Stale()
    world = ConsumerWorld(service("visits", policy))
    world.up(1)
    answer, sent = world.ask("k"), world.send("k")
    for _ in range(MAX_TRIES):
        world.later()
    assert policy.picks == 2 * MAX_TRIES
    for future in (answer, sent):
        assert "the balancer picked long gone, which has no open session" in str(future.exception())
        assert future.exception().may_have_run is False


def test_an_idempotent_ask_lost_in_flight_is_asked_once_more_and_says_that_it_may_have_run():
    world = ConsumerWorld(service("visits"))
    ref = world.up(1)
    answer = world.ask("k")
    [outbound] = ref.told
    ref.told.clear()
    world.me.tell(m.LostInFlight(outbound.call, SessionClosedError("lost")))
    world.down(1)
    world.later()
    error = answer.exception()
    assert isinstance(error, NoProviderError)
    assert error.may_have_run is True


def test_beyond_the_retry_budget_the_first_error_stands():
    world = ConsumerWorld(service("visits"))
    while world.actor._retries.budget.take(0, world.runtime.time()):
        pass
    ref = world.up(1)
    answers = [world.ask(key) for key in range(30)]
    lost, ref.told = ref.told, []
    for outbound in lost:
        world.me.tell(m.LostInFlight(outbound.call, SessionClosedError("the first error")))
    world.later()
    ended = [answer for answer in answers if answer.done()]
    assert len(ended) + len(ref.told) == 30
    assert len(ended) > 5
    assert {str(answer.exception()) for answer in ended} == {"the first error"}
    assert all(outbound.call.may_have_run for outbound in ref.told)


# ---------------------------------------------------------------------------------------------------- sends
def test_a_send_carries_all_the_session_needs_and_its_future_ends_in_the_outbox():
    world = ConsumerWorld(service("visits"))
    ref = world.up(1)
    sent = world.send("k", "hello")
    [order] = ref.told
    assert (order.head, order.lane, order.packet, order.module) == (b"hello", task_hash("k"), "VisitNote", "visits")
    assert (order.provider, order.sent, order.returns_to) == (registration(1).ring_name, sent, world.me)
    assert not sent.done()


def test_a_send_that_cannot_be_delivered_fails_its_future_and_is_told_once():
    world = ConsumerWorld(service("visits"))
    ref = world.up(1)
    sent = world.send()
    for _ in range(MAX_TRIES):
        assert not sent.done()
        ref.give_back("gone")
        world.later()
    assert isinstance(sent.exception(), SessionClosedError)
    assert world.undelivered == [("VisitNote", "visits", "VisitNote was not sent in 3 tries: gone")]
    world.down(1)
    assert isinstance(world.send().exception(), NoProviderError)
    assert len(world.undelivered) == 2


# ------------------------------------------------------------------------------------- policies that raise
class UnspeakableError(Exception):
    def __str__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize("error", [ValueError("boom"), UnspeakableError(), LookupError()])
def test_a_policy_that_raises_fails_that_order_only(error):
    world = ConsumerWorld(service("visits", Boom("pick", error=error)), service("pages"))
    ref = world.up(1, registration(1, "visits", "pages"))
    for future in (world.ask("k"), world.send("k")):
        failure = future.exception()
        assert isinstance(failure, BalancerError)
        assert str(failure).startswith(f"the balancer 'Boom' of module 'visits' raised {type(error).__name__}")
        assert (failure.__cause__, failure.may_have_run, failure.module) == (error, False, "visits")
    assert world.undelivered[0][:2] == ("VisitNote", "visits")
    assert world.actor.failures == 2
    world.ask_page("k")
    assert len(ref.told) == 1
    assert world.deaths == 0


def test_a_key_that_cannot_be_hashed_fails_that_ask_only():
    class Key:
        def __str__(self):
            raise ArithmeticError("no text")

    world = ConsumerWorld(service("visits"))
    ref = world.up(1)
    world.ask("before")
    for key in (Key(), [1], (Key(),)):
        assert isinstance(world.ask(key).exception(), BalancerError)
    world.ask("after")
    assert len(ref.told) == 2
    assert world.stats()["services"]["visits"]["entries"] == 2


def test_a_policy_that_returns_no_provider_object_fails_that_ask():
    class Wrong(Balancer):
        def pick(self, view, key):
            return "app-1"

    world = ConsumerWorld(service("visits", Wrong()))
    world.up(1)
    assert isinstance(world.ask("k").exception(), BalancerError)
    assert world.deaths == 0


@pytest.mark.parametrize("where", ["on_up", "on_down", "tick", "sweep", "stats"])
@pytest.mark.parametrize("error", [ZeroDivisionError("boom"), GeneratorExit()])
def test_a_hook_that_raises_harms_no_other_type(where, error):
    """Membership, the clock, the sweep and the figures of the other types go on."""
    world = ConsumerWorld(service("visits", Boom(where, error=error)), service("pages"))
    both = registration(1, "visits", "pages")
    world.up(1, both)
    world.ask_page("k")
    for _ in range(3):
        world.later(1.0)
    assert world.actor._services["pages"].balancer.cache.now_tick == int(world.loop.clock.time())
    world.up(2, registration(2, "visits", "pages"))
    world.down(1)
    assert world.ring_names("visits") == world.ring_names("pages") == [registration(2, "visits", "pages").ring_name]
    figures = world.stats()
    assert figures["membership_version"] == 3
    assert figures["services"]["pages"]["unswept"] == 0
    assert figures["services"]["visits"]["entries"] == (0 if where == "stats" else 1)
    assert world.actor.failures > 0
    assert world.deaths == 0


def test_a_policy_that_exits_fails_its_ask_and_the_next_consumer_goes_on():
    """SystemExit ends the actor, not the asker's patience; what waits in the inbox is the successor's."""
    world = ConsumerWorld(service("visits", Boom("pick", error=SystemExit("enough"))))
    world.up(1)
    doomed = world.ask("k", run=False)
    waiting = world.ask("k", VisitAsk("next"), run=False)
    world.run()
    assert isinstance(doomed.exception(), BalancerError)
    assert (world.deaths, waiting.done()) == (1, False)
    world.spawn(service("visits"))
    world.run()
    world.snapshot()
    assert world.refs[1].texts() == ["next"]


# --------------------------------------------------------------------------------------------------- the end
def test_whatever_is_left_at_the_end_is_answered_honestly():
    world = ConsumerWorld(service("visits"))
    ref = world.up(1)
    futures = {
        "ask": world.make_ask(),
        "again": world.make_ask(),
        "back": world.make_ask(),
        "ran": world.make_ask(may_have_run=True),
        "lost": world.make_ask(),
    }
    world.me.detach()
    world.me.tell(Abort())
    world.run()
    first = SessionClosedError("lost in flight")
    back = m.Undelivered(m.Outbound(futures["back"], None, ""), "closed")
    late = [
        futures["ask"],
        consumer_actor.c.Retry(futures["again"], ""),
        back,
        consumer_actor.c.Retry(futures["ran"], ""),
        m.LostInFlight(futures["lost"], first),
        consumer_actor.c.TakeStats(),
    ]
    for message in late:
        world.runtime.deliver(world.me, message)
    errors = {name: record.answer.exception() for name, record in futures.items()}
    assert all(isinstance(error, SessionClosedError) for error in errors.values())
    assert {name: error.may_have_run for name, error in errors.items()} == {
        "ask": False,
        "again": False,
        "back": False,
        "ran": True,
        "lost": True,
    }
    assert errors["lost"] is first
    assert "the node has stopped" in str(errors["ask"])
    assert ref.told == []


def test_a_retry_that_finds_the_inbox_full_fails_typed():
    world = ConsumerWorld(service("visits"), limit_messages=2)
    ref = world.up(1)
    answer = world.ask("k")
    ref.give_back()
    world.run()
    for _ in range(2):
        world.ask("k", run=False)
    world.loop.clock.advance(0.0)
    assert isinstance(answer.exception(), SessionClosedError)
    assert "more asks than it may hold" in str(answer.exception())


# ------------------------------------------------------------------------------------------------ the figures
def test_the_figures():
    world = ConsumerWorld(service("visits"), service("pages", "random"))
    world.up(1, registration(1, "visits", "pages"))
    for key in ("a", "b", "a"):
        world.ask(key)
    world.ask("a", PageAsk("p"))
    world.later()
    figures = world.stats()
    assert {name: figures[name] for name in ("membership_version", "asks", "retries", "failed_turns")} == {
        "membership_version": 1,
        "asks": 4,
        "retries": 0,
        "failed_turns": 0,
    }
    visits, pages = figures["services"]["visits"], figures["services"]["pages"]
    fields = {*ServiceFigures.__struct_fields__, *BalancerStats.__struct_fields__} - {"stats"}
    assert set(visits) == set(pages) == fields
    assert (visits["group"], visits["balancer"]) == ("visits", "cached-consistent-hash")
    assert visits["providers"] == [registration(1, "visits", "pages").ring_name]
    assert (visits["entries"], visits["hits"], visits["misses"], visits["ring_points"]) == (2, 1, 2, 200)
    assert (pages["balancer"], pages["entries"]) == ("random", 0)
