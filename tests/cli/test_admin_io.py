"""Questions on the admin socket, as the command line asks them; the socket itself: tests/test_admin_io.py."""

from __future__ import annotations

import asyncio

import pytest

from zfoo_py.cli.admin_io import ask_admin
from zfoo_py.errors import ConfigError
from zfoo_py.protocol.common import AdminStats


@pytest.fixture
def path(tmp_path_factory):
    return str(tmp_path_factory.mktemp("a") / "s")


async def served(path, serve, ended=None):
    server = await asyncio.start_unix_server(serve, path)
    try:
        return await ask_admin(path, AdminStats(), wait_s=0.2)
    finally:
        server.close()
        await server.wait_closed()
        if ended is not None:
            await ended.wait()


def test_one_that_hangs_is_waited_for_no_longer_than_said(path):
    async def hang(reader, writer):
        await reader.read()  # Hello and question
        await reader.read()  # until it has given up
        writer.close()
        ended.set()

    ended = asyncio.Event()

    with pytest.raises(ConfigError, match=r"did not answer within 0\.2 s: it is busy or hangs"):
        asyncio.run(served(path, hang, ended))


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\x00\x00\x01\xff"])
def test_a_stranger_is_called_one(path, says):
    async def other(reader, writer):
        await reader.read(10)
        writer.write(says)
        await writer.drain()
        writer.close()

    with pytest.raises(ConfigError, match="is no admin socket of zfoo_py, or has too many clients"):
        asyncio.run(served(path, other))


def test_nobody_there(path):
    with pytest.raises(ConfigError, match="is a node with this admin_path running"):
        asyncio.run(ask_admin(path, AdminStats()))
