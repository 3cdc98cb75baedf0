"""The first packet of a session, judged."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from zfoo_py.config import MAX_WEIGHT
from zfoo_py.protocol.common import CAPABILITIES
from zfoo_py.protocol.registration import parse

if TYPE_CHECKING:
    from zfoo_py.protocol.common import Hello

__all__ = ["PEER_KINDS", "WIRE_VERSION", "fault_of", "known_capabilities", "served_modules"]

# Changes when two versions of the default wire cannot talk to each other.
WIRE_VERSION: Final = 1

PEER_KINDS: Final = ("node", "client")


def fault_of(hello: Hello, announced: str | None, peer: str) -> str:
    """Return what is wrong with a peer's Hello, in a sentence for both sides' logs; "" if nothing is.

    Args:
        hello: the peer's.
        announced: the registration text that discovery announced for the peer's address, which the Hello must
            repeat byte for byte: a reused port never enters a ring. None if only the address was known.
        peer: its address.
    """
    if hello.wire_version != WIRE_VERSION:
        return f"wire version {hello.wire_version} cannot talk to wire version {WIRE_VERSION}: upgrade the older node"
    if hello.kind not in PEER_KINDS:
        return f"a peer is a node or a client, not {hello.kind!r}"
    if announced is not None and hello.registration != announced:
        return (
            f"{peer} says it is {hello.registration!r}, but discovery announced {announced!r}: "
            f"another node uses this address now"
        )
    if not 1 <= hello.weight <= MAX_WEIGHT:
        return f"the weight of a provider is 1 to {MAX_WEIGHT}, not {hello.weight}"
    if hello.registration and parse(hello.registration) is None:
        return f"the registration {hello.registration!r} cannot be read"
    return ""


@lru_cache(maxsize=256)
def known_capabilities(told: tuple[str, ...]) -> frozenset[str]:
    """Return those of a peer's capabilities that this version knows; sessions alike share the set."""
    return frozenset(told).intersection(CAPABILITIES)


@lru_cache(maxsize=256)
def served_modules(provides: frozenset[tuple[str, str]], consumes: tuple[str, ...]) -> frozenset[str]:
    """Return the modules that a peer may ask for: those provided here, in the groups that it says it consumes.

    It is worked out once for a session (and sessions alike share it), so that a packet's module alone tells whether it
    was meant for this node.

    Args:
        provides: (module, group) of everything this node provides.
        consumes: of the peer's Hello, ``module-group`` each; a module that is not there may be asked for in any group.
    """
    called: set[tuple[str, str]] = {(module, group) for module, _, group in (text.partition("-") for text in consumes)}
    missed = {module for module, _ in called - provides} - {module for module, _ in called & provides}
    return frozenset(module for module, _ in provides if module not in missed)
