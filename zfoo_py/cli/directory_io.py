"""What stands in an embedded directory or in ZooKeeper, read by a command that is no node."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from zfoo_py.addresses import parse_address
from zfoo_py.consumer.zookeeper import read_zookeeper
from zfoo_py.discovery_config import DEFAULT_DISCOVERY_ADDRESS
from zfoo_py.errors import ConfigError, DecodeError
from zfoo_py.extras import need
from zfoo_py.net.handshake import WIRE_VERSION
from zfoo_py.protocol.common import DirectoryChange, DirectoryWatch, Hello, Ping, Pong
from zfoo_py.protocol.framing import FrameParser
from zfoo_py.protocol.msgpack_codec import MsgpackCodec
from zfoo_py.protocol.registration import parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from zfoo_py.discovery_config import DiscoveryConfig
    from zfoo_py.protocol.packet import Packet
    from zfoo_py.protocol.registration import Registration

__all__ = ["Registered", "read_directory", "read_discovery"]

# A directory on this machine answers within milliseconds, one across a network within a tenth of a second.
DIRECTORY_WAIT_S: Final = 2.0
# A session with ZooKeeper begins with several answers, and may go to its second server first.
ZOOKEEPER_WAIT_S: Final = 5.0
MAX_FRAME_BYTES: Final = 2 * 1024 * 1024
CHUNK_BYTES: Final = 65536


class Registered(NamedTuple):
    """One entry of a directory."""

    registration: Registration
    weight: int


async def read_discovery(config: DiscoveryConfig) -> tuple[Registered, ...]:
    """Return what is registered with an embedded directory, or with a ZooKeeper.

    Raises:
        ConfigError: it does not answer, or refuses us, or its client library is missing.
    """
    if config.kind != "zookeeper":
        return await read_directory(config.address)
    need("kazoo", "zookeeper")
    from zfoo_py.consumer.zookeeper_io import KazooLink  # noqa: PLC0415 - kazoo is an extra

    loop = asyncio.get_running_loop()

    def post(function: Callable[..., None], *args: object) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(function, *args)

    found = await read_zookeeper(config, KazooLink(config, post), ZOOKEEPER_WAIT_S)
    parsed = [(parse(target.text), weight) for target, weight in found.items()]
    return tuple(Registered(one, weight) for one, weight in parsed if one is not None)


async def read_directory(address: str, wait_s: float = DIRECTORY_WAIT_S) -> tuple[Registered, ...]:
    """Return what is registered with the embedded directory at "host:port".

    Raises:
        ConfigError: nobody, or something else, answers there, or not within ``wait_s`` seconds.
    """
    place = parse_address(address, path="discovery.address")
    where = "" if address == DEFAULT_DISCOVERY_ADDRESS else f" --address {address}"
    start = f"start one with `zfoo-py discovery{where}`, or name its address with --discovery"
    try:
        async with asyncio.timeout(wait_s):
            reader, writer = await asyncio.open_connection(place.host, place.port)
            try:
                return await _read(reader, writer)
            finally:
                writer.close()
    except ConnectionError as error:
        if isinstance(error, ConnectionRefusedError):
            raise ConfigError(f"no discovery is running at {address}: {start}") from error
        raise ConfigError(_stranger(address)) from error
    except TimeoutError as error:
        raise ConfigError(
            f"what listens at {address} did not answer as a discovery within {wait_s:g} s: is it a node? "
            f"Name the address that `zfoo-py discovery` printed (--discovery, or discovery.address)"
        ) from error
    except (DecodeError, EOFError) as error:
        raise ConfigError(_stranger(address)) from error
    except OSError as error:
        raise ConfigError(f"cannot reach {address} ({error.strerror or error}): {start}") from error


def _stranger(address: str) -> str:
    return (
        f"what listens at {address} is no zfoo_py discovery: name the address that `zfoo-py discovery` printed "
        f"(--discovery, or discovery.address)"
    )


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[Registered, ...]:
    """Say Hello, watch, and return what the snapshot holds.

    It may come in parts, one right after the other: a Ping that follows its first part is answered after its last.
    """
    codec, parser = MsgpackCodec(), FrameParser(MAX_FRAME_BYTES)

    def send(packet: Packet) -> None:
        writer.write(codec.one_way_frame(codec.encode(packet), None))

    send(Hello(WIRE_VERSION, "node", "zfoo-py", max_frame_bytes=MAX_FRAME_BYTES))
    send(DirectoryWatch())
    found: list[tuple[Registration | None, int]] = []
    while True:
        data = await reader.read(CHUNK_BYTES)
        if not data:
            raise EOFError
        for body in parser.feed(data):
            _, packet, _ = codec.decode(body)
            if isinstance(packet, DirectoryChange):
                weights = packet.weights or [1] * len(packet.joined)
                found += [(parse(text), weight) for text, weight in zip(packet.joined, weights, strict=False)]
                if packet.snapshot:
                    send(Ping())
            elif isinstance(packet, Pong):
                return tuple(Registered(one, weight) for one, weight in found if one is not None)
        if parser.error is not None:
            raise EOFError
