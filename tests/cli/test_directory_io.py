"""Reading a directory without being a node: over real sockets, against a real one and against strangers."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress

import pytest

from zfoo_py import Node, Packet, PacketTable, ProtocolModule, Session, packet_receiver
from zfoo_py.cli.directory_io import read_directory
from zfoo_py.errors import ConfigError

LOCAL = "127.0.0.1"
TABLE = PacketTable()
visits = ProtocolModule(10, "visits", table=TABLE)


@visits.packet(1000)
class Note(Packet):
    """A packet, so that there is something to receive."""

    text: str


@packet_receiver
async def at_note(_session: Session, note: Note) -> None:
    """Receive nothing, ever."""


def test_it_returns_what_is_registered():
    async def main():
        async with Node(id="d", receivers=[], discovery={"address": f"{LOCAL}:0", "host": True}) as d:
            where = d.discovery_address
            assert await read_directory(where) == ()
            async with Node(
                id="p", provides=[(visits, "blue")], receivers=[at_note], table=TABLE, discovery={"address": where}
            ) as p:
                found = await read_directory(where)
                while not found:  # its registration is on the way
                    found = await read_directory(where)
                ((one, weight),) = found
                assert weight == 1
                assert (one.id, one.address) == ("p", p.address)
                assert [(service.module, service.name) for service in one.provides] == [("visits", "blue")]

    asyncio.run(main())


def read(talk, wait_s=5.0):
    """Read from a server that does `talk(reader, writer)`; return the error's text."""

    async def main():
        served = asyncio.Event()

        async def serve(reader, writer):
            with suppress(ConnectionError):
                await talk(reader, writer)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            served.set()

        async with await asyncio.start_server(serve, LOCAL, 0) as server:
            host, port = server.sockets[0].getsockname()
            with pytest.raises(ConfigError) as caught:
                await read_directory(f"{host}:{port}", wait_s)
            await served.wait()
        return str(caught.value)

    return asyncio.run(main())


async def close(_reader, _writer):
    pass


async def speak_http(reader, writer):
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()


async def send_nonsense(_reader, writer):
    writer.write(b"\x00\x00\x00\x03\xc1\xc1\xc1")
    await writer.drain()


async def say_nothing(reader, _writer):
    while await reader.read(65536):
        pass


@pytest.mark.parametrize("talk", [close, speak_http, send_nonsense])
def test_a_stranger_is_called_one(talk):
    assert "is no zfoo_py discovery" in read(talk)


def test_silence_ends_in_time():
    text = read(say_nothing, 0.05)
    assert "did not answer as a discovery within 0.05 s: is it a node?" in text
    assert "start one" not in text  # the port is taken


def test_nobody_there_says_how_to_start_one():
    with pytest.raises(
        ConfigError, match=r"no discovery is running at 127.0.0.1:1: .*zfoo-py discovery --address 127.0.0.1:1"
    ):
        asyncio.run(read_directory("127.0.0.1:1"))


def test_a_host_that_is_none_is_one_sentence():
    with pytest.raises(ConfigError, match=re.escape("cannot reach no-such-host.invalid:1")):
        asyncio.run(read_directory("no-such-host.invalid:1"))
