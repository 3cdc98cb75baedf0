"""The base of the framework's own actors, and the address that survives their restart."""

from __future__ import annotations

import threading
from collections import deque
from threading import get_ident
from typing import TYPE_CHECKING, Any, cast

from loguru import logger
from pykka import ActorDeadError
from pykka._envelope import Envelope

from zfoo_py.actor.future import LoopFuture
from zfoo_py.actor.inbox import ends
from zfoo_py.actor.loop_actor import LoopActor
from zfoo_py.actor.messages import ABORT, CONTROL, ENVELOPED, SPECIAL, Control
from zfoo_py.errors import ConfigError, InboxFullError

if TYPE_CHECKING:
    from collections.abc import Callable

    from zfoo_py.actor.inbox import LoopInbox
    from zfoo_py.actor.ref import LoopActorRef

__all__ = ["CoreActor", "CoreRef"]


class CoreActor(LoopActor):
    """A loop actor of the framework itself: exceptions are counted and survived, and its death is repaired.

    Turns change state last, so a turn that raises leaves the state as it was.
    """

    failures: int = 0
    core_ref: CoreRef | None = None

    def take_over(self, previous: Any) -> None:
        """Go on where an actor of the same class died; called after `on_start`, before any message."""

    def _turn_failed(self, message: Any, error: BaseException) -> None:
        if not isinstance(error, Exception):
            self._end(error)
            return
        self._count_failure()
        try:
            self.on_turn_error(message, error)
        except BaseException as second:  # noqa: BLE001 - the guard itself must not fall
            logger.opt(exception=second).error("{} could not report a failed turn", self)

    def _ask_failed(self, error: Exception) -> None:
        if not isinstance(error, ConfigError):  # that one says that the question was wrong: no fault of the turn
            self._count_failure()

    def _count_failure(self) -> None:
        self.failures += 1
        self.runtime.turn_failures += 1

    def on_turn_error(self, message: Any, error: Exception) -> None:
        """Fail what the message asked for with a typed error. The default logs it."""
        logger.opt(exception=error).error("{} survived a failed turn ({})", self, type(message).__name__)

    def _end(self, error: BaseException | None) -> None:
        core_ref = self.core_ref
        if core_ref is not None and core_ref.actor is self and not self.actor_inbox.closed:
            core_ref.hold()  # before the inbox closes: no thread is to meet a closed one
        super()._end(error)

    def give_back(self, left: list[Any]) -> None:
        """Keep what is left for the actor's successor, if there will be one."""
        if self.core_ref is None or not self.core_ref.died(left):
            super().give_back(left)


class CoreRef:
    """Address of a core actor that survives its restart. `tell` from any thread, as `LoopActorRef.tell`.

    While the actor is down, what is told is kept (at most ``limit_messages``, Control apart) and goes to the
    next one, in order; so does what the dead one had not handled. The orders that ended the dead one do not.
    """

    __slots__ = ("_kept", "_limit", "_lock", "_on_death", "actor", "actor_inbox", "ref", "tell")
    actor_inbox: LoopInbox  # of the present actor, or of the last one

    def __init__(self, limit_messages: int, on_death: Callable[[CoreRef], object]) -> None:
        self.ref: LoopActorRef[Any] | None = None
        self.actor: LoopActor | None = None  # the present one, or the last: what it knew helps to start the next
        self._kept: deque[Any] = deque()
        self._lock = threading.RLock()  # of `_kept` and `tell`; taken only while the actor is down
        self._limit = limit_messages
        self._on_death: Callable[[CoreRef], object] | None = on_death
        self.tell: Callable[[Any], None] = self._keep

    def ask(self, message: Any) -> LoopFuture[Any]:
        """Ask the actor, or its successor if it is just being started anew. From any thread.

        Returns:
            The future; it ends with `ActorDeadError` when nobody will answer, with `InboxFullError` if too many wait.
        """
        future: LoopFuture[Any] = LoopFuture()
        try:
            self.tell(Envelope(message, reply_to=future))
        except (ActorDeadError, InboxFullError) as error:
            future.settle(error=error)
        return future

    def attach(self, ref: LoopActorRef[Any]) -> None:
        """Take a freshly spawned actor as the one behind this address, and give it what was kept.

        One that ended in its `on_start` is reported as dead at once. On the loop's thread.
        """
        self.actor_inbox = ref.actor_inbox
        actor = cast("CoreActor | None", ref.actor_inbox.actor)
        if actor is None:
            if self._on_death is not None:
                self._on_death(self)
            return
        actor.core_ref = self
        self.actor = actor
        self.ref = ref
        with self._lock:
            kept, self._kept = self._kept, deque()
            self.tell = ref.tell
        for item in kept:  # the bound was kept here
            told = type(item) is not Envelope
            kind = SPECIAL.get(type(item if told else item.message))
            wrapped = Envelope(item) if told and kind in {ENVELOPED, ABORT} else item
            ref.actor_inbox.enter(wrapped, control=kind in {CONTROL, ABORT}, unbounded=False)

    def detach(self) -> None:
        """Let go of the actor: its end is not repaired any more (the node stops). What was kept is given back."""
        self._on_death = None
        if self.ref is not None and self.actor is not None:
            with self._lock:
                kept, self._kept = self._kept, deque()
                self.ref.actor_inbox.heir = None
                self.tell = self.ref.tell
            self.actor.give_back(list(kept))

    def hold(self) -> None:
        """Keep what is told from now on: the actor is about to end. `died` follows. On the loop's thread."""
        if self._on_death is not None and self.ref is not None:
            with self._lock:
                self.tell = self._keep
            self.ref.actor_inbox.heir = self

    def died(self, left: list[Any]) -> bool:
        """Keep what the dead actor had not handled, and ask for a new one. On the loop's thread.

        Returns:
            False if nobody repairs it: then nothing is kept.
        """
        if self._on_death is None:
            return False
        orders = []
        for item in left:
            if ends(item):
                if item.reply_to is not None:
                    cast("LoopFuture[Any]", item.reply_to).settle()
            else:
                orders.append(item)
        with self._lock:
            self._kept.extendleft(reversed(orders))  # told before what was kept meanwhile
            self.tell = self._keep
        self._on_death(self)
        return True

    def _keep(self, message: Any) -> None:
        with self._lock:
            is_down = self.tell == self._keep  # or it was started anew while this thread came here
            if is_down and (len(self._kept) < self._limit or isinstance(message, Control)):
                self._kept.append(message)
                return
        actor = self.actor
        if not is_down:
            self.tell(message)
        elif type(message) is Envelope and message.reply_to is not None:
            error = InboxFullError("a core actor that is being restarted", self._limit)
            cast("LoopFuture[Any]", message.reply_to).settle(error=error)
        elif actor is not None and actor.runtime.in_turn and get_ident() == actor.runtime.thread_ident:
            actor.runtime.give_back(type(actor), message)
        else:
            raise InboxFullError("a core actor that is being restarted", self._limit)
