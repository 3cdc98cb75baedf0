"""The runtime: turns of loop actors on one event loop."""

from __future__ import annotations

import threading
from collections import deque
from threading import get_ident
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar, cast

from loguru import logger
from pykka import ActorDeadError

from zfoo_py.actor.inbox import ends
from zfoo_py.actor.messages import SPECIAL
from zfoo_py.actor.turn_watch import Pace
from zfoo_py.actor.waking_io import Doorbell, Sleepers
from zfoo_py.errors import ForkedError, InboxFullError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from zfoo_py.actor.core_actor import CoreRef
    from zfoo_py.actor.inbox import LoopInbox
    from zfoo_py.actor.loop_actor import LoopActor
    from zfoo_py.actor.ref import LoopActorRef

__all__ = ["Runtime", "TimerHandle", "TimerSource"]

A = TypeVar("A", bound="LoopActor")

# One actor may hold the loop for this many messages before the next actor gets its turn. proto.actor uses
# 300; smaller means fairer, larger means fewer switches, and beyond a hundred the gain is not measurable.
MAX_BURST = 128

# One wake-up handles at most this many turns before other callbacks of the loop (sockets, timers) run:
# at a few microseconds a turn that is a few milliseconds.
MAX_TURNS_PER_WAKE = 2048

# So many messages told by coroutines are run without waiting for the next wake-up; see `Runtime.drain_batch`.
BATCH_MESSAGES = 32

# An inbox that holds this many messages is a fault or an overload, not a burst: at 200 bytes a message it
# is 20 MB. Akka's bounded mailboxes and Ray's max_pending_calls are set in the same range.
DEFAULT_INBOX_LIMIT_MESSAGES = 100_000


class TimerSource(Protocol):
    """What a runtime needs of a clock: an event loop has it, and so has a fake clock."""

    def time(self) -> float:
        """Return seconds on a monotonic clock."""
        ...

    def call_later(self, delay: float, callback: Callable[..., object], /, *args: Any) -> TimerHandle:
        """Call ``callback(*args)`` on the loop after ``delay`` seconds."""
        ...


class TimerHandle(Protocol):
    """A timer that can be cancelled."""

    def cancel(self) -> None:
        """Forget the callback; harmless if it has run."""
        ...


class Runtime:
    """Runs loop actors on one event loop. Every node has its own; they know nothing of each other.

    Args:
        loop: the loop; its thread is the one that calls this constructor.
        timers: a clock and its timers; default is the loop itself. Tests pass a fake clock.
        inbox_limit_messages: the bound of an inbox whose actor class names none.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        timers: TimerSource | None = None,
        inbox_limit_messages: int = DEFAULT_INBOX_LIMIT_MESSAGES,
    ) -> None:
        self.loop = loop
        # Number → inode of the sockets on this loop: a forked child closes them.
        self.sockets: dict[int, int] = {}
        self.timers: TimerSource = timers if timers is not None else loop
        self.time = self.timers.time
        self.inbox_limit_messages = inbox_limit_messages
        self.thread_ident = get_ident()
        self.pace = Pace(self.thread_ident)
        self.in_turn = False
        self._is_draining = False
        self.actors: set[LoopActor] = set()
        self.undelivered = 0
        self.turn_failures = 0
        self._ready: deque[LoopInbox] = deque()
        self._wake_scheduled = False
        self._told = 0
        # The last thing that came from a socket was one frame by itself: whoever it wakes is probably the only one who
        # tells something before the loop waits again, so what it tells need not wait for others to join it.
        self.is_quiet = False
        self._flushes: deque[Callable[[], object]] = deque()
        self._foreign: list[tuple[LoopInbox, Any, bool, bool]] = []
        self._foreign_lock = threading.RLock()  # reentrant: a collected object's __del__ may tell
        self._posted: deque[Callable[[], object]] = deque()
        self._bell: Doorbell | None = None
        self.sleepers = Sleepers(self.sockets)

    _spawning = threading.local()

    @staticmethod
    def spawning() -> Runtime:
        """Return the runtime that spawns an actor, or runs a turn, in this thread.

        Raises:
            RuntimeError: none does.
        """
        runtime = getattr(Runtime._spawning, "runtime", None)
        if runtime is None:
            msg = "a loop actor is started with Runtime.spawn(), or within a turn of another one"
            raise RuntimeError(msg)
        return cast("Runtime", runtime)

    # --- actors

    def spawn(self, actor_class: type[A], *args: Any, **kwargs: Any) -> LoopActorRef[A]:
        """Start an actor and run its `on_start`. On the loop's thread only.

        Unlike Pykka's `start`, it does not enter Pykka's global registry (a list: removal is O(n)). `on_start`
        is a turn: what it tells to a dead or full actor is given back, and does not raise.
        """
        outer, in_turn = getattr(Runtime._spawning, "runtime", None), self.in_turn
        Runtime._spawning.runtime = self
        try:
            actor = actor_class(*args, **kwargs)
            self.actors.add(actor)
            self.in_turn = True
            actor._start_actor_loop()
        finally:
            self.in_turn = in_turn
            Runtime._spawning.runtime = outer
        return actor.actor_ref

    def forget(self, actor: LoopActor) -> None:
        """Drop a stopped actor; called by the actor itself."""
        self.actors.discard(actor)

    def give_back(self, actor_class: type[LoopActor], message: Any) -> None:
        """Count a message that nobody will handle and hand it to its class's `on_undelivered`."""
        self.undelivered += 1
        try:
            actor_class.on_undelivered(message)
        except BaseException as error:  # noqa: BLE001 - a hook must not fall into somebody else's turn
            logger.opt(exception=error).error("on_undelivered of {} raised", actor_class.__name__)

    # --- turns

    def make_ready(self, inbox: LoopInbox) -> None:
        """Put an inbox with messages on the list of those to run. On the loop's thread."""
        if not self._wake_scheduled:
            self.loop.call_soon(self.drain)  # raises if the loop is closed: then nothing pretends to be on its way
            self._wake_scheduled = True
        inbox.scheduled = True
        self._ready.append(inbox)

    def at_turn_end(self, flush: Callable[[], object]) -> None:
        """Call ``flush`` once, when the current wake-up has handled its messages. On the loop's thread."""
        self._flushes.append(flush)
        if not self._wake_scheduled:  # also within an actor's on_start, where no wake-up need be under way
            self._wake_scheduled = True
            self.loop.call_soon(self.drain)

    def deliver(self, ref: LoopActorRef[Any] | CoreRef, message: Any) -> None:
        """Tell and run at once: what a callback of the loop (socket, timer) does with what it brings."""
        if self.in_turn:
            ref.tell(message)
            return
        inbox = ref.actor_inbox
        if inbox.scheduled or inbox.closed or message.__class__ in SPECIAL:
            self.in_turn = True  # a refusal is nobody's exception here
            self._wake_scheduled = True  # `drain` below is the wake-up
            try:
                ref.tell(message)
            finally:
                self.in_turn = False
                self.drain()
        else:
            self.drain(inbox, message)

    def call_later(self, delay_s: float, ref: LoopActorRef[Any] | CoreRef, message: Any) -> TimerHandle:
        """Deliver a message after ``delay_s`` seconds. The loop holds the ref until then, or until cancelled."""
        return self.timers.call_later(delay_s, self.deliver, ref, message)

    def drain_batch(self) -> None:
        """Count a message told from a coroutine, and run the actors once a batch has gathered.

        Without it all coroutines that are awake would tell first and the turns would run last, so that the
        peer's work could not overlap with ours. Outside of a turn, on the loop's thread.
        """
        self._told += 1
        if self._told >= BATCH_MESSAGES and not self.in_turn:
            self.drain()

    def tell_at_once(self, ref: CoreRef, message: Any) -> None:
        """Tell an ordinary message and run at once; a wake-up would cost the loop one more look at its sockets.

        For a coroutine while it `is_quiet`. Outside of a turn, on the loop's thread.

        Raises:
            ActorDeadError, InboxFullError: as `LoopActorRef.tell`.
        """
        self.is_quiet = False
        inbox = ref.actor_inbox
        if inbox.scheduled or inbox.closed:
            self._wake_scheduled = True  # `drain` below is the wake-up
            try:
                ref.tell(message)
            finally:
                self.drain()
        else:
            self.drain(inbox, message)

    def drain(self, inbox: LoopInbox | None = None, message: Any = None) -> None:
        """Run every ready actor until nothing is left (bounded), then flush what they gathered.

        Args:
            inbox: an open and empty one, whose actor has its turn with ``message`` first.
            message: an ordinary one.
        """
        self._told = 0
        ready, flushes = self._ready, self._flushes
        is_within = self._is_draining  # receivers that a flush has started ask, or have answered
        if inbox is None and not ready and not flushes:  # a batch has drained before the wake-up that it had asked for
            self._wake_scheduled = is_within
            return
        self._wake_scheduled = True  # whatever gets ready meanwhile is handled below
        pace = self.pace
        began_s = pace.since_s  # of a receiver that asks
        pace.since_s = perf_counter()
        outer = getattr(Runtime._spawning, "runtime", None)
        Runtime._spawning.runtime = self
        self._is_draining = self.in_turn = True
        turns = 0
        try:
            if inbox is not None:
                inbox.run_one(message)
            while (ready or flushes) and turns < MAX_TURNS_PER_WAKE:
                while ready and turns < MAX_TURNS_PER_WAKE:
                    inbox = ready.popleft()
                    if inbox.closed:
                        continue
                    turns += inbox.run(MAX_BURST)
                    if inbox.normal or inbox.control:
                        ready.append(inbox)
                    else:
                        inbox.scheduled = False
                gathered = len(flushes)  # what a flush registers comes after the turns it caused
                while gathered and flushes:
                    gathered -= 1
                    turns += 1
                    self._flush(flushes.popleft())
        finally:
            self._is_draining = is_within
            self.in_turn = False
            Runtime._spawning.runtime = outer
            pace.end()
            if began_s:
                pace.begin()
            if not is_within:
                self._wake_scheduled = bool(ready or flushes)
                if self._wake_scheduled:
                    self.loop.call_soon(self.drain)

    def _flush(self, flush: Callable[[], object]) -> None:
        try:
            flush()
        except BaseException as error:  # noqa: BLE001 - the other flushes, and the next turns, are not to blame
            logger.opt(exception=error).error("a flush at the end of a wake-up raised")

    # --- other threads

    def open(self) -> None:
        """Hang up a doorbell, which wakes the loop at a lower cost than its own way. On the loop's thread."""
        if self.timers is self.loop:  # a fake clock waits for every socket but the loop's own
            self._bell = bell = Doorbell(self.loop, self._answer)
            self.sockets.update(bell.sockets)

    def close(self) -> None:
        """Give back what was opened; whoever tells afterwards takes the loop's own way. Outside of a turn."""
        with self._foreign_lock:
            bell, self._bell = self._bell, None
        if bell is not None and not self.loop.is_closed():  # nobody comes through it any more, but some have
            bell.remove()
            self._answer()
        self.sleepers.close()
        self.sockets.clear()

    def post_foreign(self, inbox: LoopInbox, item: Any, *, control: bool, unbounded: bool) -> None:
        """Take a message of another thread; one wake-up of the loop serves a whole batch."""
        bell = None
        with self._foreign_lock:
            if inbox.closed:
                if inbox.heir is not None and not ends(item):
                    inbox.heir.tell(item)
                    return
                msg = f"{inbox.actor_class.__name__} not found"
                raise ActorDeadError(msg)
            counts = not control and not unbounded
            if counts and len(inbox.normal) - inbox.stops + inbox.foreign >= inbox.limit:
                raise InboxFullError(inbox.actor_class.__name__, inbox.limit)
            if self._bell is not None and not self.loop.is_closed():
                if not self._foreign:
                    bell = self._bell
            elif not self._foreign or self.loop.is_closed():
                try:
                    self.loop.call_soon_threadsafe(self._take_foreign)
                except RuntimeError as error:
                    msg = f"{inbox.actor_class.__name__} not found: the event loop it lived on is closed"
                    raise ActorDeadError(msg) from error
            inbox.foreign += counts
            self._foreign.append((inbox, item, control, unbounded))
        if bell is not None:  # without the lock: the loop is awake at once, and takes it
            bell.ring()

    def post(self, callback: Callable[[], object]) -> None:
        """Run a callback of the framework's own on the loop, from any thread.

        Raises:
            RuntimeError: the loop is closed.
        """
        with self._foreign_lock:
            bell = self._bell
            if bell is None or self.loop.is_closed():
                self.loop.call_soon_threadsafe(callback)
                return
            self._posted.append(callback)
        bell.ring()

    def _answer(self) -> None:
        posted = self._posted
        while posted:
            try:
                posted.popleft()()
            except Exception as error:  # noqa: BLE001 - the next ones are not to blame
                logger.opt(exception=error).error("a callback that another thread has posted raised")
        if self._foreign:
            self._take_foreign()

    def _take_foreign(self) -> None:
        self._wake_scheduled = True  # `drain` below is the wake-up
        dead = []
        with self._foreign_lock:  # room changes hands: from `foreign` to the inbox, with nobody looking between
            batch, self._foreign = self._foreign, []
            for inbox, item, control, unbounded in batch:
                if not control and not unbounded:
                    inbox.foreign -= 1
                if inbox.closed:
                    dead.append((inbox, item))
                else:
                    inbox.enter(item, control=control, unbounded=unbounded)
        self.in_turn = True
        try:
            for inbox, item in dead:
                inbox.refuse(item, dead=True)
        finally:
            self.in_turn = False
        self.drain()

    def after_fork(self, text: str, cores: Iterable[CoreRef]) -> None:
        """Raise `ForkedError` from every call from now on: this process is a child, and the loop its parent's.

        Each call would come here, now that no thread is the loop's.
        """

        def refuse(*_: Any, **__: Any) -> NoReturn:
            raise ForkedError(text)

        self.thread_ident = 0
        for core in cores:  # one that was being started anew would take a lock
            core.tell = refuse
        self.post_foreign = self.call_from_outside = self.refuse_wait = refuse  # type: ignore[method-assign]

    def refuse_wait(self) -> None:
        """Raise if what is waited for can never come: in a forked child."""

    def call_back(self, callback: Callable[..., object], *args: Any) -> None:
        """Call an application's callback, as a turn that must not hold the loop. On the loop's thread."""
        self.pace.begin()
        try:
            callback(*args)
        finally:
            self.pace.end()

    def call_from_outside(self, callback: Callable[..., object], *args: Any) -> None:
        """Run a callback on the loop from any thread; a no-op on a closed loop."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(callback, *args)
