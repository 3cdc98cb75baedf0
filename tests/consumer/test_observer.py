"""What the consumer actor notes: picks, hot keys, who brings new keys, changes; played through the actor."""

from __future__ import annotations

import pytest

from tests.support.consumers import ConsumerWorld, first_of, registration, service
from tests.support.packets import PageAsk, VisitAsk, VisitPeek
from tests.support.sessions import Recorder
from zfoo_py.consumer import messages as c
from zfoo_py.consumer.balancer import Balancer, BalancerStats
from zfoo_py.consumer.observer import FADE_S, WATCHED_PER_S
from zfoo_py.errors import ConfigError


def question(world, message):
    future = world.actor.actor_ref.ask(message, block=False)
    world.run()
    return future.get(timeout=0)


def test_picks_are_counted_exactly_per_provider_asks_and_sends():
    world = ConsumerWorld(service("visits"))
    refs = {registration(sid).ring_name: world.up(sid) for sid in (1, 2, 3)}
    for number in range(500):
        world.ask(number)
        if not number % 5:
            world.send(number)
    picks = world.stats()["services"]["visits"]["picks"]
    assert picks == {name: len(ref.told) for name, ref in refs.items()}
    assert (world.stats()["asks"], world.stats()["sends"]) == (500, 100)
    assert not world.stats()["services"]["visits"]["picks_are_estimates"]


def test_asks_through_providers_that_left_stay_counted():
    world = ConsumerWorld(service("visits"))
    world.up(1)
    for number in range(300):
        world.ask(number)
    world.down(1)
    world.up(2)
    world.ask("one more")
    assert world.stats()["asks"] == 301
    assert sum(world.stats()["services"]["visits"]["picks"].values()) == 1


def test_a_provider_of_two_consumed_modules_has_its_picks_split_by_the_sample():
    world = ConsumerWorld(service("visits"), service("pages"))
    world.up(1, registration(1, "visits", "pages"))
    for number in range(8000):
        world.ask(number, VisitAsk("?") if number % 4 else PageAsk("?"))
    services = world.stats()["services"]
    visits, pages = (sum(services[name]["picks"].values()) for name in ("visits", "pages"))
    assert abs(visits + pages - 8000) <= 1
    assert 5000 < visits < 7000
    assert services["visits"]["picks_are_estimates"]


def test_the_hot_key_is_found_with_about_its_share():
    world = ConsumerWorld(service("visits"))
    for sid in (1, 2, 3):
        world.up(sid)
    for number in range(10_000):
        world.ask("hot" if number % 5 == 0 else number)
    hot = world.stats()["services"]["visits"]["hot_keys"]
    assert hot[0]["key"] == "hot"
    assert 0.1 < hot[0]["share"] < 0.35


def test_long_keys_are_kept_out_of_the_figures_and_odd_ones_are_printable():
    world = ConsumerWorld(service("visits"))
    world.up(1)
    for _ in range(300):
        world.ask("x" * 257)
        world.ask(b"x" * 200)
    assert not world.stats()["services"]["visits"]["hot_keys"]
    for _ in range(300):
        world.ask("\ud800")
        world.ask("y" * 100)
        world.ask((1, "a"))
        world.ask(None)
    shown = {one["key"] for one in world.stats()["services"]["visits"]["hot_keys"]}
    assert shown == {"\\ud800", f"{'y' * 80}…", "(1,a)"}


def test_what_was_hot_fades():
    world = ConsumerWorld(service("visits"))
    world.up(1)
    for _ in range(2000):
        world.ask("was")
    for _ in range(8):
        world.later(FADE_S)
    assert not world.stats()["services"]["visits"]["hot_keys"]


def test_the_packet_class_that_brings_new_keys_is_named():
    world = ConsumerWorld(service("visits"))
    world.up(1)
    for number in range(6000):
        world.ask("same", VisitPeek("?"))
        world.ask(number, VisitAsk("?"))
        if not number % 100:
            world.later(1.0)
    assert list(world.stats()["services"]["visits"]["new_keys_by"]) == ["VisitAsk"]


def test_it_is_named_for_a_policy_that_only_reports_entries():
    class Memo(Balancer):
        def __init__(self):
            self.memo = {}

        def pick(self, view, key):
            return self.memo.setdefault(key, first_of(view))

        def stats(self):
            return BalancerStats(entries=len(self.memo))

    world = ConsumerWorld(service("visits", Memo()))
    world.up(1)
    for number in range(1000):
        world.ask(number, VisitPeek("?"))
    assert list(world.stats()["services"]["visits"]["new_keys_by"]) == ["VisitPeek"]


def test_watches_are_few_and_the_turns_are_restored():
    looks = []

    class Counting(Balancer):
        def pick(self, view, key):
            return first_of(view)

        def stats(self):
            looks.append(1)
            return BalancerStats()

    world = ConsumerWorld(service("visits", Counting()))
    world.up(1)
    looks.clear()
    for number in range(5000):
        world.ask(number)
    assert len(looks) == 2 * WATCHED_PER_S
    assert world.actor._turns[type(world.make_ask())] == world.actor._ask
    world.later(1.0)
    for number in range(5000):
        world.send(number)
    assert 2 * WATCHED_PER_S < len(looks) <= 4 * WATCHED_PER_S + 2


def test_a_watched_order_that_nobody_consumes_fails_as_ever():
    world = ConsumerWorld(service("visits"))
    world.up(1)
    world.ask("sampled")
    assert "does not consume module 'pages'" in str(world.ask_page().exception())
    assert world.ask("k").exception() is None


def test_explain_equals_the_pick():
    world = ConsumerWorld(service("visits"))
    for sid in (1, 2, 3):
        world.up(sid)
    for key in ("a", 7, 2.5, True, b"x", ("a", 1)):
        found = question(world, c.Explain("visits", key))
        assert found.owner.ring_name == world.ask(key).provider
        assert (found.applied_version, found.points_version, found.providers) == (3, 3, 3)


def test_explain_of_a_module_that_is_not_consumed():
    world = ConsumerWorld(service("visits"))
    with pytest.raises(ConfigError, match="does not consume module 'pages'; it consumes visits"):
        question(world, c.Explain("pages", "k"))


def test_a_change_is_explained_per_module_that_it_changed():
    world = ConsumerWorld(service("visits"), service("pages"))
    for sid in (1, 2, 3):
        world.up(sid)
    for key in range(100):
        world.ask(key)
    world.up(4, registration(4, "visits", "pages"))
    world.down(1)
    world.later(0.1)
    (down,) = question(world, c.ExplainChange(5))
    assert (down.module, down.left, down.joined) == ("visits", (registration(1).ring_name,), ())
    both = question(world, c.ExplainChange(4))
    assert [(report.module, report.joined) for report in both] == [
        ("visits", (registration(4, "visits", "pages").ring_name,)),
        ("pages", (registration(4, "visits", "pages").ring_name,)),
    ]
    assert both[0].moved_keys > 0
    assert both[0].is_checked
    assert [(report.module, report.version) for report in question(world, c.ExplainChange(None))] == [
        ("visits", 5),
        ("pages", 4),
    ]
    with pytest.raises(ConfigError, match=r"version 99 is not in the log .* \(it knows 1 to 5\)"):
        question(world, c.ExplainChange(99))


def test_before_any_change():
    world = ConsumerWorld(service("visits"))
    assert question(world, c.ExplainChange(None)) == ()
    with pytest.raises(ConfigError, match="nothing has changed yet"):
        question(world, c.ExplainChange(1))


def test_a_policy_whose_hooks_raise_harms_no_figure_of_another():
    class Broken(Balancer):
        def pick(self, view, key):
            return first_of(view)

        def stats(self):
            raise RuntimeError("no")

        @property
        def ring(self):
            raise RuntimeError("no")

        def observe(self, moved):
            raise RuntimeError("no")

        def explain(self, view, key):
            raise RuntimeError("no")

    world = ConsumerWorld(service("pages", Broken()), service("visits"))
    world.up(1, registration(1, "visits", "pages"))
    for number in range(300):
        world.ask(number)
        world.ask_page(number)
    services = world.stats()["services"]
    assert services["visits"]["entries"] == 300
    assert services["pages"]["ring"] is None
    assert question(world, c.Explain("pages", "k")).owner is None


def test_figures_are_told_to_whom_they_are_for():
    world = ConsumerWorld(service("visits"))
    world.up(1)
    to = Recorder()
    world.me.tell(c.TakeFigures(to))
    world.run()
    (figures,) = to.told
    assert figures.services["visits"].ring == (registration(1).ring_name,)
    assert figures.services["visits"].last_change == 1
