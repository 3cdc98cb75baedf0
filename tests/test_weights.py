"""A provider's weight reaches the rings of its consumers, through the Hello and through discovery."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.nodes import HANG_S, TABLE, Tallies, TallyAsk, eventually, tallies
from zfoo_py import Node, NodeConfig
from zfoo_py.errors import ConfigError
from zfoo_py.protocol.common import DirectoryRegister, Hello
from zfoo_py.protocol.msgpack_codec import MsgpackCodec
from zfoo_py.testing import MemoryNetwork


def points(consumer):
    return len(consumer._engine.consumer_ref.actor._services["tallies"].balancer.ring)


def test_a_heavier_provider_has_more_points_at_once_and_after_a_change_of_its_registration():
    async def main():
        network = MemoryNetwork()
        given = {"table": TABLE, "network": network}
        hosting = {"address": "127.0.0.1:0", "host": True}
        async with asyncio.timeout(HANG_S), Node(id="d", receivers=[], discovery=hosting, **given) as d:
            where = {"discovery": {"address": d.discovery_address}, **given}
            async with (
                Node(id="one", provides=[tallies], receivers=[Tallies("one")], **where),
                Node(id="three", provides=[tallies], receivers=[Tallies("three")], weight=3, **where) as three,
                Node(id="c", consumes=[tallies], receivers=[], **where) as c,
            ):
                await eventually(lambda: 798 <= points(c) <= 800)
                engine = three._engine
                engine._discovery.register(engine._registration_text, weight=2)
                await eventually(lambda: 598 <= points(c) <= 600)
                served = [(await c.consumer.async_ask(TallyAsk(f"{n}"))).served_by for n in range(60)]
                assert set(served) == {"one", "three"}

    asyncio.run(main())


def test_the_weight_is_configured_in_its_bounds(tmp_path):
    (tmp_path / "n.toml").write_text("[server]\nweight = 2\n")
    assert NodeConfig.from_toml(tmp_path / "n.toml", {}).weight == 2
    assert NodeConfig.build({}, {"ZFOO_SERVER__WEIGHT": "5"}).weight == 5
    assert NodeConfig.build({}, {}, weight=16).weight == 16
    for weight in (0, 17):
        with pytest.raises(ConfigError, match=r"server\.weight: must be 1 to 16, got"):
            NodeConfig.build({}, {}, weight=weight)


@pytest.mark.parametrize(("packet", "fields"), [(Hello(1, "node"), 2), (DirectoryRegister("x"), 1)])
def test_what_an_older_peer_sends_has_weight_1(packet, fields):
    """Its packets end before the appended fields."""
    import msgpack  # noqa: PLC0415 - the frame of an older peer, made by hand

    codec = MsgpackCodec(TABLE)
    protocol_id, values, *rest = msgpack.unpackb(codec.one_way_frame(codec.encode(packet), None)[4:])
    _, decoded, _ = codec.decode(msgpack.packb([protocol_id, values[:fields], *rest]))
    assert decoded.weight == 1
