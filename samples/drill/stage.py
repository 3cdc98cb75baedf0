"""Where a row is played: a discovery and a consumer in this process, the other members in processes of their own.

Faults by name are methods of `Member` (kill, stop, cont, term: signals to a process that was started here) and of
`zfoo_py.testing.proxy.ByteProxy` (drop, delay, reset, slow_reader).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil  # type: ignore[import-untyped]

from samples.drill.packets import MODULES, TABLE
from zfoo_py import Node
from zfoo_py.events import MembershipChanged
from zfoo_py.testing.proxy import ByteProxy

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from samples.drill.card import Scale

__all__ = ["MIB", "Member", "Members", "Stage", "TooLateError", "until"]

ROOT = Path(__file__).resolve().parent.parent.parent
# A process is up within half a second; on a loaded machine it takes longer.
UP_LIMIT_S = 20.0
# Whatever is waited for without a bar of its own.
PATIENCE_S = 20.0
MIB = 1024 * 1024


class TooLateError(Exception):
    """What a row waits for did not come."""


class Member:
    """A process of the cluster. Only these are signalled, by their ids.

    Attributes:
        name: its node's id.
        address: "host:port".
        log: lines of its stderr, with the time they came.
        witness: the file its receivers write to when they begin.
    """

    def __init__(self, name: str, process: Process, witness: Path) -> None:
        self.name = name
        self.process = process
        self.witness = witness
        self.address = ""
        self.log: list[tuple[float, str]] = []
        self._reading = asyncio.create_task(self._read_log(), name=f"log of {name}")

    async def _read_log(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.log.append((time.monotonic(), line.decode(errors="replace").rstrip()))

    def kill(self) -> None:
        """SIGKILL."""
        self.process.send_signal(signal.SIGKILL)

    def stop(self) -> None:
        """SIGSTOP: the process stands still, its connections stay."""
        self.process.send_signal(signal.SIGSTOP)

    def cont(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def term(self) -> None:
        """SIGTERM: leave in order."""
        self.process.send_signal(signal.SIGTERM)

    async def exit_code(self, limit_s: float = PATIENCE_S) -> int:
        """Wait until the process has ended.

        Raises:
            TimeoutError: it has not within ``limit_s``.
        """
        async with asyncio.timeout(limit_s):
            code = await self.process.wait()
            await self._reading
        return code

    async def end(self) -> None:
        """See to it that the process is gone."""
        if self.process.returncode is None:
            self.cont()
            self.kill()
        await self.process.wait()
        await self._reading

    def rss_mib(self) -> float:
        """Resident memory now, read by this process."""
        return float(psutil.Process(self.process.pid).memory_info().rss) / MIB

    def handles(self) -> tuple[int, int]:
        """Open descriptors and threads now, read by this process."""
        process = psutil.Process(self.process.pid)
        return process.num_fds(), process.num_threads()

    def begun(self) -> list[tuple[str, float, str]]:
        """What receivers have begun: (key, time by the system's monotonic clock, member)."""
        lines = self.witness.read_text().splitlines() if self.witness.exists() else []
        return [(key, float(at_s), name) for key, at_s, name in (line.split() for line in lines)]


class Stage:
    """One row's cluster; everything on it is ended with it.

    Attributes:
        scale: how long things may take.
        consumer: the drill's own node, once `consume` has been called.
    """

    consumer: Node

    def __init__(self, scale: Scale, folder: Path, sabotaged: str = "") -> None:
        self.scale = scale
        self._folder = folder
        self._sabotaged = sabotaged
        self._stack = AsyncExitStack()
        self._numbers = itertools.count(1)
        self._discovery = Node(
            id="discovery", receivers=[], discovery={"address": "127.0.0.1:0", "host": True}, table=TABLE
        )

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        await self._stack.enter_async_context(self._discovery)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, traceback)

    async def member(
        self, name: str, *provides: str, consumes: tuple[str, ...] = (), through: tuple[str, ...] = (), **more: Any
    ) -> Member:
        """Start a member; returns when it is up.

        Args:
            name: its id.
            provides: modules.
            consumes: modules.
            through: addresses of what it consumes, instead of the drill's discovery; then it is found only by its own.
            more: ``address``, ``log`` (bool), and limits as of `Node`.

        Raises:
            RuntimeError: it is not up within `UP_LIMIT_S`; carries its last words.
        """
        witness = self._folder / "begun"
        told = {
            "id": name,
            "provides": provides,
            "consumes": consumes,
            "discovery": self._where(through),
            "witness": str(witness),
            "address": more.pop("address", None),
            "log": more.pop("log", False),
            "limits": more,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "samples.drill.member", json.dumps(told)),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            cwd=ROOT,
            env={**os.environ, "DRILL_SABOTAGE": self._sabotaged},
            start_new_session=True,
        )
        member = Member(name, process, witness)
        self._stack.push_async_callback(member.end)
        assert process.stdout is not None
        try:
            async with asyncio.timeout(UP_LIMIT_S):
                member.address = (await process.stdout.readline()).decode().strip()
        except TimeoutError:
            pass
        if not member.address:
            words = " | ".join(line for _, line in member.log[-3:])
            raise RuntimeError(f"member {name} did not come up: {words}")
        return member

    async def members(self, *names: str, provides: tuple[str, ...] = ("work",), **more: Any) -> list[Member]:
        """Start several at once, all alike."""
        return list(await asyncio.gather(*(self.member(name, *provides, **more) for name in names)))

    async def consume(self, *modules: str, addresses: tuple[str, ...] = (), **limits: Any) -> Node:
        """Start a consumer in this process, by the drill's discovery or at given addresses."""
        limits = {"ask_timeout_s": self.scale.ask_timeout_s, **limits}
        node = Node(
            id=f"drill-{next(self._numbers)}",
            consumes=[MODULES[name] for name in modules],
            receivers=[],
            discovery=self._where(addresses),
            table=TABLE,
            **limits,
        )
        return await self._stack.enter_async_context(node)

    def _where(self, addresses: tuple[str, ...]) -> dict[str, Any]:
        if addresses:
            return {"kind": "static", "addresses": addresses}
        return {"kind": "embedded", "address": self._discovery.discovery_address}

    async def proxy(self, target: str) -> ByteProxy:
        """Put a byte proxy before "host:port"."""
        return await self._stack.enter_async_context(ByteProxy(target))

    def defer(self, callback: Callable[..., Any], *args: Any) -> None:
        """Call something when the row is over."""
        self._stack.callback(callback, *args)


async def until(condition: Callable[[], bool], limit_s: float = PATIENCE_S, pause_s: float = 0.002) -> float:
    """Wait until a condition holds; return when that was, by the monotonic clock.

    Raises:
        TooLateError: it does not within ``limit_s``.
    """
    until_s = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > until_s:
            raise TooLateError(f"what was waited for was not there after {limit_s:g} s")
        await asyncio.sleep(pause_s)
    return time.monotonic()


class Members:
    """Who provides a module, as a consumer node believes, and since when."""

    def __init__(self, node: Node, module: str = "work") -> None:
        self._module = module
        self.now: frozenset[str] = frozenset(
            provider.node_id
            for provider in node._engine.service(module).view.providers  # type: ignore[union-attr]  # noqa: SLF001
        )
        self.changed_at_s: list[tuple[float, frozenset[str]]] = []
        node.events.subscribe(MembershipChanged, self._changed)

    def _changed(self, change: MembershipChanged) -> None:
        self.now = frozenset(node_id for _, node_id in change.modules.get(self._module, ()))
        self.changed_at_s.append((time.monotonic(), self.now))
