"""How providers are found: the table ``[discovery]``.

::

    [discovery]
    kind = "zookeeper"                                   # or "embedded" (the default), or "static"
    address = "10.0.0.1:2181,10.0.0.2:2181,10.0.0.3:2181"
    root = "/zfoo"                                       # the rest has usable defaults, see `DiscoveryConfig`
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import Final

import msgspec

from zfoo_py.addresses import parse_address
from zfoo_py.errors import ConfigError, nearest_name
from zfoo_py.listen_config import JSON, MSGPACK, check_codec

__all__ = [
    "DEFAULT_DISCOVERY_ADDRESS",
    "DEFAULT_ZOOKEEPER_ADDRESS",
    "DiscoveryConfig",
    "checked_discovery",
    "discovery_of",
]

# One fixed port, so that processes started by hand find each other; next to zfoo's first free port, 12400.
DEFAULT_DISCOVERY_ADDRESS: Final = "127.0.0.1:12399"
# ZooKeeper's own port.
DEFAULT_ZOOKEEPER_ADDRESS: Final = "127.0.0.1:2181"

KINDS: Final = ("embedded", "static", "zookeeper")
# "all": everything that this node creates; "root": the root alone, as zfoo does it.
ACL_SCOPES: Final = ("all", "root")

# Keys that mean something to ZooKeeper only.
_ONLY_ZOOKEEPER: Final = (
    "root",
    "center",
    "user",
    "password",
    "acl",
    "session_timeout_s",
    "call_timeout_s",
    "rejoin_grace_s",
    "required",
)


class DiscoveryConfig(msgspec.Struct, frozen=True):
    """How providers are found.

    Attributes:
        kind: "embedded", "static" or "zookeeper".
        address: of the embedded one; of the ZooKeeper servers, separated by commas.
        addresses: static: "host:port" of each provider; a Java one's codec and registration, since it does not tell:
            "zfoo-java://id | host:port | provider:[module-group]".
        host: embedded: this node is the discovery server.
        root: ZooKeeper: the node below which everything stands.
        center: ZooKeeper: what the root's data says; another text there is an error, as in zfoo.
        user, password: ZooKeeper: for digest authentication; both or none.
        acl: ZooKeeper: what is closed to others when a user is given, "all" or, as zfoo does, "root".
        session_timeout_s: ZooKeeper: how long a provider that died keeps its node.
        call_timeout_s: ZooKeeper: bound of each call.
        rejoin_grace_s: ZooKeeper: how long a provider whose node was deleted may take to come back before it is
            drained; 0: session time-out + 5 s.
        required: ZooKeeper: a node does not start without it (default: it starts, and keeps trying).
    """

    kind: str = KINDS[0]
    address: str = DEFAULT_DISCOVERY_ADDRESS
    addresses: tuple[str, ...] = ()
    host: bool = False
    root: str = "/zfoo"
    center: str = "zookeeper"
    user: str = ""
    password: str = ""
    acl: str = ACL_SCOPES[0]
    # Both zfoo's: of its session, and of its connection.
    session_timeout_s: float = 40.0
    call_timeout_s: float = 10.0
    rejoin_grace_s: float = 0.0
    required: bool = False

    def __repr__(self) -> str:
        """Show all but the password: configurations are logged."""
        shown = [f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name != "password"]
        return f"DiscoveryConfig({', '.join(shown)})"

    @property
    def grace_s(self) -> float:
        """Seconds until a provider whose node stays away is drained."""
        # A provider that lost its session learns it within the time-out; five seconds to come back.
        return self.rejoin_grace_s or self.session_timeout_s + 5.0


def discovery_of(text: str) -> dict[str, object]:
    """Return the table that a short text means: "host:port", "zookeeper", "zookeeper://host:port,host:port/root".

    Raises:
        ConfigError: the text begins as an URL of something else.
    """
    if "://" in text and not text.startswith("zookeeper://"):
        raise ConfigError(f'{text!r}: write "host:port" or "zookeeper://host:port,host:port/root"', path="discovery")
    if text == "zookeeper":
        return {"kind": "zookeeper"}
    if not text.startswith("zookeeper://"):
        return {"kind": "embedded", "address": text}
    addresses, _, root = text.removeprefix("zookeeper://").partition("/")
    table: dict[str, object] = {"kind": "zookeeper"}
    if addresses:
        table["address"] = addresses
    if root:
        table["root"] = f"/{root}"
    return table


def checked_discovery(
    discovery: DiscoveryConfig,
    *,
    codecs: Collection[str],
    listens: Collection[str],
    consumes: Collection[tuple[str, str]],
) -> DiscoveryConfig:
    """Return it complete, with the address of its kind.

    Args:
        discovery: as it was written.
        codecs: what the node speaks.
        listens: of them, those in which others find it as a provider.
        consumes: (module, group) of what it looks for.

    Raises:
        ConfigError: naming the key.
    """
    kind = discovery.kind
    if kind not in KINDS:
        text = f'{kind!r} is no kind of discovery: use "embedded", "static" or "zookeeper"'
        raise ConfigError(text, path="discovery.kind", nearest=nearest_name(kind, KINDS))
    if kind == "zookeeper" and discovery.address == DEFAULT_DISCOVERY_ADDRESS:
        discovery = msgspec.structs.replace(discovery, address=DEFAULT_ZOOKEEPER_ADDRESS)
    if discovery.host and kind != "embedded":
        raise ConfigError('only kind "embedded" has a server to host: remove it', path="discovery.host")
    if discovery.addresses and kind != "static":
        where = "has one address" if kind == "embedded" else 'takes "host:port,host:port" as discovery.address'
        raise ConfigError(f'belongs to kind "static"; "{kind}" {where}', path="discovery.addresses")
    if kind == "zookeeper":
        _check_zookeeper(discovery, listens)
        return discovery
    for name in _ONLY_ZOOKEEPER:
        if getattr(discovery, name) != getattr(_DEFAULTS, name):
            raise ConfigError('belongs to kind "zookeeper": remove it, or set discovery.kind', path=f"discovery.{name}")
    if kind == "static":
        _check_static(discovery.addresses, codecs, consumes)
    elif MSGPACK not in codecs and (consumes or listens or discovery.host):
        text = f'"embedded" speaks {MSGPACK}, which node.codecs leaves out: use "zookeeper" or "static"'
        raise ConfigError(text, path="discovery.kind")
    parse_address(discovery.address, path="discovery.address", port_zero=discovery.host)
    return discovery


def _check_static(addresses: tuple[str, ...], codecs: Collection[str], consumes: Collection[tuple[str, str]]) -> None:
    path = "discovery.addresses"
    if not addresses and consumes:
        raise ConfigError('kind "static" needs "host:port" of each provider', path=path)
    told = [_check_target(address, f"{path}[{index}]", codecs) for index, address in enumerate(addresses)]
    for module, group in consumes:
        if all(services and f"{module}-{group}" not in services for services in told):
            text = f"none of them provides module {module!r} as {group!r}: write provider:[{module}-{group}]"
            raise ConfigError(text, path=path)


def _check_target(text: str, path: str, codecs: Collection[str]) -> list[str]:
    """Return the "module-group" that a target is said to provide; none: its Hello will tell."""
    codec, mark, registration = text.partition("://")
    codec = codec if mark else MSGPACK
    check_codec(codec, path)
    if codec not in codecs:
        raise ConfigError(f"{text!r} is reached in {codec}, which node.codecs leaves out: add it there", path=path)
    if not mark:
        parse_address(text, path=path, port_zero=False)
        return []
    parts = [part.strip() for part in registration.split("|")]
    listed = re.fullmatch(r"provider:\[(.*)\]", parts[2]) if len(parts) >= 3 else None
    services = [one.strip() for one in listed[1].split(",")] if listed else []
    if not all(re.fullmatch(r"[^-]+-[^-]+", service) for service in services or [""]):
        text = f'write "{codec}://id | host:port | provider:[module-group]", as the provider registers itself'
        raise ConfigError(text, path=path)
    parse_address(parts[1], path=path, port_zero=False)
    return services


def _check_zookeeper(discovery: DiscoveryConfig, listens: Collection[str]) -> None:
    if set(listens) == {JSON}:
        text = f"a provider that listens in {JSON} alone is found in no ZooKeeper: add zfoo-java, or msgpack"
        raise ConfigError(text, path="listen")
    for address in discovery.address.split(","):
        parse_address(address.strip(), path="discovery.address", port_zero=False)
    root = discovery.root
    parts = root.split("/")[1:]
    if not root.startswith("/") or any(not part or part in {".", ".."} or part != part.strip() for part in parts):
        raise ConfigError(f'{root!r} is no path of ZooKeeper: write "/zfoo"', path="discovery.root")
    if bool(discovery.user) != bool(discovery.password):
        missing = "password" if discovery.user else "user"
        raise ConfigError("user and password are given together, or neither", path=f"discovery.{missing}")
    if ":" in discovery.user:
        raise ConfigError('contains ":", which ends the user in ZooKeeper', path="discovery.user")
    if discovery.acl not in ACL_SCOPES:
        text = f'{discovery.acl!r} is neither "all" nor "root" (as zfoo: only the root is closed to others)'
        raise ConfigError(text, path="discovery.acl", nearest=nearest_name(discovery.acl, ACL_SCOPES))
    for name in ("session_timeout_s", "call_timeout_s"):
        if not (getattr(discovery, name) > 0 and math.isfinite(getattr(discovery, name))):
            raise ConfigError(
                f"must be a finite number greater than 0, got {getattr(discovery, name)}", path=f"discovery.{name}"
            )
    if not (discovery.rejoin_grace_s >= 0 and math.isfinite(discovery.rejoin_grace_s)):
        raise ConfigError(
            f"must be a finite number, 0 or more, got {discovery.rejoin_grace_s}", path="discovery.rejoin_grace_s"
        )


_DEFAULTS: Final = DiscoveryConfig()
