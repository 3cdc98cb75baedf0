"""The actor runtime: Pykka's actors, living on one event loop.

This is the only package that imports pykka. A `LoopActor` is a `pykka.Actor` whose turns are callbacks on the
loop of its `Runtime`: ten thousand of them cost no thread, and a message between two of them costs no
thread switch. `ThreadActor` is the base of the few that must block.

* One wake-up drains every ready inbox until nothing is left, at most ``MAX_TURNS_PER_WAKE`` turns, and at
  most ``MAX_BURST`` of one actor at a time; then what was gathered is flushed (`Runtime.at_turn_end`).
* Two classes of messages: those that inherit `Control` overtake all others, FIFO among themselves, are never
  refused and do not count against the bound. Everything else is FIFO. Pykka's stop stays in order and is
  never refused; `Abort` ends an actor at once.
* Nothing is lost in silence: what is left at the end, or told after it, or refused within a turn, goes to
  the actor class's `on_undelivered`. Outside of a turn a refusal raises.
* A plain `LoopActor` that raises stops, as in Pykka. A `CoreActor` survives every ``Exception``; one that is
  killed all the same is started anew behind its `CoreRef`, which keeps what was told meanwhile. A
  ``BaseException`` ends nobody but the actor that raised it.

Pykka calls the three hooks used here internal, so the version is pinned (``pykka>=4.5,<5``) and a test pins
every private name.
"""

from pykka import ActorDeadError, ActorRef, Timeout

from zfoo_py.actor.cancellable import CancellableFuture
from zfoo_py.actor.core_actor import CoreActor, CoreRef
from zfoo_py.actor.future import LoopFuture, refuse_blocking, running_loop
from zfoo_py.actor.loop_actor import LoopActor
from zfoo_py.actor.messages import Abort, Control
from zfoo_py.actor.ref import LoopActorRef
from zfoo_py.actor.runtime import Runtime, TimerHandle, TimerSource
from zfoo_py.actor.thread_actor import ThreadActor
from zfoo_py.actor.turn_watch import WATCH, Held, Pace

__all__ = [
    "WATCH",
    "Abort",
    "ActorDeadError",
    "ActorRef",
    "CancellableFuture",
    "Control",
    "CoreActor",
    "CoreRef",
    "Held",
    "LoopActor",
    "LoopActorRef",
    "LoopFuture",
    "Pace",
    "Runtime",
    "ThreadActor",
    "Timeout",
    "TimerHandle",
    "TimerSource",
    "refuse_blocking",
    "running_loop",
]
