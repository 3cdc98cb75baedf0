"""The actor runtime: Pykka's actors, living on one event loop.

This is the only file that imports pykka. A `LoopActor` is a `pykka.Actor` whose turns are callbacks on the
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

from __future__ import annotations

import asyncio
import queue
import sys
import threading
from asyncio import _get_running_loop as running_loop  # the C function: asyncio.get_running_loop without the raise
from collections import deque
from threading import get_ident
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Protocol, Self, TypeVar, cast

import msgspec
import pykka
from loguru import logger
from pykka import ActorDeadError, ActorRef, Timeout
from pykka._envelope import Envelope
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr, _ActorStop

from zfoo_py.errors import BlockingCallError, InboxFullError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType

__all__ = [
    "Abort",
    "ActorDeadError",
    "ActorRef",
    "Control",
    "CoreActor",
    "CoreRef",
    "LoopActor",
    "LoopActorRef",
    "LoopFuture",
    "Runtime",
    "ThreadActor",
    "Timeout",
    "TimerSource",
]

T = TypeVar("T")
A = TypeVar("A", bound="LoopActor")

# One actor may hold the loop for this many messages before the next actor gets its turn. proto.actor uses
# 300; smaller means fairer, larger means fewer switches, and beyond a hundred the gain is not measurable.
MAX_BURST = 128

# One wake-up handles at most this many turns before other callbacks of the loop (sockets, timers) run:
# at a few microseconds a turn that is a few milliseconds.
MAX_TURNS_PER_WAKE = 2048

# An inbox that holds this many messages is a fault or an overload, not a burst: at 200 bytes a message it
# is 20 MB. Akka's bounded mailboxes and Ray's max_pending_calls are set in the same range.
DEFAULT_INBOX_LIMIT_MESSAGES = 100_000


class Control(msgspec.Struct, frozen=True):
    """Base of the messages that overtake: at most a few per session, never refused, FIFO among themselves."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _SPECIAL[cls] = _CONTROL


class Abort(msgspec.Struct, frozen=True):
    """Order: end at once, without handling what is left in the inbox."""

    reason: str = ""


_CONTROL, _ENVELOPED, _ABORT = 1, 2, 3
# What is not an ordinary message, by exact class: one dict look-up per tell instead of several isinstance.
_SPECIAL: dict[type, int] = {
    Abort: _ABORT,
    ProxyCall: _ENVELOPED,
    ProxyGetAttr: _ENVELOPED,
    ProxySetAttr: _ENVELOPED,
    _ActorStop: _ENVELOPED,
}


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


class LoopFuture(pykka.Future[T]):
    """A result that coroutines of any loop await and threads wait for.

    It is settled once, on any thread; the waiters of a loop are woken on that loop. Waiting without a lock is
    sound because a waiter registers first and looks for the result afterwards, and settling stores the
    result first and empties the list of waiters afterwards: whoever comes second empties it, and
    ``list.pop`` gives each waiter to one of them only.
    """

    # Class-level defaults instead of an __init__: one of these is made per ask.
    _done: bool = False
    _value: Any = None
    _error: BaseException | None = None
    _waiters: list[Callable[[Self], object]] | tuple[()] = ()
    _get_hook = None

    def __init__(self) -> None:
        """Make a pending future; deliberately without Pykka's per-future set-up."""

    def done(self) -> bool:
        """Return whether a value or an error is there. Any thread."""
        return self._done

    def exception(self) -> BaseException | None:
        """Return the error it was settled with, or None. Any thread."""
        return self._error

    def settle(self, value: T | None = None, error: BaseException | None = None) -> bool:
        """Store the outcome and wake all waiters; the first one wins. Any thread.

        Returns:
            False if it was settled before (nothing changed).
        """
        if self._done:
            return False
        self._value = value
        self._error = error
        self._done = True
        if self._waiters:
            self._wake()
        return True

    def add_done_callback(self, callback: Callable[[Self], object]) -> None:
        """Call ``callback(self)`` once, in the thread that settles it, or at once if it is settled."""
        if not self._waiters:
            self._waiters = []
        cast("list[Callable[[Self], object]]", self._waiters).append(callback)
        if self._done:
            self._wake()

    def _wake(self) -> None:
        waiters = self._waiters
        while waiters:
            try:
                waiter = waiters.pop(0)
            except IndexError:  # another thread took the last one
                return
            waiter(self)

    # --- awaiting, on any loop

    def __await__(self) -> Generator[Any, None, T]:
        """Suspend the awaiting task until the outcome is there; cancelling it does not settle the future."""
        if self._get_hook is not None:
            return asyncio.to_thread(self._get_hook, None).__await__()
        if self._done:
            return self._outcome_now()
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()

        def wake(_: LoopFuture[T]) -> None:
            if running_loop() is loop:
                self._copy_to(waiter)
            elif not loop.is_closed():
                loop.call_soon_threadsafe(self._copy_to, waiter)

        self.add_done_callback(wake)
        return waiter.__await__()

    __iter__ = __await__

    def _outcome_now(self) -> Generator[Any, None, T]:
        if self._error is not None:
            raise self._error
        return cast("T", self._value)
        yield  # makes this a generator

    def _copy_to(self, waiter: asyncio.Future[T]) -> None:
        if waiter.done():  # cancelled meanwhile
            return
        if self._error is not None:
            waiter.set_exception(self._error)
        else:
            waiter.set_result(self._value)

    # --- waiting in a thread, and the rest of Pykka's interface

    def get(self, *, timeout: float | None = None) -> T:
        """Block this thread until the outcome is there.

        Args:
            timeout: seconds, or None for no limit.

        Raises:
            BlockingCallError: an event loop runs in this thread.
            pykka.Timeout: no outcome in time.
            BaseException: the error it was settled with.
        """
        if self._get_hook is not None:
            return self._get_hook(timeout)
        if not self._done:
            refuse_blocking("get()", "await the future")
            lock = threading.Lock()
            lock.acquire()
            self.add_done_callback(lambda _: lock.release())
            if not lock.acquire(timeout=-1 if timeout is None else max(timeout, 0.0)):
                msg = f"{timeout} seconds"
                raise Timeout(msg)
        if self._error is not None:
            raise self._error
        return cast("T", self._value)

    def set(self, value: T | None = None) -> None:
        """Settle with a value.

        Raises:
            queue.Full: it was settled before, or has a get hook (as in Pykka).
        """
        if self._get_hook is not None or not self.settle(value):
            raise queue.Full

    def set_exception(self, exc_info: Any = None) -> None:
        """Settle with an error: ``exc_info`` as of ``sys.exc_info()``, None for the current one.

        Raises:
            queue.Full: it was settled before, or has a get hook (as in Pykka).
        """
        kind, error, traceback = exc_info or sys.exc_info()
        if error is None:
            error = kind() if kind is not None else RuntimeError("set_exception() without an exception")
        if error.__traceback__ is not traceback:
            error = error.with_traceback(traceback)
        if self._get_hook is not None or not self.settle(error=error):
            raise queue.Full

    def set_get_hook(self, func: Callable[[float | None], T]) -> None:
        """Let ``func(timeout)`` produce the value when it is asked for, in a thread of the asker's."""
        if self._done:
            raise queue.Full
        self._get_hook = func

    def map(self, func: Callable[[T], Any]) -> LoopFuture[Any]:
        """Return a future of ``func(value)``; ``func`` runs in the thread that settles this one."""
        mapped: LoopFuture[Any] = LoopFuture()

        def apply(done: LoopFuture[T]) -> None:
            if done._error is not None:
                mapped.settle(error=done._error)
                return
            try:
                mapped.settle(func(cast("T", done._value)))
            except Exception as error:  # noqa: BLE001 - the function is the caller's; its error is the outcome
                mapped.settle(error=error)

        self.add_done_callback(apply)
        return mapped

    def filter(self: LoopFuture[Any], func: Callable[[Any], bool]) -> LoopFuture[Any]:
        """Return a future of the list of items for which ``func`` is true."""
        return self.map(lambda items: [item for item in items if func(item)])

    def reduce(self: LoopFuture[Any], func: Callable[[Any, Any], Any], *args: Any) -> LoopFuture[Any]:
        """Return a future of the items folded by ``func``, as `functools.reduce`."""
        import functools  # noqa: PLC0415 - not needed by anybody else

        return self.map(lambda items: functools.reduce(func, items, *args))

    def join(self: LoopFuture[Any], *futures: pykka.Future[Any]) -> LoopFuture[Any]:
        """Return a future of the list of all values; it fails with the first error."""
        joined: LoopFuture[Any] = LoopFuture()
        parts = [self, *cast("tuple[LoopFuture[Any], ...]", futures)]
        missing = len(parts)

        def arrived(part: LoopFuture[Any]) -> None:
            nonlocal missing
            missing -= 1
            if part._error is not None:
                joined.settle(error=part._error)
            elif not missing:
                joined.settle([each._value for each in parts])

        for part in parts:
            part.add_done_callback(arrived)
        return joined


def refuse_blocking(what: str, instead: str) -> None:
    """Raise where a wait would hang an event loop.

    Raises:
        BlockingCallError: an event loop runs in this thread.
    """
    if running_loop() is not None:
        msg = f"{what} would block the event loop that runs in this thread: {instead} instead"
        raise BlockingCallError(msg)


class LoopInbox:
    """The two queues of one loop actor. Its owner is the loop's thread; other threads go through the runtime."""

    __slots__ = (
        "actor",
        "actor_class",
        "closed",
        "control",
        "foreign",
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
        self.control: deque[Any] = deque()
        self.limit = runtime.inbox_limit_messages
        self.foreign = 0  # messages of other threads on their way here
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
        runtime = self.runtime
        if get_ident() != runtime.thread_ident:
            runtime.post_foreign(self, item, control=control, unbounded=unbounded)
        elif self.closed:
            self.refuse(item, dead=True)
        elif control:
            self.control.append(item)
            if not self.scheduled:
                runtime.make_ready(self)
        elif unbounded or len(self.normal) - self.stops < self.limit:
            self.normal.append(item)
            if unbounded:
                self.stops += 1
            if not self.scheduled:
                runtime.make_ready(self)
        else:
            self.refuse(item, dead=False)

    def refuse(self, item: Any, *, dead: bool) -> None:
        """Give a message back that this inbox cannot take. On the loop's thread."""
        name = self.actor_class.__name__
        error: Exception = ActorDeadError(f"{name} not found") if dead else InboxFullError(name, self.limit)
        if type(item) is Envelope:
            if item.reply_to is not None:
                item.reply_to.set_exception((type(error), error, None))
                return
            item = item.message
        if not self.runtime.in_turn:
            raise error
        self.runtime.give_back(self.actor_class, item)

    def run(self, burst: int) -> int:
        """Handle up to ``burst`` messages; returns how many. Called by the runtime only."""
        actor, control, normal = self.actor, self.control, self.normal
        assert actor is not None
        count = 0
        while count < burst:
            if control:
                item = control.popleft()
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
            if self.closed:
                break
        return count

    def close(self) -> list[Any]:
        """Take what is left, control first; nothing enters any more."""
        self.closed = True
        self.actor = None
        left = [*self.control, *self.normal]
        self.control.clear()
        self.normal.clear()
        self.stops = 0
        return left


class LoopActorRef(ActorRef[A]):
    """Address of a loop actor; behaves as Pykka documents `pykka.ActorRef`, from any thread."""

    actor_inbox: LoopInbox

    def tell(self, message: Any) -> None:
        """Send a message without waiting for an answer.

        Raises:
            ActorDeadError: the actor has stopped, and this is not called within a turn.
            InboxFullError: the inbox is full, and this is not called within a turn. Within a turn both go
                to the actor class's `on_undelivered` instead.
        """
        inbox = self.actor_inbox
        kind = _SPECIAL.get(message.__class__)
        if kind is None:
            # The hot path: an ordinary message, told on the loop, to a living actor with room.
            runtime = inbox.runtime
            if get_ident() == runtime.thread_ident and not inbox.closed and len(inbox.normal) < inbox.limit:
                inbox.normal.append(message)
                if not inbox.scheduled:
                    runtime.make_ready(inbox)
            else:
                inbox.post(message, control=False, unbounded=False)
        elif kind == _CONTROL:
            inbox.post(message, control=True, unbounded=True)
        elif kind == _ABORT:
            inbox.post(Envelope(message), control=True, unbounded=True)
        else:
            inbox.post(Envelope(message), control=False, unbounded=message.__class__ is _ActorStop)

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Send a message and wait for the answer, or get a `LoopFuture` of it (``block=False``).

        Args:
            message: the message.
            block: wait in this thread.
            timeout: seconds to wait if blocking, None for ever.

        Raises:
            BlockingCallError: ``block`` where an event loop runs.
            ActorDeadError, InboxFullError: as the future's outcome.
        """
        if block:
            refuse_blocking("ask()", "use ask(..., block=False) and await the future")
        future: LoopFuture[Any] = LoopFuture()
        kind = _SPECIAL.get(message.__class__)
        try:
            self.actor_inbox.post(
                Envelope(message, reply_to=future),
                control=kind in {_CONTROL, _ABORT},
                unbounded=message.__class__ is _ActorStop,
            )
        except (ActorDeadError, InboxFullError) as error:
            future.settle(error=error)
        return future.get(timeout=timeout) if block else future

    def stop(self, *, block: bool = True, timeout: float | None = None) -> Any:
        """Ask the actor to stop after all it was told before; True if it was alive.

        ``block`` and ``timeout`` as in `ask`. A stop is never refused.
        """
        if block:
            refuse_blocking("stop()", "use stop(block=False) and await the future")
        asked: LoopFuture[Any] = self.ask(_ActorStop(), block=False)
        stopped: LoopFuture[bool] = LoopFuture()

        def convert(done: LoopFuture[Any]) -> None:
            stopped.settle(not isinstance(done.exception(), ActorDeadError))

        asked.add_done_callback(convert)
        return stopped.get(timeout=timeout) if block else stopped


class LoopActor(pykka.Actor):
    """A Pykka actor that lives on a runtime's loop; start it with `Runtime.spawn`.

    All hooks (`on_start`, `on_receive`, `on_stop`, `on_failure`) run on the loop's thread and must not wait.
    """

    # Overrides the runtime's default for one class of actors; messages.
    inbox_limit_messages: ClassVar[int | None] = None

    runtime: Runtime
    actor_inbox: LoopInbox

    @staticmethod
    def _create_actor_inbox() -> LoopInbox:
        return LoopInbox(Runtime.spawning())

    @staticmethod
    def _create_future() -> LoopFuture[Any]:
        return LoopFuture()

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        super().__init__()
        inbox = self.actor_inbox
        self.runtime = inbox.runtime
        inbox.actor_class = type(self)
        if self.inbox_limit_messages is not None:
            inbox.limit = self.inbox_limit_messages
        self._actor_ref = LoopActorRef(self)

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> LoopActorRef[Self]:
        """Start an actor on the runtime of the turn this is called in.

        Raises:
            RuntimeError: not called within a turn; use `Runtime.spawn`.
        """
        return Runtime.spawning().spawn(cls, *args, **kwargs)

    def _start_actor_loop(self) -> None:
        self.actor_inbox.actor = self
        try:
            self.on_start()
        except BaseException as error:  # noqa: BLE001 - as in Pykka: log, and the actor ends
            self._end(error)

    @classmethod
    def on_undelivered(cls, message: Any) -> None:
        """Take a message that no actor of this class will handle. On the loop's thread.

        The runtime has counted it. Override to send it back where it came from.
        """

    # --- turns; called by LoopInbox.run only

    def _turn_enveloped(self, envelope: Envelope[Any]) -> None:
        reply = cast("LoopFuture[Any] | None", envelope.reply_to)
        message = envelope.message
        if type(message) is _ActorStop:
            self.actor_inbox.stops -= 1
        try:
            value = self._handle_receive(message)
        except BaseException as error:  # noqa: BLE001 - the asker gets it; only a BaseException ends us
            if reply is None:
                self._turn_failed(message, error)
                return
            reply.settle(error=error if isinstance(error, Exception) else ActorDeadError(f"{self} died: {error!r}"))
            if not isinstance(error, Exception):
                self._turn_failed(message, error)
            return
        if reply is not None:
            reply.settle(value)

    def _turn_failed(self, message: Any, error: BaseException) -> None:
        """End the actor, as Pykka does when a told message raises."""
        del message
        self._end(error)

    def _handle_receive(self, message: Any) -> Any:
        if type(message) is Abort:
            return self._stop()
        return super()._handle_receive(message)

    def _stop(self) -> None:
        self._end(None)

    def _end(self, error: BaseException | None) -> None:
        """Leave the runtime, call the last hook, and give back what is left in the inbox."""
        inbox = self.actor_inbox
        if inbox.closed:
            return
        self.actor_stopped.set()
        left = inbox.close()
        self.runtime.forget(self)
        try:
            if error is None:
                self.on_stop()
            else:
                logger.opt(exception=error).error("{} ended by an unhandled exception", self)
                self.on_failure(type(error), error, error.__traceback__)
        except Exception as hook_error:  # noqa: BLE001 - a hook of the user's; there is nobody left to tell
            logger.opt(exception=hook_error).error("the last hook of {} raised", self)
        self._give_back(left)

    def _give_back(self, left: list[Any]) -> None:
        for item in left:
            if type(item) is not Envelope:
                self.runtime.give_back(type(self), item)
            elif item.reply_to is None:
                self.runtime.give_back(type(self), item.message)
            elif type(item.message) is _ActorStop:
                item.reply_to.set(None)
            else:
                dead = ActorDeadError(f"{self.actor_ref} stopped before handling the message")
                item.reply_to.set_exception((ActorDeadError, dead, None))


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

    def _give_back(self, left: list[Any]) -> None:
        if self.core_ref is None or not self.core_ref.died(left):
            super()._give_back(left)


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
        """Let go of the actor: its end is not repaired any more (the node stops)."""
        self._on_death = None

    def died(self, left: list[Any]) -> bool:
        """Keep what the dead actor had not handled, and ask for a new one. On the loop's thread.

        Returns:
            False if nobody repairs it: then nothing is kept.
        """
        if self._on_death is None:
            return False
        self.tell = self._keep
        for item in left:
            if type(item) is Envelope and type(item.message) is _ActorStop:
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


class Runtime:
    """Runs loop actors on one event loop. Every node has its own; they know nothing of each other.

    Args:
        loop: the loop; its thread is the one that calls `bind_thread` (or this constructor, by default).
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
        self.timers: TimerSource = timers if timers is not None else loop
        self.time = self.timers.time
        self.inbox_limit_messages = inbox_limit_messages
        self.thread_ident = get_ident()
        self.in_turn = False
        self.actors: set[LoopActor] = set()
        self.undelivered = 0
        self.turn_failures = 0
        self._ready: deque[LoopInbox] = deque()
        self._wake_scheduled = False
        self._flushes: list[Callable[[], object]] = []
        self._foreign: list[tuple[LoopInbox, Any, bool, bool]] = []
        self._foreign_lock = threading.Lock()

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

        Unlike Pykka's `start`, it does not enter Pykka's global registry (a list: removal is O(n)).
        """
        outer = getattr(Runtime._spawning, "runtime", None)
        Runtime._spawning.runtime = self
        try:
            actor = actor_class(*args, **kwargs)
            self.actors.add(actor)
            actor._start_actor_loop()
        finally:
            Runtime._spawning.runtime = outer
        return cast("LoopActorRef[A]", actor.actor_ref)

    def forget(self, actor: LoopActor) -> None:
        """Drop a stopped actor; called by the actor itself."""
        self.actors.discard(actor)

    def give_back(self, actor_class: type[LoopActor], message: Any) -> None:
        """Count a message that nobody will handle and hand it to its class's `on_undelivered`."""
        self.undelivered += 1
        try:
            actor_class.on_undelivered(message)
        except Exception as error:  # noqa: BLE001 - a hook must not fall into somebody else's turn
            logger.opt(exception=error).error("on_undelivered of {} raised", actor_class.__name__)

    # --- turns

    def make_ready(self, inbox: LoopInbox) -> None:
        """Put an inbox with messages on the list of those to run. On the loop's thread."""
        inbox.scheduled = True
        self._ready.append(inbox)
        if not self._wake_scheduled:
            self._wake_scheduled = True
            self.loop.call_soon(self.drain)

    def at_turn_end(self, flush: Callable[[], object]) -> None:
        """Call ``flush`` once, when the current wake-up has handled its messages. On the loop's thread."""
        self._flushes.append(flush)
        if not self.in_turn and not self._wake_scheduled:
            self._wake_scheduled = True
            self.loop.call_soon(self.drain)

    def deliver(self, ref: LoopActorRef[Any] | CoreRef, message: Any) -> None:
        """Tell and run at once: what a callback of the loop (socket, timer) does with what it brings."""
        if self.in_turn:
            ref.tell(message)
            return
        self.in_turn = True  # a refusal is nobody's exception here
        try:
            ref.tell(message)
        finally:
            self.in_turn = False
        self.drain()

    def call_later(self, delay_s: float, ref: LoopActorRef[Any] | CoreRef, message: Any) -> TimerHandle:
        """Deliver a message after ``delay_s`` seconds. The loop holds the ref until then, or until cancelled."""
        return self.timers.call_later(delay_s, self.deliver, ref, message)

    def drain(self) -> None:
        """Run every ready actor until nothing is left (bounded), then flush what they gathered."""
        self._wake_scheduled = True  # whatever gets ready meanwhile is handled below
        ready, flushes = self._ready, self._flushes
        outer = getattr(Runtime._spawning, "runtime", None)
        Runtime._spawning.runtime = self
        self.in_turn = True
        turns = 0
        try:
            while ready or flushes:
                while ready and turns < MAX_TURNS_PER_WAKE:
                    inbox = ready.popleft()
                    if inbox.closed:
                        continue
                    turns += inbox.run(MAX_BURST)
                    if inbox.normal or inbox.control:
                        ready.append(inbox)
                    else:
                        inbox.scheduled = False
                while flushes:
                    flushes.pop()()
                if turns >= MAX_TURNS_PER_WAKE:
                    break
        finally:
            self.in_turn = False
            Runtime._spawning.runtime = outer
            self._wake_scheduled = bool(ready)
            if ready:
                self.loop.call_soon(self.drain)

    # --- other threads

    def post_foreign(self, inbox: LoopInbox, item: Any, *, control: bool, unbounded: bool) -> None:
        """Take a message of another thread; one wake-up of the loop serves a whole batch."""
        with self._foreign_lock:
            if inbox.closed:
                msg = f"{inbox.actor_class.__name__} not found"
                raise ActorDeadError(msg)
            if not control and not unbounded and len(inbox.normal) - inbox.stops + inbox.foreign >= inbox.limit:
                raise InboxFullError(inbox.actor_class.__name__, inbox.limit)
            inbox.foreign += 1
            self._foreign.append((inbox, item, control, unbounded))
            first = len(self._foreign) == 1
        if first:
            self._wake_from_outside()

    def _wake_from_outside(self) -> None:
        try:
            self.loop.call_soon_threadsafe(self._take_foreign)
        except RuntimeError as error:
            with self._foreign_lock:
                self._foreign.clear()
            msg = "the event loop of this node is closed"
            raise ActorDeadError(msg) from error

    def _take_foreign(self) -> None:
        with self._foreign_lock:
            batch, self._foreign = self._foreign, []
            for inbox, _, _, _ in batch:
                inbox.foreign -= 1
        self.in_turn = True
        try:
            for inbox, item, control, unbounded in batch:
                # Its room was counted when it was taken, so it cannot be refused for want of room now.
                if unbounded or control or inbox.closed:
                    inbox.post(item, control=control, unbounded=unbounded)
                else:
                    inbox.normal.append(item)
                    if not inbox.scheduled:
                        inbox.scheduled = True
                        self._ready.append(inbox)
        finally:
            self.in_turn = False
        self.drain()

    def call_from_outside(self, callback: Callable[..., object], *args: Any) -> None:
        """Run a callback on the loop from any thread; a no-op on a closed loop."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(callback, *args)


class BoundedInbox(Generic[T]):
    """The inbox of a thread actor: `put` refuses when full, a stop order always passes."""

    def __init__(self, limit_messages: int) -> None:
        self._queue: queue.SimpleQueue[Envelope[T]] = queue.SimpleQueue()
        self._limit = limit_messages

    def put(self, envelope: Envelope[T], /) -> None:
        """Add an envelope.

        Raises:
            InboxFullError: ``limit_messages`` are waiting.
        """
        if self._queue.qsize() >= self._limit and type(envelope.message) is not _ActorStop:
            raise InboxFullError("a thread actor", self._limit)
        self._queue.put(envelope)

    def get(self) -> Envelope[T]:
        """Wait for the next envelope. The actor's own thread."""
        return self._queue.get()

    def empty(self) -> bool:
        """Return whether nothing waits."""
        return self._queue.empty()


class ThreadActor(pykka.ThreadingActor):
    """A Pykka actor with a thread of its own, for work that blocks.

    Its inbox is bounded and refuses; a message that raises, whatever it raises, goes to `on_turn_error` and
    the actor lives on; its thread is a daemon, so that one that hangs can be abandoned.
    """

    use_daemon_thread = True
    # A worker is handed work only while it is idle, so a handful is plenty.
    inbox_limit_messages: ClassVar[int] = 1024

    @staticmethod
    def _create_actor_inbox() -> BoundedInbox[Any]:
        return BoundedInbox(ThreadActor.inbox_limit_messages)

    def _handle_receive(self, message: Any) -> Any:
        if type(message) is _ActorStop:
            return self._stop()
        try:
            return super()._handle_receive(message)
        except BaseException as error:  # noqa: BLE001 - Pykka would stop every actor of the process
            return self.on_turn_error(message, error)

    def on_turn_error(self, message: Any, error: BaseException) -> Any:
        """Report a message that raised; the default logs it. In the actor's thread."""
        logger.opt(exception=error).error("{} survived a failed turn ({})", self, type(message).__name__)

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing to do: `_handle_receive` lets no exception through."""
