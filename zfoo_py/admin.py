"""What a running node answers about itself: to `Node.stats`, and on its admin socket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from zfoo_py.admin_io import AdminSocket
from zfoo_py.consumer.explain import read_key
from zfoo_py.consumer.memory_io import resident_bytes
from zfoo_py.consumer.messages import TakeAlerts
from zfoo_py.errors import ZfooError
from zfoo_py.figures import inbox_figures, router_figures, session_figures
from zfoo_py.net.session_actor import SessionActor
from zfoo_py.protocol.common import AdminExplain, AdminExplainChange, AdminStats
from zfoo_py.router.answer import asked

if TYPE_CHECKING:
    from collections.abc import Callable

    from zfoo_py.actor import CoreRef, LoopActorRef, LoopFuture, Runtime
    from zfoo_py.config import NodeConfig
    from zfoo_py.consumer.consumer import Consumer
    from zfoo_py.net.seams import SessionEnv
    from zfoo_py.net.tcp_io import TcpConnection
    from zfoo_py.protocol.msgpack_codec import MsgpackCodec
    from zfoo_py.router.router import Router

__all__ = ["Admin"]


class Admin:
    """Puts the figures of a node together. On the loop's thread.

    Args:
        config, runtime, codec, router, consumer: of the node.
        alerts: address of the AlertActor.
        more: figures of the engine's own.
    """

    def __init__(
        self,
        config: NodeConfig,
        runtime: Runtime,
        codec: MsgpackCodec,
        router: Router,
        consumer: Consumer,
        alerts: CoreRef,
        more: Callable[[], dict[str, Any]],
    ) -> None:
        self._config = config
        self._runtime = runtime
        self._codec = codec
        self._router = router
        self._consumer = consumer
        self._alerts = alerts
        self._more = more
        self._started_at_s = runtime.time()
        self._socket: AdminSocket | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(
        self, env: SessionEnv, spawn: Callable[[SessionEnv, TcpConnection], LoopActorRef[Any]]
    ) -> AdminSocket:
        """Listen at the configured ``admin_path``.

        Raises:
            ConfigError: the path cannot be used, or somebody answers there.
        """
        handlers: dict[Any, Any] = {
            AdminStats: lambda _: self.stats(),
            AdminExplain: self._explain,
            AdminExplainChange: self._explain_change,
        }
        self._socket = AdminSocket(self._config.admin_path, self._runtime, self._codec, env, spawn, handlers)
        await self._socket.open()
        return self._socket

    async def stop(self) -> None:
        """End what is still being answered."""
        if self._socket is not None:
            await self._socket.stop()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def stats(self) -> dict[str, Any]:
        """Return the figures of the node, as plain JSON values. O(sessions + providers)."""
        consumer = await self._consumer.stats()
        actors = self._runtime.actors
        return {
            "id": self._config.id,
            "uptime_s": round(self._runtime.time() - self._started_at_s, 3),
            "memory_bytes": resident_bytes(),
            **self._more(),
            "consumer": consumer,
            "alerts": await asked(self._runtime, self._alerts, TakeAlerts()),
            "sessions": session_figures(actor for actor in actors if isinstance(actor, SessionActor)),
            "router": router_figures(self._router),
            "actors": inbox_figures(self._runtime),
        }

    def answer_stats(self, answer: LoopFuture[dict[str, Any]]) -> None:
        """Settle an answer with `stats`, in a task of its own."""

        async def settle() -> None:
            try:
                answer.settle(await self.stats())
            except BaseException as error:  # noqa: BLE001 - whoever waits hears of it, also when the node stops
                ended = ZfooError(f"the node stopped before its figures were there: {error!r}")
                answer.settle(error=error if isinstance(error, Exception) else ended)

        task = self._runtime.loop.create_task(settle(), name="zfoo_py stats")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _explain(self, question: AdminExplain) -> Any:
        key = read_key(question.kind, question.key) if question.kind else None
        return (await self._consumer.explain(question.module, key)).as_dict()

    async def _explain_change(self, question: AdminExplainChange) -> Any:
        return [report.as_dict() for report in await self._consumer.explain_change(question.version or None)]
