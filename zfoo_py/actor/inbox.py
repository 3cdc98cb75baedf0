"""The two queues of one loop actor."""

from __future__ import annotations

from collections import deque
from threading import get_ident
from typing import TYPE_CHECKING, Any, NoReturn, cast

from pykka import ActorDeadError
from pykka._envelope import Envelope

from zfoo_py.actor.messages import Abort, ActorStop
from zfoo_py.errors import InboxFullError

if TYPE_CHECKING:
    from zfoo_py.actor.core_actor import CoreRef
    from zfoo_py.actor.future import LoopFuture
    from zfoo_py.actor.loop_actor import LoopActor
    from zfoo_py.actor.runtime import Runtime

__all__ = ["LoopInbox", "ends"]


# An empty deque takes 760 bytes, and most actors get a control message only when they end: until the first one,
# all share this one, which is never appended to.
NO_CONTROL: deque[Any] = deque()


def ends(item: Any) -> bool:
    """Return whether this is an order to end, which is one actor's and not its successor's."""
    return type(item) is Envelope and type(item.message) in {ActorStop, Abort}


class LoopInbox:
    """The two queues of one loop actor. Its owner is the loop's thread; other threads go through the runtime.

    The bound is exact for what is told on the loop and, by itself, for what threads tell. The loop does not
    count what threads have on their way here, so both together may reach twice the bound, never more.
    """

    __slots__ = (
        "actor",
        "actor_class",
        "closed",
        "control",
        "foreign",
        "heir",
        "limit",
        "normal",
        "runtime",
        "scheduled",
        "stops",
    )

    actor_class: type[LoopActor]  # set by the actor, once it knows itself

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.actor: LoopActor | None = None  # strong until the actor has stopped
        self.normal: deque[Any] = deque()
        self.control = NO_CONTROL
        self.limit = runtime.inbox_limit_messages
        self.heir: CoreRef | None = None  # who takes what other threads told a core actor that has died meanwhile
        self.foreign = 0  # messages of other threads on their way here that count against the bound
        self.stops = 0  # stop orders in `normal`: they do not count against the bound
        self.scheduled = False
        self.closed = False

    # Pykka's inbox protocol
    def put(self, envelope: Envelope[Any], /) -> None:
        """Add an envelope; see `LoopActorRef.tell`."""
        self.post(envelope, control=False, unbounded=False)

    def get(self) -> NoReturn:
        """Refuse: nobody takes messages out of a loop inbox but its runtime."""
        msg = "a loop inbox is drained by its runtime"
        raise NotImplementedError(msg)

    def empty(self) -> bool:
        """Return whether nothing is left."""
        return not (self.normal or self.control)

    def post(self, item: Any, *, control: bool, unbounded: bool) -> None:
        """Take a message from any thread; ``unbounded``: it does not count against the bound (a stop).

        Raises:
            ActorDeadError, InboxFullError: as `LoopActorRef.tell`.
        """
        runtime = self.runtime
        if get_ident() != runtime.thread_ident:
            runtime.post_foreign(self, item, control=control, unbounded=unbounded)
        elif self.closed:
            self.refuse(item, dead=True)
        elif control or unbounded or len(self.normal) - self.stops < self.limit:
            self.enter(item, control=control, unbounded=unbounded)
        else:
            self.refuse(item, dead=False)

    def refuse(self, item: Any, *, dead: bool) -> None:
        """Give a message back that this inbox cannot take. On the loop's thread."""
        if self.heir is not None and not ends(item):
            self.heir.tell(item)
            return
        name = self.actor_class.__name__
        error: Exception = ActorDeadError(f"{name} not found") if dead else InboxFullError(name, self.limit)
        if type(item) is Envelope:
            if item.reply_to is not None:
                cast("LoopFuture[Any]", item.reply_to).settle(error=error)
                return
            item = item.message
        if not self.runtime.in_turn:
            raise error
        self.runtime.give_back(self.actor_class, item)

    def enter(self, item: Any, *, control: bool, unbounded: bool) -> None:
        """Take a message for which there is room. On the loop's thread, while the inbox is open."""
        if control:
            if self.control is NO_CONTROL:
                self.control = deque()
            self.control.append(item)
        else:
            self.normal.append(item)
            if unbounded:
                self.stops += 1
        if not self.scheduled:
            self.runtime.make_ready(self)

    def run(self, burst: int) -> int:
        """Handle up to ``burst`` messages; returns how many. Called by the runtime only.

        An actor that ends empties its inbox, which ends this, too.
        """
        actor, normal = self.actor, self.normal
        assert actor is not None
        count = 0
        while count < burst:
            if self.control:
                item = self.control.popleft()
            elif normal:
                item = normal.popleft()
            else:
                break
            count += 1
            if type(item) is Envelope:
                actor._turn_enveloped(item)
            else:
                try:
                    actor.on_receive(item)
                except BaseException as error:  # noqa: BLE001 - see _turn_failed: this is the guard
                    actor._turn_failed(item, error)
        return count

    def run_one(self, message: Any) -> None:
        """Handle an ordinary message that never was in here. On an open and empty inbox; called by the runtime only."""
        actor = self.actor
        assert actor is not None
        try:
            actor.on_receive(message)
        except BaseException as error:  # noqa: BLE001 - see _turn_failed: this is the guard
            actor._turn_failed(message, error)

    def close(self) -> list[Any]:
        """Take what is left, control first; nothing enters any more."""
        self.closed = True
        self.actor = None
        left = [*self.control, *self.normal]
        self.control = NO_CONTROL
        self.normal.clear()
        self.stops = 0
        return left
