"""Starts the core actors of a node, and starts each anew when it dies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loguru import logger

from zfoo_py.actor import CoreActor, CoreRef, Runtime

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Supervisor"]

# Restarts of core actors within a second after which the next one waits that long: a fault that is there at
# once again must not spin the loop.
MAX_RESTARTS_PER_S = 10
RESTART_WAIT_S = 1.0

# Messages kept for a core actor while it is being restarted; a restart takes one turn of the loop.
RESTART_LIMIT_MESSAGES = 100_000


class Supervisor:
    """Keeps core actors alive until it is stopped. All of it runs on the node's loop."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._restarted_at_s: list[float] = []
        self._is_stopped = False

    def core(self, spawn: Callable[[], None]) -> CoreRef:
        """Return the lasting address of an actor; ``spawn`` attaches it, now and whenever it has died."""
        return CoreRef(RESTART_LIMIT_MESSAGES, lambda core: self._restart(core, spawn))

    def attach(self, core: CoreRef, actor_class: type[Any], *args: Any, **kwargs: Any) -> Any:
        """Start an actor behind its address, and return it; it takes over from the one that died, if one has."""
        previous = core.actor
        core.attach(self._runtime.spawn(actor_class, *args, **kwargs))
        if isinstance(previous, CoreActor) and isinstance(core.actor, CoreActor) and core.actor is not previous:
            core.actor.take_over(previous)
        return core.actor

    def stop(self) -> None:
        """Start nothing anew any more."""
        self._is_stopped = True

    def _restart(self, core: CoreRef, spawn: Callable[[], None]) -> None:
        if self._is_stopped:
            return
        now_s = self._runtime.time()
        self._restarted_at_s = [at_s for at_s in self._restarted_at_s if at_s > now_s - 1.0]
        self._restarted_at_s.append(now_s)
        logger.error("{} died; it is started anew", type(core.actor).__name__)
        delay_s = 0.0 if len(self._restarted_at_s) <= MAX_RESTARTS_PER_S else RESTART_WAIT_S
        self._runtime.timers.call_later(delay_s, self._respawn, core, spawn)

    def _respawn(self, core: CoreRef, spawn: Callable[[], None]) -> None:
        if self._is_stopped:
            return
        try:
            spawn()
        except Exception as error:  # noqa: BLE001 - a user's balancer factory, say: the next try may succeed
            logger.opt(exception=error).error("{} could not be started anew", type(core.actor).__name__)
            self._runtime.timers.call_later(RESTART_WAIT_S, self._respawn, core, spawn)
