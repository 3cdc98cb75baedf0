"""How much memory processes have, and the memory curve of a run: the caches beside the old balancer's memo."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from samples.running import Cluster

__all__ = ["Sample", "read_ps", "resident_bytes", "sample_memory", "take_sample"]

# Where /proc is missing, `ps` is asked; it takes about 10 ms of another core.
PS_LIMIT_S = 2.0
# The curve of a ten-second run has forty points then.
CURVE_STEP_S = 0.25


class Sample(NamedTuple):
    """One point of the curve; `at_s` on `time.perf_counter`'s clock, bytes of entries estimated."""

    at_s: float
    entries: int
    entry_bytes: int
    old_entries: int
    old_bytes: int
    process_bytes: int


async def resident_bytes(pids: Iterable[int]) -> dict[int, int]:
    """Return the resident memory of each of these processes that lives: from /proc, else from `ps`."""
    wanted = list(pids)
    if Path("/proc/self/statm").exists():  # noqa: ASYNC240 - it is no disk
        page = os.sysconf("SC_PAGE_SIZE")
        found = {}
        for pid in wanted:
            try:
                found[pid] = int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * page  # noqa: ASYNC240
            except (OSError, IndexError):
                continue
        return found
    command = ["ps", "-o", "pid=,rss=", "-p", ",".join(map(str, wanted))]
    try:
        ps = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        out, _ = await asyncio.wait_for(ps.communicate(), PS_LIMIT_S)
    except (OSError, TimeoutError):
        return {}
    return read_ps(out.decode())


def read_ps(text: str) -> dict[int, int]:
    """Return pid → bytes from lines of pid and KiB."""
    lines = (line.split() for line in text.splitlines())
    return {int(words[0]): int(words[1]) * 1024 for words in lines if len(words) == 2}


def take_sample(services: Mapping[str, Any], memo_entries: int, memo_bytes: int, process_bytes: int) -> Sample:
    """Return the present point of the curve from the consumer's figures; the memo is not one of zfoo_py's caches."""
    caches = [figures for figures in services.values() if figures["balancer"] != "zfoo-2024"]
    return Sample(
        time.perf_counter(),
        sum(figures["entries"] for figures in caches),
        sum(figures["estimated_bytes"] for figures in caches),
        memo_entries,
        memo_bytes,
        process_bytes,
    )


async def sample_memory(cluster: Cluster, curve: list[Sample]) -> None:
    """Take points until this is cancelled."""
    while True:
        services = (await cluster.node.consumer.stats())["services"]
        memo = cluster.memo
        own = (await resident_bytes([os.getpid()])).get(os.getpid(), 0)
        curve.append(take_sample(services, len(memo.providers), memo.estimated_bytes(), own))
        await asyncio.sleep(CURVE_STEP_S)
