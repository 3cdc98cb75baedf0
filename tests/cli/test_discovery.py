"""`zfoo-py discovery`: what it heeds, and real processes."""

from __future__ import annotations

from tests.support.cli import LIMIT_S
from zfoo_py.cli.main import main


def test_discovery_heeds_only_the_variables_meant_for_it(folder, started, monkeypatch):
    monkeypatch.setenv("ZFOO_PROVIDER", '[{module = "greetings"}]')
    monkeypatch.setenv("ZFOO_SERVER__ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("ZFOO_DISCOVERY__ADDRESS", "127.0.0.1:2")
    assert main(["discovery"]) == 0
    assert main(["discovery", "--address", "127.0.0.1:3"]) == 0
    one, two = [node.config for node in started]
    assert (one.id, one.address, one.provides) == ("discovery", None, ())
    assert (one.discovery.host, one.discovery.address, two.discovery.address) == (True, "127.0.0.1:2", "127.0.0.1:3")


def test_a_discovery_whose_port_is_taken_says_so(start):
    """One sentence, no traceback."""
    first = start("discovery", "--address", "127.0.0.1:0", "--log-level", "ERROR")
    address = first.stdout.readline().split()[-1]
    second = start("discovery", "--address", address)
    out, err = second.communicate(timeout=LIMIT_S)
    assert (second.returncode, out) == (1, "")
    assert err.startswith("zfoo-py: ")
    assert address in err
    assert "Traceback" not in err
