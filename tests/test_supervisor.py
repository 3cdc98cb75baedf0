"""A core actor that dies is started anew; one that dies again and again waits; none after the stop."""

from __future__ import annotations

import pytest

from tests.support.actors import step_runtime
from zfoo_py.actor import Abort, CoreActor
from zfoo_py.supervisor import MAX_RESTARTS_PER_S, RESTART_WAIT_S, Supervisor


class Core(CoreActor):
    """An actor that keeps what it is told."""

    told: list[object]

    def on_start(self):
        self.told = []

    def on_receive(self, message):
        self.told.append(message)


class World:
    """A supervisor of one actor, and its clock."""

    def __init__(self):
        self.runtime, self.loop = step_runtime()
        self.supervisor = Supervisor(self.runtime)
        self.spawned = 0
        self.fault: Exception | None = None
        self.core = self.supervisor.core(self.spawn)
        self.spawn()

    def spawn(self):
        self.spawned += 1
        if self.fault is not None:
            raise self.fault
        self.supervisor.attach(self.core, Core)

    def kill(self):
        self.core.tell(Abort("a test"))
        self.loop.run()
        self.later(0.0)

    def later(self, seconds):
        self.loop.clock.advance(seconds)
        self.loop.run()


@pytest.fixture
def world():
    world = World()
    yield world
    world.supervisor.stop()
    world.core.tell(Abort("the test ends"))
    world.loop.run()


def test_one_that_dies_is_started_anew_and_told_what_came_meanwhile(world):
    first = world.core.actor
    world.core.tell(Abort("a test"))
    world.core.tell("meanwhile")
    world.loop.run()
    world.later(0.0)
    assert world.spawned == 2
    assert world.core.actor is not first
    assert world.core.actor.told == ["meanwhile"]


def test_one_that_dies_at_once_again_and_again_waits_a_second(world):
    for _ in range(MAX_RESTARTS_PER_S):
        world.kill()
    assert world.spawned == 1 + MAX_RESTARTS_PER_S
    world.kill()
    assert world.spawned == 1 + MAX_RESTARTS_PER_S
    world.later(RESTART_WAIT_S)
    assert world.spawned == 2 + MAX_RESTARTS_PER_S


def test_a_start_that_raises_is_tried_again(world):
    world.fault = RuntimeError("a policy's constructor")
    world.kill()
    assert world.spawned == 2
    world.fault = None
    world.later(RESTART_WAIT_S)
    assert world.spawned == 3
    world.core.tell("hello")
    world.loop.run()
    assert world.core.actor.told == ["hello"]


def test_nothing_is_started_after_the_stop(world):
    world.supervisor.stop()
    world.kill()
    world.later(10.0)
    assert world.spawned == 1
