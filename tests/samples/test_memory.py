"""Sizes of processes, and the points of the memory curve."""

from __future__ import annotations

import asyncio
import os
import resource

from samples import memory
from samples.memory import read_ps, resident_bytes, take_sample


def test_this_process_has_a_size_and_a_process_that_is_gone_has_none():
    sizes = asyncio.run(resident_bytes([os.getpid(), 2**22 + 1]))
    assert set(sizes) == {os.getpid()}
    assert 1 << 20 < sizes[os.getpid()] < resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 * 1.5


def test_without_proc_ps_is_read(monkeypatch):
    assert read_ps("  123  2048\n 7 10\nnonsense line here\n\n") == {123: 2 << 20, 7: 10240}

    class NoPath(type(memory.Path())):
        def exists(self):
            return False

    monkeypatch.setattr(memory, "Path", NoPath)
    monkeypatch.setenv("PATH", "")
    assert asyncio.run(resident_bytes([os.getpid()])) == {}, "no ps either"


def test_a_point_sums_over_the_service_types():
    figures = {"entries": 10, "estimated_bytes": 2000, "balancer": "cached-consistent-hash"}
    sample = take_sample({"visits": figures, "pages": figures}, 7, 700, 9000)
    assert sample[1:] == (20, 4000, 7, 700, 9000)
