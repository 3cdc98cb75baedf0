"""The byte proxy does to the bytes between two sockets what its methods say."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from zfoo_py.testing.proxy import ByteProxy

HANG_S = 10.0


@asynccontextmanager
async def echo():
    """A target that sends back what it gets; yields its address and the writers it has had."""
    writers = []

    async def serve(reader, writer):
        writers.append(writer)
        with suppress(ConnectionError):
            while data := await reader.read(1024):
                writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield "{}:{}".format(*server.sockets[0].getsockname()), writers
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


@asynccontextmanager
async def through():
    """A connection through a proxy to an echo."""
    async with echo() as (target, _), ByteProxy(target) as proxy:
        reader, writer = await dial(proxy.address)
        try:
            yield proxy, reader, writer
        finally:
            writer.transport.abort()


async def dial(address):
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


def run(coroutine):
    async def bounded():
        async with asyncio.timeout(HANG_S):
            await coroutine

    asyncio.run(bounded())


def test_bytes_go_both_ways_and_are_counted():
    async def main():
        async with through() as (proxy, reader, writer):
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            assert (proxy.bytes_in, proxy.bytes_out, proxy.connections) == (5, 5, 1)
            assert len(proxy.accepted_at_s) == 1

    run(main())


@pytest.mark.parametrize(("direction", "arrived"), [("in", 0), ("out", 5), ("both", 0)])
def test_what_is_dropped_is_lost_and_the_connection_stays(direction, arrived):
    async def main():
        async with through() as (proxy, reader, writer):
            proxy.drop(direction)
            writer.write(b"first")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await reader.read(1)
            assert proxy.bytes_in == arrived
            proxy.heal()
            writer.write(b"again")
            assert await reader.readexactly(5) == b"again"

    run(main())


def test_what_is_delayed_comes_late_and_in_order():
    async def main():
        async with through() as (proxy, reader, writer):
            proxy.delay(0.05, "out")
            loop = asyncio.get_running_loop()
            asked_s = loop.time()
            for number in range(50):
                writer.write(b"%02d" % number)
                await asyncio.sleep(0)
            assert await reader.readexactly(100) == b"".join(b"%02d" % number for number in range(50))
            assert loop.time() - asked_s >= 0.05

    run(main())


def test_a_reset_is_seen_as_one_and_new_connections_may_come():
    async def main():
        async with through() as (proxy, reader, writer):
            writer.write(b"hello")
            await reader.readexactly(5)
            proxy.reset()
            with pytest.raises(ConnectionResetError):
                await reader.read(1)
            assert proxy.connections == 0
            other, other_writer = await dial(proxy.address)
            other_writer.write(b"hello")
            assert await other.readexactly(5) == b"hello"
            other_writer.close()

    run(main())


def test_a_slow_reader_lets_the_buffers_of_its_peer_fill():
    async def main():
        async with through() as (proxy, reader, writer):
            proxy.slow_reader("in")
            writer.transport.set_write_buffer_limits(0)
            writer.write(bytes(16 * 1024 * 1024))  # more than the system takes for a socket
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await writer.drain()
            assert proxy.bytes_in == 0
            proxy.heal()
            await asyncio.gather(writer.drain(), reader.readexactly(16 * 1024 * 1024))

    run(main())


def test_the_end_of_one_side_is_the_end_of_the_other():
    async def main():
        async with echo() as (target, writers), ByteProxy(target) as proxy:
            reader, writer = await dial(proxy.address)
            writer.write(b"x")
            await reader.readexactly(1)
            writers[0].close()
            assert await reader.read() == b""
            writer.close()

    run(main())


def test_a_target_that_is_not_there_ends_the_connection():
    async def main():
        async with ByteProxy("127.0.0.1:1") as proxy:
            reader, writer = await dial(proxy.address)
            assert await reader.read() == b""
            writer.close()

    run(main())


def test_a_proxy_that_has_stopped_can_be_started_at_its_address_again():
    async def main():
        async with echo() as (target, _):
            proxy = ByteProxy(target)
            await proxy.start()
            address = proxy.address
            await proxy.stop()
            with pytest.raises(ConnectionRefusedError):
                await dial(address)
            async with proxy:
                assert proxy.address == address
                reader, writer = await dial(address)
                writer.write(b"x")
                assert await reader.readexactly(1) == b"x"
                writer.close()

    run(main())
