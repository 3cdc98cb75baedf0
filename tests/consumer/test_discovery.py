"""The static discovery announces its list once; both discoveries are a `Discovery`."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from zfoo_py.consumer.discovery import Discovery, StaticDiscovery
from zfoo_py.consumer.embedded_io import EmbeddedDiscovery
from zfoo_py.consumer.messages import Announced, Target


async def lead_a_life(discovery, *, watch):
    """Call everything a node calls; return what was announced."""
    announced = []
    await discovery.start(announced.append, watch=watch)
    discovery.register("app | 10.0.0.1:1 | provider:[visits-visits]")
    await discovery.leave()
    await discovery.stop()
    await discovery.stop()
    return announced


def test_a_static_discovery_announces_its_addresses_once_as_all_there_is():
    discovery = StaticDiscovery(["10.0.0.1:1", "10.0.0.2:2"])
    announced = asyncio.run(lead_a_life(discovery, watch=True))
    targets = (Target("", "10.0.0.1:1"), Target("", "10.0.0.2:2"))
    assert announced == [Announced(joined=targets, snapshot=True)]
    assert discovery.trouble() == ""


def test_a_static_discovery_announces_nothing_to_a_pure_provider():
    assert asyncio.run(lead_a_life(StaticDiscovery(["10.0.0.1:1"]), watch=False)) == []


def test_a_static_discovery_without_addresses_says_what_to_set():
    assert StaticDiscovery([]).trouble() == "the static discovery has no addresses: set [discovery] addresses"


@pytest.mark.parametrize("kind", [StaticDiscovery, EmbeddedDiscovery])
def test_each_discovery_has_the_methods_of_the_protocol(kind):
    for name in ("start", "register", "leave", "stop", "trouble"):
        wanted, found = getattr(Discovery, name), getattr(kind, name)
        assert inspect.signature(found) == inspect.signature(wanted), name
        assert inspect.iscoroutinefunction(found) == inspect.iscoroutinefunction(wanted), name
