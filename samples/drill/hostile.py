"""H: strangers' bytes at a provider's port: what a good client sees meanwhile, what the provider's process holds."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from samples.drill.card import Figure, row
from samples.drill.load import Load, percentile
from samples.drill.packets import TABLE, WorkAsk
from samples.drill.watched import Watched, settled
from zfoo_py.net.handshake import WIRE_VERSION
from zfoo_py.protocol.attachment import CLIENT_KEYED
from zfoo_py.protocol.common import Hello
from zfoo_py.protocol.framing import frame
from zfoo_py.protocol.msgpack_codec import MsgpackCodec

if TYPE_CHECKING:
    from samples.drill.stage import Stage
    from zfoo_py import Packet

__all__ = ["Stranger", "codec"]

codec = MsgpackCodec(TABLE)
HELLO = codec.one_way_frame(codec.encode(Hello(WIRE_VERSION, "client", "stranger")), None)

# With this linger a close is a reset.
RESETS = struct.pack("ii", 1, 0)
# What the provider's memory may move by itself while a few thousand connections come and go: pages, not objects.
H1_RSS_MIB = 8.0
H3_CLOSE_MS = 10.0
H3_KIB = 64.0
# If so many are not closed, enough is seen.
H3_ENOUGH = 5
H3_LIMIT_KIB = 64
H3_SLACK_KIB = 16.0
H5_P99_TIMES = 2.0
# A percentile below this is the scheduler's; a ratio of two such figures says nothing.
NOISE_MS = 10.0
H7_CLOSE_MS = 100.0
H7_LINES = 10
STRANGERS_AT_ONCE = 16
DRIP_APART_S = 0.002


class Stranger:
    """A TCP connection that says what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, address: str, *, hello: bool = False) -> Stranger:
        """Connect; ``hello``: as a client whose Hello was answered."""
        host, _, port = address.rpartition(":")
        self = cls(*await asyncio.open_connection(host, int(port)))
        if hello:
            self.writer.write(HELLO)
            await self.packet()
        return self

    def say(self, data: bytes) -> None:
        """Write, if the other side still listens."""
        with suppress(OSError, RuntimeError):  # the latter is uvloop's word for a transport that was closed meanwhile
            if not self.writer.is_closing():
                self.writer.write(data)

    async def packet(self) -> Packet:
        """Read one frame and return its packet.

        Raises:
            asyncio.IncompleteReadError: the other side has closed.
        """
        size = int.from_bytes(await self.reader.readexactly(4), "big")
        return codec.decode(await self.reader.readexactly(size))[1]

    async def closed_ms(self, limit_s: float) -> float:
        """Wait until the other side has closed; return how long that took, infinite if it has not."""
        begun_s = time.monotonic()
        try:
            async with asyncio.timeout(limit_s):
                while await self.reader.read(65_536):
                    pass
        except TimeoutError:
            return float("inf")
        except (OSError, RuntimeError):
            pass  # a reset is an end, too
        return (time.monotonic() - begun_s) * 1000

    def reset(self) -> None:
        """Break the connection, as TCP's RST does."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
        self.writer.transport.abort()

    async def end(self) -> None:
        """Close."""
        with suppress(OSError, RuntimeError):
            self.writer.close()
            await self.writer.wait_closed()


# --- H1


def bad_bytes(rng: random.Random) -> tuple[bytes, bool]:
    """Return a stream, and whether it comes after a right Hello."""
    ask = codec.ask_frame(codec.encode(WorkAsk("k")), rng.randrange(1, 2**31), CLIENT_KEYED, 7, 1000)
    kind = rng.randrange(6)
    if kind == 0:  # anything
        return rng.randbytes(rng.randrange(1, 600)), rng.random() < 0.5
    if kind == 1:  # right frames of anything
        return b"".join(frame(rng.randbytes(rng.randrange(1, 80))) for _ in range(rng.randrange(1, 8))), True
    if kind == 2:  # a right ask, bits flipped behind its length
        flipped = bytearray(ask)
        for _ in range(rng.randrange(1, 6)):
            flipped[rng.randrange(4, len(flipped))] ^= 1 << rng.randrange(8)
        return bytes(flipped) * rng.randrange(1, 4), True
    if kind == 3:  # a Hello, bits flipped
        flipped = bytearray(HELLO)
        for _ in range(rng.randrange(1, 6)):
            flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
        return bytes(flipped), False
    if kind == 4:  # right asks, cut off
        return (ask * 3)[: rng.randrange(1, 3 * len(ask))], True
    depth = rng.randrange(1, 400)  # nested arrays and maps that promise more than there is
    body = bytes([rng.choice([0x91, 0x92, 0x81, 0xDC, 0xDD, 0xDF, 0xC9])]) * depth + rng.randbytes(4)
    return frame(body), True


async def speak(address: str, rng: random.Random) -> None:
    """Say one bad stream, in pieces of any size, and go."""
    data, after_hello = bad_bytes(rng)
    stranger = await Stranger.connect(address, hello=after_hello)
    try:
        while data:
            size = rng.randrange(1, len(data) + 1)
            stranger.say(data[:size])
            data = data[size:]
            if rng.random() < 0.5:
                await asyncio.sleep(0)
        with suppress(OSError, RuntimeError):
            stranger.writer.write_eof()
        await stranger.closed_ms(5.0)
    finally:
        await stranger.end()


@row(
    "H1",
    "{streams} random byte streams at a provider's port: noise, right frames of noise, flipped bits, cut asks, nesting",
    "only the declared error: 0 tracebacks, 0 failures of a good client, + 0 descriptors, sessions, actors; + 8 MiB",
)
async def noise(stage: Stage) -> Figure:
    """H1."""
    member = await stage.member("p1", "work", "orders", log=True)
    node = await stage.consume("work", "orders")
    numbers = iter(range(stage.scale.streams))

    async def stranger(seeds: object) -> None:
        del seeds
        for number in numbers:
            with suppress(OSError, asyncio.IncompleteReadError):
                await speak(member.address, random.Random(number))

    for warm in range(100):
        with suppress(OSError, asyncio.IncompleteReadError):
            await speak(member.address, random.Random(-1 - warm))
    before = await Watched.look(member, node)
    async with Load(node) as load, asyncio.TaskGroup() as group:
        for number in range(STRANGERS_AT_ONCE):
            group.create_task(stranger(number))
    after = await settled(member, node, before)
    wrong = [line for _, line in member.log if "Traceback" in line or "ERROR" in line or "turn of its session" in line]
    rss_mib = after.rss_mib - before.rss_mib
    return Figure(
        f"{len(wrong)} tracebacks or errors{f' ({wrong[0][-120:]})' if wrong else ''}; "
        f"{load.failures()}; {after.more_than(before)}",
        not wrong and not load.failed() and after.is_no_more_than(before) and rss_mib <= H1_RSS_MIB,
    )


# --- H3


@row(
    "H3",
    "frames of length -1, 0, limit + 1 and 2³¹-1, before and after the Hello, 20 connections of each; 40 with a frame "
    "of the limit, 64 KiB, begun",
    "bad lengths closed ≤ 10 ms (95 %), before the body: RSS ≤ + 64 KiB a connection; begun ones ≤ limit + 16 KiB",
)
async def lengths(stage: Stage) -> Figure:
    """H3."""
    member = await stage.member("p1", "work", "orders")
    node = await stage.consume("work", "orders")
    limit = H3_LIMIT_KIB * 1024
    took_ms: list[float] = []
    bad: list[Stranger] = []
    begun: list[Stranger] = []
    before = await Watched.look(member, node)
    async with Load(node) as load:
        for hello in (False, True):
            for length in (-1, 0, limit + 1, 2**31 - 1) * 20:
                bad.append(await Stranger.connect(member.address, hello=hello))
                bad[-1].say(length.to_bytes(4, "big", signed=True) + b"x" * 100_000)
                took_ms.append(await bad[-1].closed_ms(1.0))
                if took_ms.count(float("inf")) > H3_ENOUGH:
                    return Figure(f"{len(bad)} sent, {H3_ENOUGH} of them still open after 1 s", passed=False)
        between = await Watched.look(member, node)
        for hello in (False, True) * 20:  # the last byte never comes
            begun.append(await Stranger.connect(member.address, hello=hello))
            begun[-1].say(limit.to_bytes(4, "big") + b"x" * (limit - 1))
        await asyncio.sleep(0.2)
        during = await Watched.look(member, node)
    for stranger in (*bad, *begun):
        await stranger.end()
    bad_kib = (between.rss_mib - before.rss_mib) * 1024 / len(bad)
    begun_kib = (during.rss_mib - between.rss_mib) * 1024 / len(begun)
    late_ms = percentile(took_ms, 0.95)
    return Figure(
        f"closed after {percentile(took_ms, 0.5):.1f} ms, 95 % within {late_ms:.1f}, all within {max(took_ms):.1f}; "
        f"RSS {bad_kib:+.1f} KiB each; begun ones {begun_kib:+.1f} KiB; {load.failures()}",
        late_ms <= H3_CLOSE_MS
        and bad_kib <= H3_KIB
        and begun_kib <= H3_LIMIT_KIB + H3_SLACK_KIB
        and during.sessions - between.sessions == len(begun)
        and not load.failed(),
    )


# --- H5


@row(
    "H5",
    "{slow_peers} connections that say a byte each {drip_s} s, half before the Hello, half in mid-frame; time-out of "
    "the Hello {hello_s} s, heartbeat {heartbeat_s} + {heartbeat_s} s",
    "all closed ≤ {slow_gone_s} s; good client's p99 (of quarter seconds, median) ≤ twice that before (or ≤ 10 ms)",
)
async def slowloris(stage: Stage) -> Figure:
    """H5."""
    scale = stage.scale
    beat: dict[str, Any] = {"heartbeat_interval_s": scale.heartbeat_s, "heartbeat_timeout_s": scale.heartbeat_s}
    member = await stage.member("p1", "work", "orders", hello_timeout_s=scale.hello_s, **beat)
    node = await stage.consume("work", "orders")
    async with Load(node) as quiet:
        await asyncio.sleep(scale.load_s)
    before = await Watched.look(member, node)
    ended_s: list[float] = []

    async def drip(number: int) -> None:
        begun_s = time.monotonic()
        stranger = await Stranger.connect(member.address, hello=number % 2 == 1)
        data = HELLO if number % 2 == 0 else frame(b"x" * 1000)
        dripping = asyncio.create_task(_drip(stranger, data, scale.drip_s))
        closed_ms = await stranger.closed_ms(scale.slow_gone_s + 5.0)
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        await stranger.end()
        ended_s.append(time.monotonic() - begun_s if closed_ms != float("inf") else float("inf"))

    async with Load(node) as load:
        dripping = []
        for number in range(scale.slow_peers):
            dripping.append(asyncio.create_task(drip(number)))
            await asyncio.sleep(DRIP_APART_S)  # this process serves the good client, too
        outcomes = await asyncio.gather(*dripping, return_exceptions=True)
    after = await settled(member, node, before)
    broken = Counter(type(one).__name__ for one in outcomes if one is not None)
    quiet_ms, loud_ms = quiet.p99_ms(), load.p99_ms()
    slowest_s = max(ended_s, default=float("inf"))
    return Figure(
        f"{len(ended_s)} closed, the last after {slowest_s:.1f} s{f', {dict(broken)}' if broken else ''}; good "
        f"client's p99 {quiet_ms:.1f} ms before, {loud_ms:.1f} ms beside them, {load.failures()}; "
        f"{after.more_than(before)}",
        slowest_s <= scale.slow_gone_s
        and not broken
        and loud_ms <= max(H5_P99_TIMES * quiet_ms, NOISE_MS)
        and not load.failed()
        and after.is_no_more_than(before),
    )


async def _drip(stranger: Stranger, data: bytes, drip_s: float) -> None:
    for at in range(len(data)):
        stranger.say(data[at : at + 1])
        await asyncio.sleep(drip_s)


# --- H7

HTTP = b"GET / HTTP/1.1\r\nHost: provider\r\nAccept: */*\r\n\r\n"
# The first record of a TLS 1.2 client: handshake, version, length, client hello.
TLS = bytes.fromhex("1603010040010000fc0303") + bytes(53)
TEXT = b"hello, is anybody there?\r\n"


@row(
    "H7",
    "HTTP requests, TLS hellos and plain text at a provider's port, 100 of each as fast as it goes",
    "closed ≤ 100 ms; ≤ 10 log lines in any second; good client unharmed",
)
async def other_protocols(stage: Stage) -> Figure:
    """H7: the log is read from the provider's stderr."""
    member = await stage.member("p1", "work", "orders", log=True)
    node = await stage.consume("work", "orders")
    took_ms = []
    async with Load(node) as load:
        for _ in range(100):
            for data in (HTTP, TLS, TEXT):
                stranger = await Stranger.connect(member.address)
                stranger.say(data)
                took_ms.append(await stranger.closed_ms(1.0))
                await stranger.end()
                if took_ms[-1] > 1000 and len(took_ms) > 2:  # it does not close: enough is seen
                    return Figure(f"still open after 1 s: {data[:20]!r}", passed=False)
        await asyncio.sleep(0.1)
    came = [at_s for at_s, line in member.log if line]
    busiest = max((sum(at <= other < at + 1.0 for other in came) for at in came), default=0)
    return Figure(
        f"closed after {percentile(took_ms, 0.5):.1f} ms, all within {max(took_ms):.1f}; at most {busiest} log "
        f"lines in 1 s, {len(came)} in all; {load.failures()}",
        max(took_ms) <= H7_CLOSE_MS and 0 < busiest <= H7_LINES and not load.failed(),
    )
