"""Where to connect or listen."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from zfoo_py.errors import ConfigError

__all__ = ["Address", "parse_address"]


class Address(NamedTuple):
    """Where to connect or listen; `host` of an IPv6 address is without brackets. `str()` writes it for parsing."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: object, *, path: str = "", port_zero: bool = True) -> Address:
    """Parse ``127.0.0.1:9000``, ``name.example:9000`` or ``[::1]:9000``; `port_zero` allows port 0 (choose one).

    Raises:
        ConfigError: saying what is missing.
    """
    if not isinstance(text, str):
        raise ConfigError(f'expected "host:port", got {text!r}', path=path)
    host, colon, digits = text.rpartition(":")
    example = 'write "host:port", such as "127.0.0.1:9000"'
    if "/" in text:
        raise ConfigError(f"{text!r} looks like a URL: {example}", path=path)
    if not colon or text.endswith("]"):
        raise ConfigError(f"{text!r} has no port: {example}", path=path)
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and int(digits) <= 0xFFFF):
        raise ConfigError(f"{text!r}: the port {digits!r} is no number from 0 to 65535", path=path)
    if not int(digits) and not port_zero:
        raise ConfigError(f"{text!r}: port 0 means 'choose one', but this is a place to connect to", path=path)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError as error:
            raise ConfigError(f"{text!r}: {host!r} is no IPv6 address", path=path) from error
    elif ":" in host:
        raise ConfigError(f'{text!r} is ambiguous: write an IPv6 address in brackets, "[::1]:9000"', path=path)
    elif not host:
        raise ConfigError(f'{text!r} has no host: "127.0.0.1{text}" listens to this machine only', path=path)
    elif not re.fullmatch(r"[^\s|\[\]@,]+", host):
        raise ConfigError(f"{text!r}: {host!r} is no host name", path=path)
    return Address(host, int(digits))
