"""Where others reach a node."""

import asyncio

import pytest

from zfoo_py.consumer.announce_io import announced_address


@pytest.mark.parametrize(
    ("listening", "option", "towards", "announced"),
    [
        ("127.0.0.1:9000", "", [], "127.0.0.1:9000"),
        ("node.example:9000", "", [], "node.example:9000"),
        ("0.0.0.0:9000", "", ["127.0.0.1:2181"], "127.0.0.1:9000"),
        ("0.0.0.0:9000", "", ["no-such-host.invalid:1", " 127.0.0.1:2181"], "127.0.0.1:9000"),
        ("[::]:9000", "", ["127.0.0.1:2181"], "127.0.0.1:9000"),
        ("0.0.0.0:9000", "node.example", [], "node.example:9000"),
        ("0.0.0.0:9000", "node.example:80", [], "node.example:80"),
        ("127.0.0.1:9000", "[2001:db8::1]", [], "[2001:db8::1]:9000"),
        ("127.0.0.1:9000", "[2001:db8::1]:81", [], "[2001:db8::1]:81"),
    ],
)
def test_the_address_that_is_announced(listening, option, towards, announced):
    assert asyncio.run(announced_address(listening, option, towards)) == announced


@pytest.mark.parametrize("listening", ["0.0.0.0:9000", "[::]:9000"])
def test_without_discovery_it_is_some_address_that_is_not_every_interface(listening):
    found = asyncio.run(announced_address(listening, "", []))
    assert found.endswith(":9000")
    assert "0.0.0" not in found
    assert "[::]" not in found
