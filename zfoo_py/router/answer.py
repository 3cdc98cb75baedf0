"""What an ask returns: the answer to come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from zfoo_py.actor import ActorDeadError, LoopFuture, running_loop
from zfoo_py.errors import ZfooError
from zfoo_py.net.ask_future import AskFuture
from zfoo_py.router.call import current_call

if TYPE_CHECKING:
    from collections.abc import Callable

    from zfoo_py.actor import CoreRef, Runtime

__all__ = ["Answer", "asked", "check_timeout"]

T = TypeVar("T")

# 49 days, the longest that a frame can say (milliseconds in 32 bits); no ask is for ever.
MAX_TIMEOUT_S: Final = 4_294_967.0


def check_timeout(timeout_s: object) -> float:
    """Return a time-out in seconds, or refuse it at the call site: deadlines are sorted, and NaN has no place.

    0 or less is allowed: what is left of somebody else's time. Such an ask ends with `AskTimeoutError`, unsent.

    Raises:
        TypeError: it is no number.
        ValueError: it is NaN, or over 49 days.
    """
    if not isinstance(timeout_s, int | float):
        msg = f"timeout_s must be a number of seconds, or None for the node's ask_timeout_s, not {timeout_s!r}"
        raise TypeError(msg)
    if not timeout_s <= MAX_TIMEOUT_S:
        msg = f"timeout_s must be at most {MAX_TIMEOUT_S:.0f} seconds, not {timeout_s}: every ask ends"
        raise ValueError(msg)
    return timeout_s


def _call(callback: Callable[..., object], done: Any) -> None:
    """Call it on a loop that is not the node's, whose turns are not watched."""
    callback(done)


class Answer(AskFuture[T]):
    """The answer to an ask that is on its way; the ask was sent when you got this.

    Await it on any event loop, any number of times; or let `when_complete` call you. It always ends: with the
    packet, or with one of the errors in `zfoo_py.errors`, at the latest at the ask's deadline.

    When the last task that awaits it is cancelled (also by ``asyncio.timeout`` and ``wait_for``), the ask is cancelled
    as by `cancel`; ``asyncio.shield`` keeps it. One that `when_complete` or a thread waits for is not, and one that
    nobody ever awaited neither.

    Attributes:
        provider: ring name of the provider that was picked, "" before.
        membership_version: the membership version it was picked at, 0 before.
    """

    provider: str = ""
    membership_version: int = 0
    held: Any = None  # by `zfoo_py.consumer.in_flight`, if the balancer counts asks

    def cancel(self) -> bool:
        """Give the ask up: whoever waits gets ``asyncio.CancelledError``, and the provider is told. Any thread.

        There a queued ask is dropped, a coroutine receiver is cancelled, and a blocking one can see it
        (`Call.is_cancelled`).

        Returns:
            False if it had ended before (nothing changed).
        """
        return super().cancel()

    def get(self, *, timeout: float | None = None) -> T:
        """Block this thread until the outcome is there.

        In a receiver it is cancelled with the ask being served; what that receiver waits for after it has heard of that
        (by this, or by `Call.is_cancelled`) is not.

        Args:
            timeout: seconds; None: as long as it takes.

        Raises:
            asyncio.CancelledError: it was cancelled, or the ask in whose receiver, on a worker thread, this waits.
            Timeout: it is not there in time.
            Exception: what it ended with.
        """
        call = current_call.get()
        if call is None:
            return super().get(timeout=timeout)
        call.waits_for = self
        if call.is_untold and self.cancel():  # in this order, since give_up() has the other one
            call.is_untold = False
        try:
            return super().get(timeout=timeout)
        finally:
            call.waits_for = None

    def result(self) -> T:
        """Return the packet, or raise the error; for callbacks. Does not wait.

        Raises:
            RuntimeError: it is not there yet.
            CallError: the ask failed.
        """
        if not self.is_settled:
            msg = "the answer is not there yet: await it, or use when_complete"
            raise RuntimeError(msg)
        if self._error is not None:
            raise self._error
        value: T = self._value
        return value

    def when_complete(self, callback: Callable[[Self], object]) -> Self:
        """Call ``callback(answer)`` once it has ended.

        Asked in a receiver, the callback runs on that receiver's lane, where it may touch the lane's state;
        asked elsewhere, on the event loop that runs here; in a plain thread, on the node's loop.
        """
        self.is_kept = True
        within = current_call.get()
        loop = running_loop()
        if within is not None and within.lane is not None:
            router: Any = within.owner
            lane, is_async = within.lane, within.receiver.is_async
            self.add_done_callback(lambda done: router.callback_in_lane(lane, callback, done, is_async=is_async))
        elif loop is not None:
            home = self._home
            call = home.call_back if home is not None and home.loop is loop else _call
            self.add_done_callback(
                lambda done: loop.is_closed() or loop.call_soon_threadsafe(call, callback, done),
            )
        else:  # a callback that raises must not do so in the turn of the session that brings the answer
            home = self._home
            assert home is not None
            self.add_done_callback(lambda done: home.call_from_outside(home.call_back, callback, done))
        return self


def asked(runtime: Runtime, actor: CoreRef, question: Any) -> Answer[Any]:
    """Ask a core actor on behalf of an application. From any thread.

    Returns:
        The answer; it ends with `ZfooError` if the node stops before, and waits while the actor is started anew.
    """
    answer: Answer[Any] = Answer(runtime)

    def settle(done: LoopFuture[Any]) -> None:
        error = done.exception()
        if isinstance(error, ActorDeadError):
            gone = ZfooError("the node has stopped, or its actor died over this question: nobody is there to answer")
            gone.__cause__ = error
            error = gone
        answer.settle(done.value(), error)

    actor.ask(question).add_done_callback(settle)
    return answer
