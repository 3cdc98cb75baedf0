"""The provider processes of the cluster sample: started, killed, watched, and never left behind.

Each process holds the reading end of a pipe whose writing end only this process has: when this one ends, however it
ends, the pipe closes and the providers stop. They are in sessions of their own, so that Ctrl-C in a terminal reaches
this process only, which then stops them in order.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from pathlib import Path

__all__ = ["ProviderEndedError", "Providers"]

ROOT = Path(__file__).resolve().parent.parent
# A provider drains within a moment; one that hangs is killed.
STOP_LIMIT_S = 5.0
# What is kept of a provider's last words: the end of a traceback.
LAST_WORDS_BYTES = 4096


class ProviderEndedError(RuntimeError):
    """A provider process ended, and nobody had told it to."""


class Providers:
    """The provider processes of one run; only these are ever signalled, by their ids.

    Args:
        discovery: "host:port" of the embedded discovery, or "zookeeper://host:port".
        group: gets a task for each process; one that ends by itself raises `ProviderEndedError` there.
    """

    def __init__(self, discovery: str, group: asyncio.TaskGroup) -> None:
        self._discovery = discovery
        self._group = group
        self._processes: dict[str, Process] = {}
        self._watching: list[asyncio.Task[None]] = []

    def pids(self) -> dict[str, int]:
        """Return name → process id of those that run."""
        return {name: process.pid for name, process in self._processes.items()}

    async def start(self, name: str, *modules: str) -> None:
        """Start one provider process; it joins the discovery by itself."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "samples.services", "--id", name, "--provides", *modules, "--discovery", self._discovery),
            "--stop-with-stdin",
            stdin=PIPE,
            stdout=DEVNULL,
            stderr=PIPE,
            cwd=ROOT,
            start_new_session=True,
        )
        self._processes[name] = process
        self._watching.append(self._group.create_task(self._watch(name, process)))

    async def _watch(self, name: str, process: Process) -> None:
        assert process.stderr is not None
        words = b""
        while chunk := await process.stderr.read(LAST_WORDS_BYTES):
            words = (words + chunk)[-LAST_WORDS_BYTES:]
        code = await process.wait()
        if self._processes.pop(name, None) is not None:
            last = words.decode(errors="replace").strip().rpartition("\n")[2] or "it said nothing"
            raise ProviderEndedError(f"provider {name} ended by itself with exit code {code}: {last}")

    async def kill(self, name: str) -> None:
        """SIGKILL one provider, and wait until it is gone."""
        process = self._processes.pop(name)
        process.kill()
        await process.wait()

    async def stop(self) -> None:
        """SIGTERM all, and SIGKILL those that do not end."""
        stopping = list(self._processes.values())
        self._processes.clear()
        for process in stopping:
            with suppress(ProcessLookupError):
                process.terminate()
        try:
            async with asyncio.timeout(STOP_LIMIT_S):
                for process in stopping:
                    await process.wait()
        finally:  # also if this is interrupted
            for process in stopping:
                if process.returncode is None:
                    with suppress(ProcessLookupError):
                        process.kill()
