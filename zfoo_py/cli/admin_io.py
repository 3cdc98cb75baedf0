"""Questions to a running node, on its admin socket."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from zfoo_py.errors import ConfigError, DecodeError
from zfoo_py.net.handshake import WIRE_VERSION
from zfoo_py.protocol.attachment import CLIENT_KEYLESS
from zfoo_py.protocol.common import AdminAnswer, Error, Hello
from zfoo_py.protocol.framing import FrameParser
from zfoo_py.protocol.msgpack_codec import MsgpackCodec

if TYPE_CHECKING:
    import argparse

    from zfoo_py.protocol.packet import Packet

__all__ = ["add_admin", "ask_admin"]

# A node answers within milliseconds; one that is busy for five seconds is what one wanted to know.
ADMIN_WAIT_S: Final = 5.0
# The figures of a thousand providers take about 300 KB.
MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
CHUNK_BYTES: Final = 65536


def add_admin(command: argparse.ArgumentParser, what: str) -> None:
    """Add --admin."""
    command.add_argument("--admin", metavar="PATH", help=f"the node's admin_path, a Unix socket; {what}")


async def ask_admin(path: str, question: Packet, wait_s: float = ADMIN_WAIT_S) -> Any:
    """Ask the node that listens at a path; return its document.

    Raises:
        ConfigError: nobody answers there within ``wait_s`` seconds, or the node refuses the question.
    """
    start = "is a node with this admin_path running (as this user)?"
    try:
        async with asyncio.timeout(wait_s):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                return await _ask(reader, writer, question)
            finally:
                writer.close()
    except TimeoutError as error:
        raise ConfigError(f"the node at {path} did not answer within {wait_s:g} s: it is busy or hangs") from error
    except (EOFError, DecodeError, ConnectionResetError, BrokenPipeError) as error:
        raise ConfigError(
            f"what listens at {path} closed the connection: it is no admin socket of zfoo_py, or has too many clients"
        ) from error
    except OSError as error:
        raise ConfigError(f"cannot reach {path} ({error.strerror or error}): {start}") from error


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, question: Packet) -> Any:
    codec, parser = MsgpackCodec(), FrameParser(MAX_FRAME_BYTES)
    hello = Hello(WIRE_VERSION, "client", "zfoo-py", max_frame_bytes=MAX_FRAME_BYTES)
    writer.write(codec.one_way_frame(codec.encode(hello), None))
    writer.write(codec.ask_frame(codec.encode(question), 1, CLIENT_KEYLESS, -1, int(ADMIN_WAIT_S * 1000)))
    while True:
        data = await reader.read(CHUNK_BYTES)
        if not data:
            raise EOFError
        for body in parser.feed(data):
            _, packet, _ = codec.decode(body)
            if isinstance(packet, AdminAnswer):
                return json.loads(packet.document)
            if isinstance(packet, Error):
                raise ConfigError(packet.message)
        if parser.error is not None:
            raise EOFError
