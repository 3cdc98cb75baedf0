"""The sample cluster and the command line on a real ZooKeeper."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*words):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.mark.parametrize("how", ["started", "named"])
def test_the_sample_cluster_is_right_on_it(shared, how):
    where = "zookeeper" if how == "started" else f"zookeeper://{shared.address}/cluster"
    done = run("samples.cluster", "--discovery", where, "--seconds", "2", "--json", "--churn")
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (0, "right"), done.stderr


def test_the_command_line_finds_providers_there(shared):
    where = f"zookeeper://{shared.address}/cli"
    provider = subprocess.Popen(
        [sys.executable, "-m", "samples.services", "--id", "v1", "--provides", "visits", "--discovery", where],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
    )
    try:
        asked = run("zfoo_py", "ask", "samples.services:VisitAsk", "client=a", "bytes_sent=5", "--discovery", where)
        assert "served_by='v1'" in asked.stdout, asked.stderr
        simulated = run("zfoo_py", "ring", "simulate", "visits", "--discovery", where)
        assert "visits: 1 → 1 providers" in simulated.stdout, simulated.stderr
        checked = run("zfoo_py", "check", "samples.services", "--consume", "pages", "--discovery", where)
        assert "nobody provides pages" in checked.stdout, checked.stderr
    finally:
        provider.terminate()
        assert provider.wait(20) == 0
