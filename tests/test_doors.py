"""Where sessions come from: accepted within a bound, and dialled side by side."""

from __future__ import annotations

import asyncio

from tests.support.nodes import TABLE, TallyAsk, eventually, logged, pair, sessions_of, tallies
from zfoo_py import Node
from zfoo_py.protocol.common import Error, ErrorCode
from zfoo_py.protocol.framing import FrameParser
from zfoo_py.protocol.msgpack_codec import MsgpackCodec


def test_more_connections_than_max_connections_are_refused_with_one_line_each():
    """Those that stand stay; when one goes, there is room again."""

    async def main():
        with logged() as lines:
            async with pair(provider={"max_connections": 4}) as (_, p, c):
                host, _, port = p.address.rpartition(":")
                room = 4 - len(sessions_of(p))
                assert room > 0
                held = [await asyncio.open_connection(host, int(port)) for _ in range(room)]
                await eventually(lambda: len(sessions_of(p)) == 4)
                reader, writer = await asyncio.open_connection(host, int(port))
                name = "{}:{}".format(*writer.get_extra_info("sockname"))
                [body] = FrameParser(1000).feed(await reader.read())
                refusal = MsgpackCodec(TABLE).decode(body)[1]
                assert (type(refusal), refusal.code) == (Error, ErrorCode.OVERLOADED)
                assert "max_connections" in refusal.message
                assert (await p.stats())["refused_connections"] == 1
                writer.close()
                assert (await c.consumer.async_ask(TallyAsk("a"))).count == 1
                for _, held_writer in held:
                    held_writer.close()
                await eventually(lambda: len(sessions_of(p)) == 4 - room)
                where = {"kind": "static", "addresses": [p.address]}
                async with Node(id="c2", consumes=[tallies], receivers=[], discovery=where, table=TABLE) as late:
                    assert (await late.consumer.async_ask(TallyAsk("a"))).count == 2
        assert [line for line in lines if name in line and "refused" in line] == lines

    asyncio.run(main())


def test_a_provider_that_cannot_be_reached_delays_nobody():
    """All are dialled at once: the start takes as long as the fastest, and asks go there meanwhile."""

    async def main():
        async with pair() as (_, p, _):
            # TEST-NET-1 (RFC 5737): nobody answers there, or the network says at once that it cannot be reached.
            dead = [f"192.0.2.{number}:9" for number in range(1, 6)]
            where = {"kind": "static", "addresses": [*dead, p.address]}
            begun_s = asyncio.get_running_loop().time()
            limits = {"connect_timeout_s": 0.5, "ready_timeout_s": 5.0}
            async with Node(id="c2", consumes=[tallies], receivers=[], discovery=where, table=TABLE, **limits) as c:
                assert asyncio.get_running_loop().time() - begun_s < 2.0, "five time-outs one after another take 2.5 s"
                assert (await c.consumer.async_ask(TallyAsk("a"))).count == 1

    with logged("CRITICAL"):
        asyncio.run(main())
