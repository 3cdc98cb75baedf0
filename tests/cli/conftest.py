"""Fixtures of the command line's tests."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.cli import ROOT, Folder
from zfoo_py import Node, PacketTable
from zfoo_py.cli import main
from zfoo_py.protocol.packet import DEFAULT_TABLE


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Give an empty current folder, an empty packet table, no variables, and a log that nobody hears."""
    modules = dict(sys.modules)
    for name, value in vars(PacketTable()).items():
        monkeypatch.setattr(DEFAULT_TABLE, name, value)
    for name in [name for name in os.environ if name.startswith("ZFOO_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(main.logger, "remove", lambda: None)
    monkeypatch.setattr(main.logger, "add", lambda _sink, level: None)
    monkeypatch.setattr(main, "enable_logging", lambda _level: None)
    monkeypatch.chdir(tmp_path)
    yield Folder(tmp_path)
    for name in sys.modules.keys() - modules.keys():
        del sys.modules[name]


@pytest.fixture
def started(monkeypatch):
    """Collect the nodes that would run."""
    nodes: list[Node] = []
    monkeypatch.setattr(Node, "run", lambda node: nodes.append(node))  # noqa: PLW0108 - a builtin would not be bound
    return nodes


@pytest.fixture
def start(tmp_path):
    """Start the command line in processes, which end with the test."""
    running: list[subprocess.Popen[str]] = []
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ZFOO_")}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}

    def start(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "zfoo_py", *words],
            cwd=tmp_path,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()
