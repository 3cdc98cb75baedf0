"""The alert actor: it looks, logs, counts, publishes, clears; its consumer is played by the test."""

from __future__ import annotations

from typing import Any

from tests.consumer.test_alerts import service
from tests.support.actors import step_runtime
from tests.support.nodes import logged
from tests.support.sessions import Recorder
from zfoo_py.actor import CoreRef
from zfoo_py.alert_limits import AlertLimits
from zfoo_py.consumer import messages as c
from zfoo_py.consumer.alert_actor import AlertActor
from zfoo_py.consumer.balancer import BalancerStats
from zfoo_py.consumer.figures import ConsumerFigures
from zfoo_py.events import Alert, AlertCleared, Event, Events


class World:
    def __init__(self) -> None:
        self.runtime, self.loop = step_runtime()
        self.consumer: Any = Recorder()
        self.events = Events()
        self.heard: list[Any] = []
        self.events.subscribe(Event, self.heard.append)
        self.me = CoreRef(10, lambda _: None)
        limits = AlertLimits(interval_s=5.0, repeat_s=60.0)
        ref = self.runtime.spawn(
            AlertActor, self.me, self.consumer, limits, 100, self.events, lambda: 7_000_000, lambda: (10, 2)
        )
        self.me.attach(ref)
        self.ref = ref

    def look(self, *services) -> None:
        """Five seconds pass, and the consumer answers."""
        self.loop.clock.advance(5.0)
        self.loop.run()
        assert self.consumer.told == [c.TakeFigures(self.me)]
        self.consumer.told.clear()
        self.me.tell(ConsumerFigures(1, 0, 0, 0, 0, 0, {one.module: one for one in services}))
        self.loop.run()

    def alerts(self):
        future = self.ref.ask(c.TakeAlerts(), block=False)
        self.loop.run()
        return future.get(timeout=0)


LEAKING = service(BalancerStats(entries=500))


def test_a_leak_is_told_once_counted_and_cleared():
    world = World()
    with logged() as lines:
        for _ in range(6):
            world.look(LEAKING)
        assert [type(event) for event in world.heard] == [Alert]
        (alert,) = world.heard
        assert (alert.name, alert.subject) == ("cache-unbounded", "visits")
        assert world.alerts()["raised"] == {"cache-unbounded": 1}
        (active,) = world.alerts()["active"]
        assert (active["name"], active["subject"]) == ("cache-unbounded", "visits")
        world.look(service())
        assert [type(event) for event in world.heard] == [Alert, AlertCleared]
        assert world.alerts() == {"raised": {"cache-unbounded": 1}, "active": []}
    assert sum("ALERT cache-unbounded: the key cache of module 'visits'" in line for line in lines) == 1
    world.ref.stop(block=False)
    world.loop.run()


def test_it_is_told_again_after_its_bound():
    world = World()
    for _ in range(26):  # 130 s
        world.look(LEAKING)
    assert [event.name for event in world.heard] == ["cache-unbounded"] * 3


def test_alerts_of_others_are_counted_too():
    world = World()
    world.events.publish(Alert("misroute", "look"))
    assert world.alerts()["raised"] == {"misroute": 1}
    world.ref.stop(block=False)
    world.loop.run()
    world.events.publish(Alert("misroute", "look"))
    assert world.ref.actor_inbox.actor is None or world.ref.actor_inbox.actor.raised["misroute"] == 1
    assert world.loop.clock.pending() == 0


def test_a_healthy_node_hears_nothing():
    world = World()
    for _ in range(50):
        world.look(service(BalancerStats(entries=90, hits=1)))
    assert world.heard == []
