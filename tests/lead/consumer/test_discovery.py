"""The static discovery: a list of addresses, announced once."""

from __future__ import annotations

import asyncio

from zfoo_py.consumer.discovery import StaticDiscovery
from zfoo_py.consumer.messages import Announced, Target


def test_it_announces_its_list_once_to_whoever_watches():
    """A snapshot of addresses without texts; nothing to somebody who does not watch."""
    heard = []
    discovery = StaticDiscovery(["127.0.0.1:1", "127.0.0.1:2"])
    asyncio.run(discovery.start(heard.append, watch=False))
    assert heard == []
    asyncio.run(discovery.start(heard.append, watch=True))
    assert heard == [Announced(joined=(Target("", "127.0.0.1:1"), Target("", "127.0.0.1:2")), snapshot=True)]


def test_it_has_no_trouble_but_an_empty_list():
    """What to do about it is in the text."""
    assert StaticDiscovery(["127.0.0.1:1"]).trouble() == ""
    assert "addresses" in StaticDiscovery([]).trouble()


def test_registering_leaving_and_stopping_do_nothing():
    """Whoever wants this node has its address."""
    discovery = StaticDiscovery([])
    discovery.register("x | 127.0.0.1:1 | provider:[a-b]")
    asyncio.run(discovery.leave())
    asyncio.run(discovery.stop())
