"""Which codecs a node speaks, and where it listens: ``[node] codecs``, ``[server] address``, ``[[listen]]``."""

from __future__ import annotations

from typing import Final

import msgspec

from zfoo_py.addresses import parse_address
from zfoo_py.errors import ConfigError, nearest_name
from zfoo_py.names import check_name

__all__ = [
    "CODECS",
    "DEFAULT_SERVER_ADDRESS",
    "JSON",
    "MSGPACK",
    "Listen",
    "check_codec",
    "checked_address",
    "checked_codecs",
    "checked_listen",
]

# What may be spoken on a connection: the default, and the two of Java zfoo. The first that two nodes share is taken.
MSGPACK: Final = "msgpack"
JSON: Final = "zfoo-json"
CODECS: Final = (MSGPACK, "zfoo-java", JSON)

# Loopback, because a node has no authentication of its own; 0: the system chooses, discovery tells the others.
DEFAULT_SERVER_ADDRESS: Final = "127.0.0.1:0"


class Listen(msgspec.Struct, frozen=True):
    """One more address at which this node listens, and what is spoken there: "zfoo-java" or "zfoo-json"."""

    address: str
    codec: str = CODECS[1]


def check_codec(name: str, path: str) -> None:
    """Raise ConfigError if there is no such codec."""
    if name not in CODECS:
        raise ConfigError(f"{name!r} is no codec: {', '.join(CODECS)}", path=path, nearest=nearest_name(name, CODECS))


def checked_codecs(codecs: tuple[str, ...]) -> tuple[str, ...]:
    """Return them in the order of preference.

    Raises:
        ConfigError: there is none, or one that does not exist.
    """
    for index, name in enumerate(codecs):
        check_codec(name, f"node.codecs[{index}]")
    if not codecs:
        raise ConfigError("is empty, so this node could speak to nobody: remove it for all", path="node.codecs")
    return tuple(codec for codec in CODECS if codec in codecs)


def checked_address(address: str, codecs: tuple[str, ...], *, is_provider: bool) -> str | None:
    """Return where msgpack is spoken; None: nowhere.

    Raises:
        ConfigError: it cannot be used, or the node does not speak msgpack.
    """
    path = "server.address"
    if address and MSGPACK not in codecs:
        raise ConfigError("is where msgpack is spoken, which node.codecs leaves out: remove one of both", path=path)
    if not address and (MSGPACK not in codecs or not is_provider):
        return None
    address = address or DEFAULT_SERVER_ADDRESS
    _check_place(address, path)
    return address


def _check_place(address: str, path: str) -> int:
    """Return the port."""
    port = parse_address(address, path=path).port
    check_name(address, "address", path=path)
    return port


def checked_listen(
    rows: tuple[Listen, ...], address: str | None, codecs: tuple[str, ...], *, is_provider: bool
) -> tuple[Listen, ...]:
    """Return the rows of ``[[listen]]``.

    Raises:
        ConfigError: naming the key.
    """
    taken = {} if address is None else {address: "server.address"}
    spoken = {} if address is None else {MSGPACK: "server.address"}
    for index, row in enumerate(rows):
        path = f"listen[{index}]"
        port = _check_place(row.address, f"{path}.address")
        check_codec(row.codec, f"{path}.codec")
        if row.codec not in codecs:
            raise ConfigError(f"{row.codec!r} is not in node.codecs: add it there", path=f"{path}.codec")
        if row.codec == MSGPACK:
            raise ConfigError("msgpack is spoken at server.address: set that instead", path=path)
        if (first := spoken.setdefault(row.codec, path)) != path:
            raise ConfigError(f"speaks {row.codec}, as {first} does: keep one", path=path)
        if port and (first := taken.setdefault(row.address, path)) != path:
            text = f"{row.address} is {first} already: each codec needs a port of its own"
            raise ConfigError(text, path=f"{path}.address")
    if is_provider and not spoken:
        text = f"a provider has to listen: add [[listen]] with codec {codecs[0]!r}, or msgpack to node.codecs"
        raise ConfigError(text, path="listen")
    return rows
