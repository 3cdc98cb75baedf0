"""`make cluster ARGS=--workers`, really run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_one_and_two_processes_are_measured():
    """What they reach is this machine's affair; that every answer is right, the sample asserts."""
    command = [sys.executable, "-m", "samples.cluster", "--workers", "--seconds", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")
    figures = json.loads(done.stdout)["asks_per_second"]
    assert figures.keys() == {"1", "2"}
    assert all(asks > 0 for row in figures.values() for asks in row.values())
