"""Core actors survive every exception, and their address survives their death."""

from __future__ import annotations

import threading

import pytest
from pykka import ActorDeadError
from pykka.messages import ProxyCall

from tests.support.actors import Died, MoreUrgent, Urgent, as_another_thread, fail, in_threads, recorder, step_runtime
from zfoo_py.actor import Abort, CoreActor, CoreRef
from zfoo_py.actor.messages import ActorStop
from zfoo_py.errors import ConfigError, InboxFullError

KILLS = {
    "abort": lambda ref: ref.tell(Abort()),
    "stop": lambda ref: ref.tell(ActorStop()),
    "base exception": lambda ref: ref.tell(fail(Died())),
    "system exit in an ask": lambda ref: ref.ref.ask(fail(SystemExit()), block=False),
}


class World:
    """A core actor behind its address, and a node that starts the next one only when told to."""

    def __init__(self, limit: int = 100, base: type = CoreActor, **attributes) -> None:
        self.runtime, self.loop = step_runtime()
        self.deaths: list[CoreRef] = []
        self.classes: list = []
        self.attributes = attributes
        self.base = base
        self.core = CoreRef(limit, self.deaths.append)
        self.spawn()

    def spawn(self):
        self.classes.append(recorder(self.base, **self.attributes))
        self.core.attach(self.runtime.spawn(self.classes[-1]))

    def kill(self):
        self.core.tell(Abort())
        self.loop.run()

    @property
    def undelivered(self):
        return [message for cls in self.classes for message in cls.undelivered]


# ------------------------------------------------------------------------------------------------ survival
def test_a_core_actor_survives_exceptions_with_its_state_and_counts_them():
    runtime, loop = step_runtime()
    cls = recorder(CoreActor)
    ref = runtime.spawn(cls)
    ref.tell("before")
    for error in (ValueError(), KeyError(), RuntimeError(), StopIteration(), ExceptionGroup("several", [OSError()])):
        ref.tell(fail(error))
    ref.tell("after")
    asked = ref.ask(fail(ValueError("asked")), block=False)
    loop.run()
    actor = ref._actor_weakref()
    assert ref.is_alive()
    assert cls.handled == ["before", "after"]
    assert actor.failures == runtime.turn_failures == 6
    assert str(asked.exception()) == "asked"
    assert cls.hooks == ["start"]


def test_a_wrong_question_is_answered_and_no_failed_turn():
    """A mistyped version on the command line is not to look like a fault of the node."""
    runtime, loop = step_runtime()
    ref = runtime.spawn(recorder(CoreActor))
    asked = ref.ask(fail(ConfigError("no such version")), block=False)
    loop.run()
    assert str(asked.exception()) == "no such version"
    assert runtime.turn_failures == 0
    ref.tell(fail(ConfigError("told")))
    loop.run()
    assert runtime.turn_failures == 1


def test_each_actor_counts_its_own_failures():
    runtime, loop = step_runtime()
    refs = [runtime.spawn(recorder(CoreActor)) for _ in range(2)]
    refs[0].tell(fail(ValueError()))
    loop.run()
    assert [ref._actor_weakref().failures for ref in refs] == [1, 0]


def test_on_turn_error_gets_the_message_and_the_error():
    runtime, loop = step_runtime()
    got = []
    cls = recorder(CoreActor, on_turn_error=lambda _, message, error: got.append((message, error)))
    ref = runtime.spawn(cls)
    error = ValueError()
    message = fail(error)
    ref.tell(message)
    ref.proxy().on_receive.defer(message)
    loop.run()
    assert got[0] == (message, error)
    assert isinstance(got[1][0], ProxyCall)


@pytest.mark.parametrize("error", [ValueError(), Died()])
def test_a_guard_that_raises_itself_is_survived(error):
    def on_turn_error(self, message, first):
        raise error

    runtime, loop = step_runtime()
    cls = recorder(CoreActor, on_turn_error=on_turn_error)
    ref = runtime.spawn(cls)
    ref.tell(fail(ValueError()))
    ref.tell("next")
    loop.run()
    assert cls.handled == ["next"]
    assert ref._actor_weakref().failures == 1


def test_a_base_exception_ends_a_core_actor_with_on_failure():
    runtime, loop = step_runtime()
    cls = recorder(CoreActor)
    ref = runtime.spawn(cls)
    ref.tell(fail(Died()))
    ref.tell("left")
    loop.run()
    assert not ref.is_alive()
    assert cls.hooks[1][0] is Died
    assert cls.undelivered == ["left"], "without a CoreRef nobody repairs it"


# ------------------------------------------------------------------------------------------------ restart
def test_before_the_first_actor_messages_are_kept_too():
    runtime, loop = step_runtime()
    core = CoreRef(10, lambda _: None)
    core.tell("early")
    cls = recorder(CoreActor)
    core.attach(runtime.spawn(cls))
    loop.run()
    assert cls.handled == ["early"]


@pytest.mark.parametrize("kill", KILLS)
def test_what_a_dead_core_actor_left_and_what_came_meanwhile_goes_to_the_next_in_order(kill):
    world = World()
    KILLS[kill](world.core)
    world.core.tell("left 1")
    asked = world.core.ref.ask("left 2", block=False)
    world.core.tell("left 3")
    world.loop.run()
    assert world.deaths == [world.core]
    assert not asked.done()
    world.core.tell("meanwhile")
    world.loop.run()
    world.spawn()
    world.core.tell("afterwards")
    world.loop.run()
    assert world.classes[1].handled == ["left 1", "left 2", "left 3", "meanwhile", "afterwards"]
    assert asked.value() == "left 2"
    assert world.undelivered == []


def test_control_overtakes_also_across_a_restart():
    world = World()
    world.core.tell("normal")
    world.core.tell(Abort())
    world.core.tell(Urgent(1))
    asked = world.core.ref.ask(MoreUrgent(2), block=False)
    world.loop.run()
    world.core.tell("meanwhile")
    world.core.tell(Urgent(3))
    world.spawn()
    world.loop.run()
    assert world.classes[1].handled == [Urgent(1), MoreUrgent(2), Urgent(3), "normal", "meanwhile"]
    assert asked.value() == MoreUrgent(2)


def test_the_orders_that_ended_one_actor_do_not_end_the_next():
    world = World()
    world.core.tell(ActorStop())
    stops = [world.core.ref.stop(block=False) for _ in range(2)]
    world.core.tell(Abort())
    world.core.tell(Abort())
    asked = world.core.ref.ask(Abort(), block=False)
    world.loop.run()
    assert [stop.value() for stop in stops] == [True, True]
    assert asked.done()
    world.spawn()
    world.loop.run()
    assert world.core.ref.is_alive()
    assert world.deaths == [world.core]


def test_proxy_calls_told_while_it_is_down_reach_the_next():
    world = World()
    world.kill()
    world.core.tell(ProxyCall(("on_receive",), ("called",), {}))
    world.spawn()
    world.loop.run()
    assert world.classes[1].handled == ["called"]


def test_the_bound_of_the_inbox_is_as_before_after_a_restart():
    """What was kept was bounded by the address; it neither is refused nor widens the next one's bound."""
    world = World(inbox_limit_messages=3)
    world.kill()
    asked = [world.core.tell(number) for number in range(5)]
    assert asked == [None] * 5
    world.spawn()
    with pytest.raises(InboxFullError):
        world.core.tell("too much")
    world.loop.run()
    assert world.classes[1].handled == [0, 1, 2, 3, 4]
    for number in range(3):
        world.core.tell(number)
    with pytest.raises(InboxFullError):
        world.core.tell("too much")
    assert world.core.ref.actor_inbox.stops == 0


def test_several_restarts_lose_nothing():
    world = World()
    sent = []
    for number in range(5):
        world.core.tell(Abort())
        sent.append(number)
        world.core.tell(number)
        world.loop.run()
        world.spawn()
    world.loop.run()
    assert [message for cls in world.classes for message in cls.handled] == sent
    assert len(world.deaths) == 5


def test_while_it_is_down_the_address_keeps_a_bounded_number_and_refuses_in_the_usual_ways():
    world = World(limit=2)
    world.kill()
    sender = world.runtime.spawn(recorder())
    world.core.tell(0)
    world.core.tell(1)
    world.core.tell(Urgent(2))
    with pytest.raises(InboxFullError, match=r"being restarted is full \(2"):
        world.core.tell(3)
    with pytest.raises(InboxFullError):
        in_threads(lambda: world.core.tell(4))
    sender.tell(lambda _: world.core.tell("from a turn"))
    world.loop.run()
    assert sender.is_alive(), "a tell never raises into a turn"
    assert world.undelivered == ["from a turn"]
    world.spawn()
    world.loop.run()
    assert world.classes[1].handled == [Urgent(2), 0, 1]


def test_threads_that_tell_during_restarts_lose_nothing_in_silence():
    world = World(limit=100_000)
    each, threads = 500, 3
    refused = []
    running = threading.Semaphore(0)

    def flood():
        for number in range(each):
            try:
                world.core.tell(number)
            except ActorDeadError:  # it went to the actor that was just dying
                refused.append(number)
        running.release()

    def restart():
        ended = 0
        while ended < threads:
            world.kill()
            world.loop.run()
            world.spawn()
            world.loop.run()
            ended += running.acquire(blocking=False)

    def on_one_thread():
        world.runtime.thread_ident = threading.get_ident()
        restart()

    in_threads(on_one_thread, *[flood] * threads)
    world.runtime.thread_ident = threading.get_ident()
    world.loop.run()
    handled = sum(len(cls.handled) for cls in world.classes)
    assert (refused, world.undelivered) == ([], [])
    assert handled == each * threads


def test_a_message_of_a_thread_that_is_on_its_way_when_the_actor_dies_goes_to_the_next_one():
    world = World()
    stale = world.core.tell  # as a thread that has looked it up just before
    with as_another_thread(world.runtime):
        world.core.tell("on its way")
    world.core.ref.actor_inbox.actor._end(None)
    with as_another_thread(world.runtime):
        stale("to the dead one")
    world.loop.run()
    world.spawn()
    world.loop.run()
    assert sorted(world.classes[-1].handled) == ["on its way", "to the dead one"]
    assert world.undelivered == []


def test_an_actor_that_dies_in_on_start_is_reported_dead_again():
    world = World()
    world.kill()
    world.core.tell("kept")
    world.attributes = {"on_start": lambda _: fail(ValueError())(None)}
    world.spawn()
    assert world.deaths == [world.core, world.core]
    world.attributes = {}
    world.spawn()
    world.loop.run()
    assert world.classes[-1].handled == ["kept"]


def test_the_last_actor_is_known_to_who_starts_the_next():
    world = World()
    first = world.core.actor
    world.kill()
    assert world.core.actor is first
    world.spawn()
    assert world.core.actor is not first
    assert world.core.actor is world.core.ref._actor_weakref()


def test_a_restart_within_the_death_is_possible():
    runtime, loop = step_runtime()
    cls = recorder(CoreActor)
    core = CoreRef(10, lambda core: core.attach(runtime.spawn(cls)))
    core.attach(runtime.spawn(cls))
    core.tell(fail(Died()))
    core.tell("left")
    loop.run()
    assert cls.handled == ["left"]
    assert len(runtime.actors) == 1


def test_a_restart_that_raises_harms_nobody_else():
    def refuse(_):
        raise ValueError("no new actor")

    runtime, loop = step_runtime()
    core, neighbour = CoreRef(10, refuse), recorder()
    core.attach(runtime.spawn(recorder(CoreActor)))
    other = runtime.spawn(neighbour)
    core.tell(Abort())
    other.tell("next")
    loop.run()
    assert neighbour.handled == ["next"]


# ------------------------------------------------------------------------------------------------ detach
def test_after_detach_a_death_is_final_and_the_rest_is_given_back():
    world = World()
    world.core.detach()
    world.core.tell(Abort())
    world.core.tell("left")
    asked = world.core.ref.ask("asked", block=False)
    world.loop.run()
    assert world.deaths == []
    assert world.undelivered == ["left"]
    assert isinstance(asked.exception(), ActorDeadError)
    with pytest.raises(ActorDeadError):
        world.core.tell("late")


def test_detach_while_it_is_down_gives_back_what_was_kept():
    world = World()
    world.core.tell(Abort())
    asked = world.core.ref.ask("asked", block=False)
    world.loop.run()
    world.core.tell("kept")
    world.core.detach()
    assert world.undelivered == ["kept"]
    assert isinstance(asked.exception(), ActorDeadError)
    with pytest.raises(ActorDeadError):
        world.core.tell("late")


def test_deliver_and_timers_take_the_address_as_well():
    world = World()
    world.runtime.deliver(world.core, "delivered")
    world.runtime.timers.call_later(1.0, world.runtime.deliver, world.core, "later")
    world.kill()
    world.loop.clock.advance(1.0)
    world.runtime.deliver(world.core, "meanwhile")
    world.spawn()
    world.loop.run()
    assert [cls.handled for cls in world.classes] == [["delivered"], ["later", "meanwhile"]]


def test_a_thread_that_comes_while_the_actor_is_started_anew_reaches_it():
    """It looked up the address's `tell` while the actor was down, and calls it when the next one is there."""
    world = World()
    world.kill()
    tell_of_the_thread = world.core.tell
    world.spawn()
    tell_of_the_thread("late")
    world.loop.run()
    assert world.classes[1].handled == ["late"]


def test_detach_before_the_first_actor_only_ends_the_repairs():
    deaths = []
    core = CoreRef(10, deaths.append)
    core.detach()
    runtime, loop = step_runtime()
    core.attach(runtime.spawn(recorder(CoreActor, on_start=lambda _: fail(ValueError())(None))))
    core.tell("kept")
    loop.run()
    assert deaths == []
