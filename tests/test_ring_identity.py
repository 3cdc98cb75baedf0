"""By node id a node keeps its keys at another address, and two live nodes of one id are an alert."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.consumers import owner
from tests.support.nodes import HANG_S, TABLE, Tallies, TallyAsk, eventually, tallies
from zfoo_py import Node, NodeConfig
from zfoo_py.errors import ConfigError
from zfoo_py.events import Alert, ProviderDown
from zfoo_py.testing import MemoryNetwork

KEYS = [f"key-{number}" for number in range(40)]


async def served(c):
    return {key: (await c.consumer.async_ask(TallyAsk(key))).served_by for key in KEYS}


def test_a_node_that_restarts_on_another_address_has_its_keys_again_and_a_second_one_waits():
    async def main():
        network = MemoryNetwork()
        given = {"table": TABLE, "network": network}
        hosting = {"address": "127.0.0.1:0", "host": True}
        async with asyncio.timeout(HANG_S), Node(id="d", receivers=[], discovery=hosting, **given) as d:
            where = {"discovery": {"address": d.discovery_address}, **given}

            def provider(node_id, name):
                return Node(id=node_id, provides=[tallies], receivers=[Tallies(name)], **where)

            def names():
                return c._engine.missing() or [one.ring_name for one in c._engine._services[0].view.providers]

            async with (
                provider("a", "a"),
                provider("b", "b1") as first,
                Node(id="c", consumes=[tallies], receivers=[], ring_identity="node-id", **where) as c,
            ):
                alerts, downs = [], []
                c.events.subscribe(Alert, alerts.append)
                c.events.subscribe(ProviderDown, downs.append)
                await eventually(lambda: names() == ["a", "b"])
                before = await served(c)
                assert before == {key: {"a": "a", "b": "b1"}[owner(["a", "b"], key)] for key in KEYS}
                async with provider("b", "b2") as second:
                    await eventually(lambda: alerts)
                    assert await served(c) == before
                    assert alerts[0].name == "equal-node-id"
                    for part in ("the id 'b'", first.address, second.address, "give each node an id of its own"):
                        assert part in alerts[0].text
                    await first.stop()
                    await eventually(lambda: downs)
                    assert await served(c) == {key: name.replace("b1", "b2") for key, name in before.items()}
                    assert len(alerts) == 1

    asyncio.run(main())


def test_the_identity_is_one_of_two():
    assert NodeConfig.build({}, {}).ring_identity == "registration"
    assert NodeConfig.build({"node": {"ring_identity": "node-id"}}, {}).ring_identity == "node-id"
    with pytest.raises(ConfigError, match=r"node\.ring_identity: 'nodeid' is neither .*did you mean 'node-id'"):
        NodeConfig.build({}, {}, ring_identity="nodeid")
