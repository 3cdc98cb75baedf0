"""The server for tests says what is missing; that it runs is what tests/zookeeper is about."""

from __future__ import annotations

import pytest

from zfoo_py.errors import ConfigError, NotReadyError
from zfoo_py.testing import zookeeper
from zfoo_py.testing.zookeeper import ZooKeeperServer, ensemble, free_ports, why_missing


def test_without_java_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(zookeeper.shutil, "which", lambda _: None)
    assert "apt-get install" in why_missing()
    for start in (lambda: ZooKeeperServer.start(tmp_path), lambda: ensemble(tmp_path)):
        with pytest.raises(ConfigError, match="no ZooKeeper on this machine"):
            start()


def test_a_server_that_ends_at_once_shows_its_last_words(monkeypatch, tmp_path):
    program = tmp_path / "java"
    program.write_text("#!/bin/sh\necho no heap\nexit 1\n")
    program.chmod(0o700)
    monkeypatch.setattr(zookeeper.shutil, "which", lambda _: str(program))
    monkeypatch.setenv("TEST_ZOOKEEPER_JAR", "any.jar")
    with pytest.raises(NotReadyError, match="no heap"):
        ZooKeeperServer.start(tmp_path / "server")


def test_its_configuration_keeps_to_loopback_and_its_folder(tmp_path):
    server = ZooKeeperServer(tmp_path / "a", 4711, ["server.1=127.0.0.1:1:2"])
    lines = (tmp_path / "a" / "zoo.cfg").read_text().splitlines()
    assert {"clientPort=4711", "clientPortAddress=127.0.0.1", "server.1=127.0.0.1:1:2"} <= set(lines)
    assert f"dataDir={tmp_path}/a/data" in lines
    assert (server.pid, server.serves()) == (0, False)
    server.kill()


def test_free_ports_differ():
    assert len(set(free_ports(20))) == 20
