"""Worker threads for receivers that block: any free worker takes the next ready call.

The calls of a whole chunk enter one shared queue and wake one worker; a worker that finds more behind its
call wakes the next idle one before it starts. So short calls are done by one thread without switches, and
slow ones spread over all. Results gather in a second queue and cross back to the loop in batches.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from zfoo_py.actor import ActorDeadError, LoopFuture, ThreadActor
from zfoo_py.router.call import Call, current_call
from zfoo_py.router.held_back import is_held_back
from zfoo_py.router.messages import WorkReady
from zfoo_py.router.shedding import Drainage

if TYPE_CHECKING:
    from collections.abc import Callable

    from zfoo_py.actor import ActorRef, Runtime

__all__ = ["HeldBackError", "TooLateError", "WorkQueue", "WorkerActor"]


class TooLateError(Exception):
    """A call's time was over before a worker could begin it."""


class HeldBackError(Exception):
    """A call's peer did not read any more when a worker could have begun it."""


class WorkerActor(ThreadActor):
    """Runs blocking receivers, one at a time. A receiver that raises, whatever it raises, harms only its ask."""

    def __init__(self, work: WorkQueue) -> None:
        super().__init__()
        self._work = work
        self.call: Call | None = None  # the one it is at; read on the loop
        work.actors.append(self)

    def on_receive(self, message: WorkReady) -> None:
        """Take calls until the queue is empty. In the worker's thread."""
        del message
        work = self._work
        while (call := work.take()) is not None:
            if call.deadline_s <= work.time():  # it waited here until its asker gave up
                work.done(call, None, TooLateError())
                continue
            if is_held_back(call):
                work.done(call, None, HeldBackError())
                continue
            self.call = call
            try:
                value = copy_context().run(_run, call)
            except BaseException as error:  # noqa: BLE001 - also SystemExit: a receiver must not end a worker
                work.done(call, None, error)
            else:
                work.done(call, value, None)
        self.call = None
        work.idle(self.actor_ref)

    def on_stop(self) -> None:
        """Tell the loop. In the worker's thread."""
        self._work.worker_stopped()


def _run(call: Call) -> Any:
    current_call.set(call)
    receiver = call.receiver
    if receiver.wants_call:
        return receiver.function(call.session, call.packet, call)
    return receiver.function(call.session, call.packet)


class WorkQueue:
    """The calls that wait for a worker, and the workers that wait for a call.

    `submit`, `start` and `stop` belong to the loop's thread; `take`, `done` and `idle` to the workers.

    Args:
        runtime: of the node.
        workers: how many threads; they start with the first call.
        limit: how many calls may wait.
        finished: called on the loop with (call, value, error) for every call taken.
    """

    def __init__(
        self,
        runtime: Runtime,
        workers: int,
        limit: int,
        finished: Callable[[Call, Any, BaseException | None], None],
        batch_done: Callable[[], None],
    ) -> None:
        self._runtime = runtime
        self.time = runtime.time
        self._workers = workers
        self._limit = limit
        self._finished = finished
        self._batch_done = batch_done
        self._calls: deque[Call] = deque()
        self.drainage = Drainage()
        self._submitted = 0
        self._results: deque[tuple[Call, Any, BaseException | None]] = deque()
        self._results_on_their_way = False
        self._idle: deque[ActorRef[WorkerActor]] = deque()
        self._refs: list[ActorRef[WorkerActor]] = []
        self.actors: list[WorkerActor] = []
        self._alive = 0
        self._stopping = False
        self._is_closed = False
        self._stopped: LoopFuture[None] = LoopFuture()

    def __len__(self) -> int:
        return len(self._calls)

    def at_work(self) -> int:
        """Return how many threads are in a receiver, or on their way to their end. On the loop's thread."""
        return self._alive if self._stopping else len(self._refs) - len(self._idle)

    def busy(self) -> list[Call]:
        """Return the calls that the workers are at, if every one of them is at one; else nothing. On the loop."""
        calls = [call for actor in self.actors if (call := actor.call) is not None]
        return calls if len(calls) >= self._workers else []

    def drop(self, call: Call) -> bool:
        """Take back a call that no worker has taken; False if one has. On the loop's thread. O(calls that wait)."""
        try:
            self._calls.remove(call)
        except ValueError:
            return False
        return True

    def submit(self, call: Call) -> bool:
        """Queue a call for the next free worker; False if the queue is full, or the node stops."""
        if len(self._calls) >= self._limit or self._is_closed:
            return False
        self._calls.append(call)
        self._submitted += 1
        self._wake_or_start()
        return True

    def _wake_idle(self) -> bool:
        """Wake a worker that waits; False if none does. From any thread."""
        try:
            ref = self._idle.popleft()
        except IndexError:
            return False
        with suppress(ActorDeadError):
            ref.tell(WorkReady())
        return True

    def _wake_or_start(self) -> None:
        if self._calls and not self._wake_idle() and len(self._refs) < self._workers and not self._stopping:
            ref = WorkerActor.start(self)
            self._refs.append(ref)
            self._alive += 1
            ref.tell(WorkReady())

    # --- in the workers

    def take(self) -> Call | None:
        """Return the next call, or None; wakes another worker if more wait."""
        try:
            call = self._calls.popleft()
        except IndexError:
            return None
        if self._calls and not self._wake_idle() and len(self._refs) < self._workers:
            self._runtime.call_from_outside(self._wake_or_start)
        return call

    def done(self, call: Call, value: Any, error: BaseException | None) -> None:
        """Bring a result to the loop; one wake-up serves all that gather meanwhile."""
        self._results.append((call, value, error))
        if not self._results_on_their_way:
            self._results_on_their_way = True
            with suppress(RuntimeError):  # the loop closed under an abandoned worker
                self._runtime.post(self._take_results)

    def idle(self, ref: ActorRef[WorkerActor]) -> None:
        """Wait for the next call."""
        self._idle.append(ref)
        if self._calls:  # came between the last look and the line above
            self._wake_idle()

    # --- on the loop

    def _take_results(self) -> None:
        self._results_on_their_way = False
        results = self._results
        while results:
            self._finished(*results.popleft())
        waiting = len(self._calls)
        self.drainage.note(self._submitted - waiting, waiting, self._runtime.time())
        self._batch_done()

    def take_waiting(self) -> list[Call]:
        """Remove and return the calls that no worker has begun, and take no more of them: the node stops."""
        self._is_closed = True
        waiting = []
        with suppress(IndexError):
            while True:  # workers take from it meanwhile
                waiting.append(self._calls.popleft())
        return waiting

    def stop(self) -> LoopFuture[None]:
        """Ask all workers to stop after the call they are at; the future ends when they all have.

        What waits in the queue is dropped, so drain first. A worker that hangs is a daemon thread and is
        abandoned by whoever stops waiting.
        """
        self._stopping = True
        self._calls.clear()
        if not self._refs:
            self._stopped.settle()
        for ref in self._refs:
            ref.stop(block=False)
        return self._stopped

    def worker_stopped(self) -> None:
        """Count a worker that has ended. In its thread."""
        self._runtime.call_from_outside(self._count_stopped)

    def _count_stopped(self) -> None:
        self._alive -= 1
        if not self._alive:
            self._stopped.settle()
