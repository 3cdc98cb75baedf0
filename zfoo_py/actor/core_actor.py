"""The base of the framework's own actors, and the address that survives their restart."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, cast

from loguru import logger
from pykka._envelope import Envelope

from zfoo_py.actor.loop_actor import LoopActor
from zfoo_py.actor.messages import ActorStop, Control
from zfoo_py.errors import InboxFullError

if TYPE_CHECKING:
    from collections.abc import Callable

    from zfoo_py.actor.ref import LoopActorRef

__all__ = ["CoreActor", "CoreRef"]


class CoreActor(LoopActor):
    """A loop actor of the framework itself: exceptions are counted and survived, and its death is repaired.

    Turns change state last, so a turn that raises leaves the state as it was.
    """

    failures: int = 0
    core_ref: CoreRef | None = None

    def _turn_failed(self, message: Any, error: BaseException) -> None:
        if not isinstance(error, Exception):
            self._end(error)
            return
        self.failures += 1
        self.runtime.turn_failures += 1
        try:
            self.on_turn_error(message, error)
        except Exception as second:  # noqa: BLE001 - the guard itself must not fall
            logger.opt(exception=second).error("{} could not report a failed turn", self)

    def on_turn_error(self, message: Any, error: Exception) -> None:
        """Fail what the message asked for with a typed error. The default logs it."""
        logger.opt(exception=error).error("{} survived a failed turn ({})", self, type(message).__name__)

    def give_back(self, left: list[Any]) -> None:
        """Keep what is left for the actor's successor, if there will be one."""
        if self.core_ref is None or not self.core_ref.died(left):
            super().give_back(left)


class CoreRef:
    """Address of a core actor that survives its restart. `tell` from any thread, as `LoopActorRef.tell`.

    While the actor is down, what is told on the loop is kept (at most ``limit`` messages) and told to the
    next one.
    """

    __slots__ = ("_kept", "_limit", "_on_death", "actor", "ref", "tell")

    def __init__(self, limit_messages: int, on_death: Callable[[CoreRef], object]) -> None:
        self.ref: LoopActorRef[Any] | None = None
        self.actor: LoopActor | None = None  # the present one, or the last: what it knew helps to start the next
        self._kept: deque[Any] = deque()
        self._limit = limit_messages
        self._on_death: Callable[[CoreRef], object] | None = on_death
        self.tell: Callable[[Any], None] = self._keep

    def attach(self, ref: LoopActorRef[Any]) -> None:
        """Take a freshly spawned actor as the one behind this address, and tell it what was kept."""
        actor = cast("CoreActor", ref.actor_inbox.actor)
        actor.core_ref = self
        self.actor = actor
        self.ref = ref
        self.tell = ref.tell
        kept, self._kept = self._kept, deque()
        for message in kept:
            if type(message) is Envelope:
                ref.actor_inbox.post(message, control=False, unbounded=True)
            else:
                ref.tell(message)

    def detach(self) -> None:
        """Let go of the actor: its end is not repaired any more (the node stops). What was kept is given back."""
        self._on_death = None
        kept, self._kept = self._kept, deque()
        if self.ref is not None and self.actor is not None:
            self.tell = self.ref.tell
            self.actor.give_back(list(kept))

    def died(self, left: list[Any]) -> bool:
        """Keep what the dead actor had not handled, and ask for a new one. On the loop's thread.

        Returns:
            False if nobody repairs it: then nothing is kept.
        """
        if self._on_death is None:
            return False
        self.tell = self._keep
        for item in left:
            if type(item) is Envelope and type(item.message) is ActorStop:
                if item.reply_to is not None:
                    item.reply_to.set(None)
            else:
                self._kept.append(item)
        self._on_death(self)
        return True

    def _keep(self, message: Any) -> None:
        if len(self._kept) >= self._limit and not isinstance(message, Control):
            raise InboxFullError("a core actor that is being restarted", self._limit)
        self._kept.append(message)
