"""TCP: real sockets on the loopback interface, and what the kernel does with them."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from tests.support.connection import RecordingConnection
from zfoo_py.actor import LoopActor, LoopFuture, Runtime
from zfoo_py.errors import ConfigError, FrameError, SessionClosedError
from zfoo_py.net import messages as m
from zfoo_py.net.tcp_io import TCP_USER_TIMEOUT, TcpConnection, dial, listen
from zfoo_py.protocol.framing import frame

OUTBOX_BYTES = 64 * 1024
HANG_S = 20.0  # a test that waits longer has found a hang


class Noter(LoopActor):
    """Stands for a session actor: keeps what its connection tells."""

    def __init__(self, connection):
        super().__init__()
        self.connection = connection
        self.told = []
        self._waiters = []

    def on_receive(self, message):
        self.told.append(message)
        for is_there, waiter in self._waiters:
            if not waiter.done() and is_there(self):
                waiter.settle()

    async def until(self, is_there):
        """Wait until ``is_there(self)``; sockets are waited for, not slept for."""
        if not is_there(self):
            waiter = LoopFuture()
            self._waiters.append((is_there, waiter))
            async with asyncio.timeout(HANG_S):
                await waiter

    def of(self, kind):
        return [message for message in self.told if type(message) is kind]

    def texts(self):
        return [bytes(body) for message in self.of(m.Received) for body in message.bodies]


class Net:
    """A listener, and connections to it; everything is closed at the end."""

    def __init__(self):
        self.runtime = Runtime(asyncio.get_running_loop())
        self.noters = []
        self.accepted = asyncio.Queue()

    async def __aenter__(self):
        self.listener = await listen("127.0.0.1", 0, lambda: self.make(self.accepted.put_nowait))
        return self

    async def __aexit__(self, *_):
        await self.listener.close()
        for noter in self.noters:
            noter.connection.abort()
        for noter in self.noters:
            await noter.until(lambda each: each.of(m.Lost))
            noter.actor_ref.stop(block=False)
        self.runtime.drain()

    def make(self, opened=lambda _: None, max_frame_bytes=1_000_000):
        def open_(connection):
            ref = self.runtime.spawn(Noter, connection)
            noter = ref.actor_inbox.actor
            self.noters.append(noter)
            opened(noter)
            return ref

        return TcpConnection(self.runtime, max_frame_bytes, OUTBOX_BYTES, open_, user_timeout_s=2.5)

    @property
    def address(self):
        host, _, port = self.listener.address.rpartition(":")
        return host, int(port)

    async def connect(self):
        """Return both ends of a new connection: the dialling one and the accepted one."""
        noters = []
        await dial(*self.address, lambda: self.make(noters.append), HANG_S)
        async with asyncio.timeout(HANG_S):
            return noters[0], await self.accepted.get()

    async def raw(self):
        """Return a plain socket and the accepted end."""
        sock = socket.create_connection(self.address)
        async with asyncio.timeout(HANG_S):
            return sock, await self.accepted.get()


def test_a_free_port_is_chosen_and_both_ends_know_their_addresses():
    async def main():
        async with Net() as net:
            host, port = net.address
            assert host == "127.0.0.1"
            assert port > 0
            near, far = await net.connect()
            assert near.connection.peer == far.connection.local == net.listener.address
            assert near.connection.local == far.connection.peer != ""

    asyncio.run(main())


def test_ipv6_addresses_have_brackets():
    async def main():
        net = Net()
        try:
            net.listener = await listen("::1", 0, net.make)
        except ConfigError:
            pytest.skip("this machine has no IPv6 loopback")
        assert net.listener.address.startswith("[::1]:")
        await net.listener.close()

    asyncio.run(main())


def test_frames_arrive_whole_and_in_order():
    async def main():
        async with Net() as net:
            near, far = await net.connect()
            bodies = [b"x" * size for size in (1, 2, 100_000, 3)]
            for body in bodies:
                near.connection.write(frame(body))
            await far.until(lambda each: len(each.texts()) == 4)
            assert far.texts() == bodies
            far.connection.write(frame(b"back"))
            await near.until(lambda each: each.texts() == [b"back"])

    asyncio.run(main())


def test_one_chunk_is_one_message_and_half_a_frame_is_none():
    async def main():
        async with Net() as net:
            noters = []
            connection = net.make(noters.append)
            transport = FakeTransport()
            connection.connection_made(transport)
            noter = noters[0]
            three = frame(b"a") + frame(b"b") + frame(b"c")
            connection.data_received(three + frame(b"later")[:6])
            assert len(noter.told) == 1
            assert noter.texts() == [b"a", b"b", b"c"]
            connection.data_received(b"t")
            assert len(noter.told) == 1
            connection.data_received(b"er" + frame(b"d"))
            assert noter.texts() == [b"a", b"b", b"c", b"later", b"d"]
            counted = sum(message.byte_count for message in noter.of(m.Received))
            connection.connection_lost(None)
            assert counted == len(three + frame(b"later") + frame(b"d")), "every byte is counted, once"

    asyncio.run(main())


def test_one_frame_by_itself_makes_the_loop_quiet():
    """Whom it wakes may write at once; several frames wake several, who had better write together."""

    async def main():
        async with Net() as net:
            connection = net.make(lambda _: None)
            connection.connection_made(FakeTransport())
            for chunk, is_quiet in ((frame(b"a"), True), (frame(b"b") + frame(b"c"), False), (frame(b"d"), True)):
                connection.data_received(chunk)
                assert net.runtime.is_quiet == is_quiet
            connection.connection_lost(None)

    asyncio.run(main())


class FakeTransport(asyncio.Transport):
    """A transport without socket."""

    closed = False

    def set_write_buffer_limits(self, high=None, low=None):
        self.high = high

    def close(self):
        self.closed = True

    abort = close

    def is_closing(self):
        return self.closed

    def get_write_buffer_size(self):
        return 0


def test_full_is_said_within_the_write_and_told_and_so_is_room():
    async def main():
        async with Net() as net:
            near, far = await net.connect()
            far.connection.pause_reading()
            near.connection.write(frame(b"first"))
            assert not near.connection.is_full
            sent = 0
            while not near.connection.is_full:  # until the kernel's buffers and ours are full
                near.connection.write(frame(b"x" * 10_000))
                sent += 1
            net.runtime.drain()
            assert [type(message) for message in near.told] == [m.WritePaused]
            assert far.told == []
            far.connection.resume_reading()
            await near.until(lambda each: each.of(m.WriteResumed))
            assert not near.connection.is_full
            await far.until(lambda each: len(each.texts()) == sent + 1)

    asyncio.run(main())


def test_close_sends_what_was_written_before_and_lost_comes_last():
    async def main():
        async with Net() as net:
            near, far = await net.connect()
            for number in range(100):
                near.connection.write(frame(b"%d" % number * 1000))
            near.connection.close()
            await far.until(lambda each: each.of(m.Lost))
            assert len(far.texts()) == 100
            assert type(far.told[-1]) is m.Lost
            assert far.told[-1].reason == "the peer closed it"
            await near.until(lambda each: each.of(m.Lost))

    asyncio.run(main())


def test_abort_is_seen_by_the_peer_and_is_told_once():
    async def main():
        async with Net() as net:
            near, far = await net.connect()
            near.connection.abort()
            near.connection.abort()
            near.connection.close()
            near.connection.pause_reading()
            near.connection.resume_reading()
            for end in (near, far):
                await end.until(lambda each: each.of(m.Lost))
                assert len(end.of(m.Lost)) == 1

    asyncio.run(main())


def test_a_connection_that_has_failed_takes_no_more_and_nothing_is_logged(caplog):
    """The session writes on until it hears of the loss; asyncio logs each such write from the fifth on."""

    async def main():
        async with Net() as net:
            near, _far = await net.connect()
            near.connection.abort()
            for _ in range(10):
                near.connection.write(frame(b"too late"))
            await near.until(lambda each: each.of(m.Lost))

    asyncio.run(main())
    assert caplog.messages == []


def test_a_reset_names_its_reason():
    async def main():
        async with Net() as net:
            sock, far = await net.raw()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
            await far.until(lambda each: each.of(m.Lost))
            assert "connection lost (" in far.of(m.Lost)[0].reason

    asyncio.run(main())


def test_a_peer_that_shuts_its_half_is_gone():
    async def main():
        async with Net() as net:
            sock, far = await net.raw()
            with sock:
                sock.sendall(frame(b"last"))
                sock.shutdown(socket.SHUT_WR)
                await far.until(lambda each: each.of(m.Lost))
                assert far.texts() == [b"last"]

    asyncio.run(main())


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x00",
        struct.pack(">I", 1_000_001),
    ],
    ids=["http", "tls", "negative", "empty", "too long"],
)
def test_a_stream_of_something_else_is_told_with_the_frames_before_it(garbage):
    async def main():
        async with Net() as net:
            sock, far = await net.raw()
            other, unharmed = await net.connect()
            with sock:
                sock.sendall(frame(b"good") + garbage)
                await far.until(lambda each: each.told and each.told[-1].error is not None)
                assert far.texts() == [b"good"]
                assert isinstance(far.told[-1].error, FrameError)
            other.connection.write(frame(b"fine"))
            await unharmed.until(lambda each: each.texts() == [b"fine"])

    asyncio.run(main())


def test_the_bound_of_frames_can_be_changed_while_it_runs():
    async def main():
        async with Net() as net:
            near, far = await net.connect()
            far.connection.limit_frames(10)
            near.connection.write(frame(b"x" * 10) + frame(b"x" * 11))
            await far.until(lambda each: each.told and each.told[-1].error is not None)
            assert far.texts() == [b"x" * 10]

    asyncio.run(main())


def test_a_connection_that_is_refused_an_actor_is_closed():
    async def main():
        async with Net() as net:
            connection = TcpConnection(net.runtime, 100, 100, lambda _: None)
            transport = FakeTransport()
            connection.connection_made(transport)
            assert transport.closed
            connection.data_received(frame(b"x"))
            connection.pause_writing()
            connection.resume_writing()
            connection.connection_lost(None)

    asyncio.run(main())


@pytest.mark.skipif(TCP_USER_TIMEOUT is None, reason="Linux only")
def test_both_ends_give_up_bytes_that_nobody_acknowledges():
    async def main():
        async with Net() as net:
            for end in await net.connect():
                sock = end.connection._transport.get_extra_info("socket")
                assert sock.getsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT) == 2500

    asyncio.run(main())


def test_a_socket_without_delay_and_with_the_outbox_limit():
    async def main():
        async with Net() as net:
            near, _ = await net.connect()
            transport = near.connection._transport
            sock = transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert transport.get_write_buffer_limits()[1] == OUTBOX_BYTES

    asyncio.run(main())


def test_dialling_where_nobody_listens_says_so():
    async def main():
        net = Net()
        async with net:
            host, port = net.address
        with pytest.raises(
            SessionClosedError, match=rf"cannot connect to 127\.0\.0\.1:{port} within .*refused"
        ) as caught:
            await dial(host, port, net.make, HANG_S)
        assert not caught.value.may_have_run
        assert isinstance(caught.value.__cause__, OSError)

    asyncio.run(main())


def test_dialling_a_host_that_does_not_answer_ends_in_time():
    """A connection that is never made is stood for by one that waits for ever."""

    async def main():
        loop = asyncio.get_running_loop()

        async def never(*_args, **_more):
            await loop.create_future()

        loop.create_connection = never
        with pytest.raises(SessionClosedError, match=r"10\.255\.255\.1:9 within 0\.0 s: no answer in time"):
            await dial("10.255.255.1", 9, Net().make, 0.0)

    asyncio.run(main())


def test_listening_where_somebody_does_says_what_to_do():
    async def main():
        async with Net() as net:
            with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1:\d+ .*choose another port, or 0"):
                await listen(*net.address, net.make)

    asyncio.run(main())


def test_a_closed_listener_accepts_nobody_and_keeps_those_that_stand():
    async def main():
        async with Net() as net:
            near, far = await net.connect()
            await net.listener.close()
            with pytest.raises(SessionClosedError):
                await dial(*net.address, net.make, HANG_S)
            near.connection.write(frame(b"still"))
            await far.until(lambda each: each.texts() == [b"still"])

    asyncio.run(main())


def test_the_double_for_sessions_writes_down_what_is_done_with_it():
    connection = RecordingConnection()
    connection.write(frame(b"a") + frame(b"b"))
    connection.close()
    assert connection.bodies() == [b"a", b"b"]
    assert connection.calls == ["close"]
