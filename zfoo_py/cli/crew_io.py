"""``zfoo-py run --workers N``: the processes, started anew by a fresh interpreter each, and watched.

Each worker process has one end of a socket pair: it says there that it is up, and ends in order when the other end
closes, for then this process has gone, however it ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from loguru import logger

from zfoo_py.crew import Crew, Kill, Order, Start, Stop, addresses_of
from zfoo_py.errors import ConfigError
from zfoo_py.events import NodeStarted
from zfoo_py.node import new_loop

if TYPE_CHECKING:
    import argparse

    from zfoo_py.node import Node

__all__ = ["follow", "lead"]

# Beside ready_timeout_s: a fresh interpreter and the application's imports, on a busy machine.
START_LIMIT_S: Final = 60.0
# Beside drain_timeout_s: an on_stop hook, and workers that are in a receiver.
STOP_LIMIT_S: Final = 15.0
# A process tells its address in one line: "host:port".
LONGEST_LINE_BYTES: Final = 1024


def lead(options: argparse.Namespace, node: Node) -> int:
    """Run processes, each with a node like this one, until SIGTERM or Ctrl-C; SIGHUP replaces one after the other.

    Args:
        options: of ``zfoo-py run``.
        node: what each process would make of them; it is not started.

    Returns:
        The exit code: 0; 1 if a process could not start at all; 128 + number after a second signal.

    Raises:
        ConfigError: this node cannot be there more than once.
    """
    config = node.config
    if config.discovery.host:
        msg = "only one process can host the discovery: run zfoo-py discovery beside it, or leave --workers out"
        raise ConfigError(msg, path="discovery.host")
    limits = config.limits
    start_limit_s = START_LIMIT_S + limits.ready_timeout_s
    addresses = addresses_of(config.address, options.workers)
    crew = Crew(addresses, start_limit_s, STOP_LIMIT_S + limits.drain_timeout_s)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(_Leader(crew, options, config.id, config.admin_path).run())


def follow(node: Node, descriptor: int) -> None:
    """Be led by the process at the other end of a socket: tell it when the node is up, and end when it has gone."""
    link = socket.socket(fileno=descriptor)
    link.setblocking(False)

    def gone() -> None:
        asyncio.get_running_loop().remove_reader(link)
        os.kill(os.getpid(), signal.SIGTERM)

    def up(_: NodeStarted) -> None:
        with suppress(OSError):  # it has gone: the reader finds out
            link.send(f"{node.address}\n".encode())
        asyncio.get_running_loop().add_reader(link, gone)

    node.events.subscribe(NodeStarted, up)


class _Leader:
    """Obeys the crew's orders, and tells it what happens. On one event loop."""

    def __init__(self, crew: Crew, options: argparse.Namespace, node_id: str, admin_path: str) -> None:
        self._crew = crew
        self._options = options
        self._node_id = node_id
        self._admin_path = admin_path
        self._processes: dict[int, Process] = {}
        self._watching: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._killed_by = 0

    async def run(self) -> int:
        """Run until the crew is over; return the exit code."""
        loop = asyncio.get_running_loop()
        crew = self._crew
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        try:
            while not crew.is_over:
                self._changed.clear()
                for order in crew.due(loop.time()):
                    await self._obey(order)
                with suppress(TimeoutError):
                    async with asyncio.timeout(crew.wait_s(loop.time())):
                        await self._changed.wait()
        finally:  # nothing is left behind, whatever happened here
            for process in self._processes.values():
                process.kill()
            if self._watching:
                await asyncio.wait(self._watching)
        if self._killed_by:
            return 128 + self._killed_by
        return 1 if crew.failed else 0

    def _stop(self, number: int) -> None:
        if self._crew.is_stopping:
            logger.warning("second signal: ending all worker processes at once")
            self._killed_by = number
            for process in self._processes.values():
                process.kill()
            return
        logger.info("stopping {} worker processes", len(self._processes))
        self._crew.stop()
        self._changed.set()

    def _reload(self) -> None:
        logger.info("replacing the worker processes, one after the other")
        self._crew.reload(asyncio.get_running_loop().time())
        self._changed.set()

    async def _obey(self, order: Order) -> None:
        match order:
            case Start(number, address):
                await self._start(number, address)
            case Stop(number):
                with suppress(ProcessLookupError):
                    self._processes[number].terminate()
            case Kill(number):
                logger.error("worker process {} has had its time; it is killed", number)
                with suppress(ProcessLookupError):
                    self._processes[number].kill()

    async def _start(self, number: int, address: str | None) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            environment = dict(os.environ)
            if self._admin_path:
                environment["ZFOO_NODE__ADMIN_PATH"] = f"{self._admin_path}.{number}"
            process = await asyncio.create_subprocess_exec(
                *_command(self._options, f"{self._node_id}.{number}", address, theirs.fileno()),
                stdin=DEVNULL,
                env=environment,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C reaches this process only, which stops them in order
            )
        self._processes[number] = process
        task = asyncio.create_task(self._watch(number, process, ours))
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)

    async def _watch(self, number: int, process: Process, link: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        reader, writer = await asyncio.open_connection(sock=link, limit=LONGEST_LINE_BYTES)
        try:
            line = await reader.readline()
            if line:
                self._crew.came_up(number, line.decode().strip(), loop.time())
                self._changed.set()
            code = await process.wait()
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        del self._processes[number]
        delay_s = self._crew.ended(number, loop.time())
        if self._crew.failed == number:
            logger.error("worker process {} could not start (exit code {}): all are stopped", number, code)
        elif not self._crew.is_stopping and (code or delay_s):
            logger.error(
                "worker process {} has ended (exit code {}); it is started again in {} s", number, code, delay_s
            )
        self._changed.set()


def _command(options: argparse.Namespace, node_id: str, address: str | None, descriptor: int) -> list[str]:
    """Return the command line of one worker process: this one's, with an id and an address of its own."""
    words = [sys.executable, "-m", "zfoo_py", "run", options.target, "--id", node_id]
    if address is not None:
        words += ["--address", address]
    for name in ("provide", "consume"):
        if getattr(options, name):
            words += [f"--{name}", *getattr(options, name)]
    for name in ("discovery", "config"):
        if getattr(options, name) is not None:
            words += [f"--{name}", getattr(options, name)]
    return [*words, "--log-level", options.log_level, "--led-by", str(descriptor)]
