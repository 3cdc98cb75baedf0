"""Where others reach a node that listens at "every interface", which is no address to connect to."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING, Final

from zfoo_py.addresses import Address, parse_address

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["announced_address"]

# A name server on the same network answers in milliseconds; without an answer the next way is tried.
RESOLVE_S: Final = 2.0


async def announced_address(listening: str, option: str, towards: Iterable[str]) -> str:
    """Return the "host:port" to announce.

    Args:
        listening: where the node listens, with the port that was chosen.
        option: ``server.announce_address``: "", "host" or "host:port".
        towards: addresses of the discovery: the interface that leads there is the one the others see.
    """
    bound = parse_address(listening)
    if option:
        has_port = option.rpartition("]")[2].count(":") == 1
        wanted = parse_address(option if has_port else f"{option}:0")
        return str(Address(wanted.host, wanted.port or bound.port))
    try:
        if not ipaddress.ip_address(bound.host).is_unspecified:
            return listening
    except ValueError:
        return listening  # a name: somebody has chosen it
    for address in towards:
        host = await _interface(parse_address(address.strip()), bound.host)
        if host:
            return str(Address(host, bound.port))
    # Anywhere else than here; nothing is sent to it. Without any route, this machine is all there is.
    outside = "2001:db8::1" if ":" in bound.host else "192.0.2.1"
    here = "::1" if ":" in bound.host else "127.0.0.1"
    return str(Address(await _interface(Address(outside, 9), bound.host) or here, bound.port))


async def _interface(towards: Address, bound_host: str) -> str:
    """Return this machine's address on the way there, as the system routes; "" if it knows none. Sends nothing."""
    # A socket bound to "::" takes IPv4 as well.
    families = (socket.AF_INET, socket.AF_INET6) if ":" in bound_host else (socket.AF_INET,)
    try:
        ipaddress.ip_address(towards.host)
    except ValueError:
        try:
            async with asyncio.timeout(RESOLVE_S):
                found = await asyncio.get_running_loop().getaddrinfo(towards.host, towards.port, type=socket.SOCK_DGRAM)
        except (OSError, TimeoutError):
            return ""
    else:
        found = socket.getaddrinfo(
            towards.host, towards.port, type=socket.SOCK_DGRAM
        )  # a number: nobody is asked, so no thread is needed for it
    for family, kind, protocol, _, place in found:
        if family not in families:
            continue
        with socket.socket(family, kind, protocol) as probe:
            try:
                probe.connect(place)
            except OSError:
                continue
            return str(probe.getsockname()[0])
    return ""
