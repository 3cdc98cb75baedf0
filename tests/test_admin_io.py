"""The admin socket over a real Unix socket: who may use it, what becomes of its file, and who is harmed (nobody)."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from tests.support.nodes import TABLE, Tallies, TallyAsk, eventually, logged, pair, sessions_of, tallies
from zfoo_py import Node
from zfoo_py.admin_io import MAX_CONNECTIONS, MAX_IN_WORK, MAX_PATH_BYTES
from zfoo_py.cli.admin_io import ask_admin
from zfoo_py.errors import ConfigError
from zfoo_py.net.handshake import WIRE_VERSION
from zfoo_py.protocol.attachment import CLIENT_KEYLESS
from zfoo_py.protocol.common import AdminExplain, AdminExplainChange, AdminStats, Hello, Ping
from zfoo_py.protocol.msgpack_codec import MsgpackCodec


@pytest.fixture
def path(tmp_path_factory):
    """Give a short path: a socket's has few bytes."""
    return str(tmp_path_factory.mktemp("a") / "s")


def is_there(path):
    return Path(path).exists()


def mode_of(path):
    return Path(path).stat().st_mode


def write(path, text):
    Path(path).write_text(text, encoding="utf-8")


def take_over(path):
    Path(path).unlink()
    write(path, "")


def lonely(path):
    return Node(id="lonely", receivers=[], table=TABLE, admin_path=path)


def frames(*packets, first_signal=1):
    codec = MsgpackCodec(TABLE)
    hello = codec.one_way_frame(codec.encode(Hello(WIRE_VERSION, "client", "t")), None)
    asks = [
        codec.ask_frame(codec.encode(packet), number, CLIENT_KEYLESS, -1, 5000)
        for number, packet in enumerate(packets, start=first_signal)
    ]
    return hello + b"".join(asks)


def test_it_answers_and_is_private_and_gone_with_the_node(path):
    async def main():
        async with pair(admin_path=path) as (_, _p, consumer):
            await consumer.consumer.async_ask(TallyAsk("a"))
            assert mode_of(path) == stat.S_IFSOCK | 0o600
            stats = await ask_admin(path, AdminStats())
            assert (stats["id"], stats["consumer"]["asks"]) == ("c", 1)
            found = await ask_admin(path, AdminExplain("tallies", "str", "a"))
            assert found["owner"]["node_id"] == "p"
            assert found == (await consumer.consumer.explain(TallyAsk("a"))).as_dict()
            (change,) = await ask_admin(path, AdminExplainChange())
            assert change["version"] == 1
            assert (await ask_admin(path, AdminExplain("tallies")))["key"] is None
        assert not is_there(path)

    asyncio.run(main())


def test_the_mode_is_right_from_the_first_moment_and_the_processs_mask_stays(path, monkeypatch):
    modes = []
    bind = socket.socket.bind

    class Watched(socket.socket):
        def bind(self, address):
            bind(self, address)
            modes.append(mode_of(address))

    monkeypatch.setattr(socket, "socket", Watched)
    before = os.umask(0o022)

    async def main():
        async with lonely(path):
            assert os.umask(0o022) == 0o022

    try:
        asyncio.run(main())
    finally:
        os.umask(before)
    assert modes == [stat.S_IFSOCK | 0o600]


@pytest.mark.parametrize(
    ("question", "text"),
    [
        (AdminExplain("pages", "str", "a"), "does not consume module 'pages'"),
        (AdminExplain("tallies", "int", "a"), "'a' is no key of type int"),
        (AdminExplain("tallies", "list", "a"), "no kind of key"),
        (AdminExplainChange(99), "version 99 is not in the log"),
        (Ping(), "did not answer"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_a_sentence(path, question, text):
    async def main():
        async with pair(admin_path=path):
            with pytest.raises(ConfigError, match=text):
                await ask_admin(path, question, wait_s=0.2 if isinstance(question, Ping) else 5.0)

    asyncio.run(main())


def test_it_is_no_door_to_the_applications_receivers(path):
    async def main():
        tally = Tallies("p")
        async with Node(
            id="p", provides=[tallies], receivers=[tally], discovery="static", table=TABLE, admin_path=path
        ):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(frames(TallyAsk("a"), AdminStats()))
            data = b""
            while b"uptime_s" not in data:
                data += await reader.read(65536)
            assert b"does not answer TallyAsk" in data
            assert not tally.counts
            writer.close()

    asyncio.run(main())


def test_a_dead_nodes_socket_is_taken_over_and_a_living_ones_is_not(path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)

    async def main():
        async with lonely(path):
            assert (await ask_admin(path, AdminStats()))["id"] == "lonely"
            with pytest.raises(ConfigError, match=r"node.admin_path: somebody answers at .* an admin_path of its own"):
                await lonely(path).start()
            assert (await ask_admin(path, AdminStats()))["id"] == "lonely"
        assert not is_there(path)

    asyncio.run(main())


def test_another_file_is_left_alone(path):
    write(path, "precious")
    with pytest.raises(ConfigError, match=r"something at .* that is no socket"):
        asyncio.run(lonely(path).start())
    assert Path(path).read_text(encoding="utf-8") == "precious"


def test_a_place_that_another_node_has_taken_meanwhile_is_left_to_it(path):
    async def main():
        async with lonely(path):
            take_over(path)
        assert is_there(path)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("place", "text"),
    [("x" * (MAX_PATH_BYTES + 1), "has 104 bytes"), ("no/such/folder/s", "cannot listen at no/such/folder/s")],
)
def test_a_place_that_cannot_be_used_is_a_config_error(place, text):
    with pytest.raises(ConfigError, match=f"^node.admin_path: .*{text}"):
        asyncio.run(lonely(place).start())


def test_off_unless_set():
    async def main():
        async with lonely("") as node:
            assert node._engine.admin._socket is None

    asyncio.run(main())


def test_connections_are_bounded_and_there_is_room_again(path):
    async def main():
        with logged() as lines:
            async with lonely(path) as node:
                held = [await asyncio.open_unix_connection(path) for _ in range(MAX_CONNECTIONS)]
                await eventually(lambda: len(sessions_of(node)) == MAX_CONNECTIONS)
                with pytest.raises(ConfigError, match=r"closed the connection: .* or has too many clients"):
                    await ask_admin(path, AdminStats())
                for _, writer in held:
                    writer.close()
                await eventually(lambda: not sessions_of(node))
                assert (await ask_admin(path, AdminStats()))["id"] == "lonely"
        assert sum("refused a connection" in line for line in lines) == 1

    asyncio.run(main())


def test_a_client_that_asks_and_does_not_read_waits_alone(path):
    """It gets no further than its asks in work and its outbox; asks of the application go on, and memory is bounded."""

    async def main():
        async with pair(admin_path=path, outbox_limit_bytes=4096) as (_, _p, consumer):
            deaf = socket.socket(socket.AF_UNIX)
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(path)
            deaf.setblocking(False)
            data = frames(*[AdminStats()] * 3000)
            sent = 0
            (session,) = await first_admin_session(consumer)
            for _ in range(2000):
                try:
                    sent += deaf.send(data[sent : sent + 4096])
                except BlockingIOError:
                    pass
                await asyncio.sleep(0)
            assert session.intake.in_work <= MAX_IN_WORK
            assert not session.intake.is_reading
            assert (await consumer.consumer.async_ask(TallyAsk("a"))).count == 1
            assert (await ask_admin(path, AdminStats()))["consumer"]["asks"] == 1
            deaf.close()

    asyncio.run(main())


async def first_admin_session(node):
    await eventually(lambda: sessions_of(node, "server"))
    return sessions_of(node, "server")


def test_a_node_that_stops_while_it_answers_leaves_nothing(path):
    async def main():
        async with lonely(path):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(frames(*[AdminStats()] * 4))
            await asyncio.sleep(0)
        assert await reader.read() is not None
        writer.close()

    asyncio.run(main())
    assert threading.active_count() == 1
