"""What a node may be told, and by whom: arguments > environment > TOML file > defaults.

::

    [node]                                  [discovery]  # see zfoo_py.discovery_config
    id = "visits-1"                         kind = "embedded"             # or "static", "zookeeper"
    admin_path = "" # a Unix socket         [alerts]  # see zfoo_py.alert_limits
    ring_identity = "registration"          # where [[listen]] stands, and
    send_tracebacks = false                 # what `codecs` means: zfoo_py.listen_config
    codecs = ["msgpack", "zfoo-java", "zfoo-json"]
    [server]                                address = "127.0.0.1:12399"   # embedded: where it listens
    address = "127.0.0.1:0"                 host = false                  # embedded: this node hosts it
    weight = 1
    announce_address = ""
    [[listen]]                              addresses = []                # static: "host:port" of providers
    address = "127.0.0.1:12400"
    codec = "zfoo-java"                     # or "zfoo-json", for Java peers
    [[provider]]
    module = "visits"                       [app]
    name = "visits"                         imports = []                  # Python modules to load
                                            protocol_xml = ""             # zfoo's file that maps their packets
    [[consumer]]                            [modules.visits]              # packets mapped here, not in code
    module = "pages"                        id = 10
    provider = "pages"                      protocols = { 1100 = "visits:VisitAsk" }
    balancer = "cached-consistent-hash"     [limits]                      # see `Limits`
    options = { max_entries = 10_000 }

The environment has one variable per key, ``ZFOO_NODE__ID`` for ``node.id``. Texts are written as they are,
everything else as a TOML value (``ZFOO_PROVIDER='[{module = "visits"}]'``). An empty variable is not set.

Every fault is a `ConfigError` that carries the key's path and the nearest valid name.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from zfoo_py.addresses import parse_address
from zfoo_py.alert_limits import AlertLimits
from zfoo_py.discovery_config import DiscoveryConfig, checked_discovery, discovery_of
from zfoo_py.errors import ConfigError, nearest_name
from zfoo_py.listen_config import CODECS, MSGPACK, Listen, checked_address, checked_codecs, checked_listen
from zfoo_py.names import check_name
from zfoo_py.tables import check_keys, convert, keys_of

T = TypeVar("T", bound=msgspec.Struct)

# A key keeps its provider, and a known key costs one dict lookup. zfoo's default is the uncached one.
DEFAULT_BALANCER: Final = "cached-consistent-hash"

# Sixteen times another one's share: more than that apart, machines should not serve one module as equals. A provider of
# weight w has 200 w points on the ring, so one more of it costs each consumer a turn of w times 0.3 ms.
MAX_WEIGHT: Final = 16

# What a consumer's rings hash: the registration, as Java peers do, or the node's id alone.
RING_IDENTITIES: Final = ("registration", "node-id")

# -------------------------------------------------------------------------------- what a file may say


class Provide(msgspec.Struct, frozen=True):
    """A protocol module that this node serves, and the group (zfoo's provider) it serves it in."""

    module: str
    name: str = ""  # as the module


class Consume(msgspec.Struct, frozen=True):
    """A protocol module that this node calls, the group it calls and how it picks a provider of it."""

    module: str
    provider: str = ""  # as the module
    balancer: str = DEFAULT_BALANCER
    options: dict[str, Any] = {}  # of the balancer; `zfoo_py.consumer.policies` says which it has


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Every bound and wait of a node, all greater than zero; above each default stands its reason."""

    # zfoo's, for every ask (zfoo.md section 5).
    ask_timeout_s: float = 3.0
    # A provider process starts in about a second; ten cover a slow machine that starts a whole cluster at once.
    ready_timeout_s: float = 10.0
    # Hello is the first frame of a session; a peer silent for this long is a port scanner or hangs.
    hello_timeout_s: float = 5.0
    # Interval + timeout: a hanging peer is noticed within 10 s. zfoo needs up to 180 s and calls it meanwhile.
    heartbeat_interval_s: float = 5.0
    heartbeat_timeout_s: float = 5.0
    # `docker stop` kills 10 s after SIGTERM; what is not finished by then is lost anyway.
    drain_timeout_s: float = 10.0
    # TCP repeats a lost SYN after 1 s (RFC 6298): one loss is survived. Netty's 30 s would hold up a start.
    connect_timeout_s: float = 3.0
    # First retry soon, because a provider's restart is the usual case; then at most as rarely as zfoo's 5 s.
    reconnect_min_s: float = 0.1
    reconnect_max_s: float = 5.0
    # Twice zfoo's limit. 1 MB of empty arrays becomes 65 MB of objects, so that one frame stays under 130 MB.
    max_frame_bytes: int = 2 * 1024 * 1024
    # Strangers get little: what zfoo's WebSocket allows for one frame.
    max_client_frame_bytes: int = 64 * 1024
    # About 10 ms of a gigabit line: more than that waiting is a peer that does not read.
    outbox_limit_bytes: int = 1024 * 1024
    # 33,000 asks/s of which none is answered within the ask timeout.
    max_pending_asks: int = 100_000
    # 64 busy sessions fill the node's share, and one greedy session cannot.
    max_in_work_per_session: int = 1024
    max_in_work: int = 65_536
    # Behind the packet that holds a lane: at 0.7 ms each, the last of so many just begins within the ask timeout.
    max_waiting_per_lane: int = 4096
    # A second's work at 100,000 turns/s: a longer queue only delays the refusal.
    inbox_limit_messages: int = 100_000
    # `def` receivers wait rather than compute (the GIL sees to that): more than cores, few enough to read in a dump.
    workers: int = 8
    # Sessions accepted and dialled. Twice the ten thousand the design is measured with; below usual raised file limits.
    max_connections: int = 20_000
    # A fiftieth of the heartbeat's default wait, and what a person begins to notice.
    slow_turn_ms: float = 100.0
    # Both zfoo's, of its cached balancer: 100,000 keys, ten minutes after the last access.
    max_cache_entries: int = 100_000
    expire_after_access_s: float = 600.0


class _Node(msgspec.Struct, frozen=True):
    id: str = ""
    admin_path: str = ""
    ring_identity: str = RING_IDENTITIES[0]
    send_tracebacks: bool = False
    codecs: tuple[str, ...] = CODECS


class _Server(msgspec.Struct, frozen=True):
    address: str = ""
    weight: int = 1
    announce_address: str = ""


class _App(msgspec.Struct, frozen=True):
    imports: tuple[str, ...] = ()
    protocol_xml: str = ""


class _Module(msgspec.Struct, frozen=True):
    id: int
    protocols: Mapping[str | int, Any] = {}  # PacketTable.declare checks each entry


class _Document(msgspec.Struct, frozen=True):
    node: _Node = _Node()
    server: _Server = _Server()
    listen: tuple[Listen, ...] = ()
    provider: tuple[Provide, ...] = ()
    consumer: tuple[Consume, ...] = ()
    discovery: DiscoveryConfig = DiscoveryConfig()
    app: _App = _App()
    modules: dict[str, _Module] = {}
    limits: Limits = Limits()
    alerts: AlertLimits = AlertLimits()


class NodeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration of one node, checked and complete; plain values only.

    `address` is None for a node that does not listen. `modules` is what `PacketTable.declare` takes. `admin_path` is a
    Unix socket for ``zfoo-py stats``, ``route`` and ``ring``; "": none. `weight` is the node's share, in parts of those
    of other providers. `send_tracebacks`: whether an asker gets the traceback of a receiver that raised; it shows code
    and paths of this node, so by default only its type and text travel.
    `announce_address` is where others reach it, "host" or "host:port", if not at `address`: behind
    a translation of addresses, or where 0.0.0.0 stands for several interfaces; "": found out.
    `codecs` are those it speaks: without "msgpack" it has no address but those of `listen`, and a provider that speaks
    none of them is not dialled.
    `protocol_xml` is a file of zfoo's that maps the packets of the imported Python modules; "": none.
    """

    id: str = "node"
    address: str | None = None
    announce_address: str = ""
    weight: int = 1
    ring_identity: str = RING_IDENTITIES[0]
    listen: tuple[Listen, ...] = ()
    codecs: tuple[str, ...] = CODECS
    provides: tuple[Provide, ...] = ()
    consumes: tuple[Consume, ...] = ()
    discovery: DiscoveryConfig = DiscoveryConfig()
    imports: tuple[str, ...] = ()
    protocol_xml: str = ""
    modules: Mapping[str, Mapping[str, Any]] = {}
    limits: Limits = Limits()
    admin_path: str = ""
    send_tracebacks: bool = False
    alerts: AlertLimits = AlertLimits()

    @classmethod
    def from_toml(cls, path: str | Path, env: Mapping[str, str] | None = None, **arguments: object) -> NodeConfig:
        """Read a TOML file, then as `build`. `env` defaults to the process's; the id to the file's name.

        Raises:
            ConfigError: the file cannot be read, is no TOML, or says something wrong.
        """
        try:
            data = _parse_toml(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:  # missing, no UTF-8, no TOML
            raise ConfigError(f"cannot read {path} as TOML: {error}") from error
        return cls.build(data, os.environ if env is None else env, default_id=Path(path).stem, **arguments)

    @classmethod
    def build(
        cls,
        data: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        *,
        default_id: str = "node",
        **arguments: object,
    ) -> NodeConfig:
        """Merge `data` (as read from TOML), `env` and `arguments`, and check the whole.

        Arguments: id=, codecs=[codec], ring_identity=, address=, announce_address=, weight=, imports=, modules=,
        discovery=(kind | mapping | DiscoveryConfig), every limit by its name, provides=[module | name |
        (module, name) | Provide], consumes=[module | name | (module, provider) | (module, provider, balancer) |
        Consume], listen=[address | (address, codec) | Listen]. None means: not given. Lists replace, tables merge.

        Raises:
            ConfigError: with the key's path and the nearest valid name.
        """
        merged: dict[str, Any] = {}
        for layer in (data or {}, _from_environment(env or {}), _from_arguments(arguments)):
            _merge(merged, layer)
        check_keys(merged, _Document, "", elsewhere=_Document)
        document = convert(merged, _Document, "")
        provides, consumes = _services(document)
        for name in document.modules:
            check_name(name, "module", path=f"modules.{name}")
        codecs = checked_codecs(document.node.codecs)
        address = checked_address(document.server.address, codecs, is_provider=bool(provides))
        listen = checked_listen(document.listen, address, codecs, is_provider=bool(provides))
        listens = {row.codec for row in listen} | ({MSGPACK} if address is not None else set())
        for index, name in enumerate(document.app.imports):
            if not name.strip():
                raise ConfigError("is empty: name a Python module", path=f"app.imports[{index}]")
        return cls(
            id=check_name(document.node.id or default_id, "id", path="node.id"),
            address=address,
            announce_address=_checked_announce(document.server.announce_address),
            weight=_checked_weight(document.server.weight),
            ring_identity=_checked_identity(document.node.ring_identity),
            listen=listen,
            codecs=codecs,
            provides=provides,
            consumes=consumes,
            discovery=checked_discovery(
                document.discovery,
                codecs=codecs,
                listens=listens if provides else set(),
                consumes=[(consumed.module, consumed.provider) for consumed in consumes],
            ),
            imports=document.app.imports,
            protocol_xml=document.app.protocol_xml,
            modules={name: msgspec.structs.asdict(module) for name, module in document.modules.items()},
            limits=_checked_limits(document.limits),
            admin_path=document.node.admin_path,
            send_tracebacks=document.node.send_tracebacks,
            alerts=_positive(document.alerts, "alerts"),
        )


# ------------------------------------------------------------------------------------------- layers

# Where an argument stands in the document. Lists of these two kinds of rows may be written shorter there.
_ARGUMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "id": ("node", "id"),
    "address": ("server", "address"),
    "announce_address": ("server", "announce_address"),
    "admin_path": ("node", "admin_path"),
    "alerts": ("alerts",),
    "weight": ("server", "weight"),
    "ring_identity": ("node", "ring_identity"),
    "send_tracebacks": ("node", "send_tracebacks"),
    "codecs": ("node", "codecs"),
    "listen": ("listen",),
    "provides": ("provider",),
    "consumes": ("consumer",),
    "discovery": ("discovery",),
    "imports": ("app", "imports"),
    "protocol_xml": ("app", "protocol_xml"),
    "modules": ("modules",),
    **{name: ("limits", name) for name in Limits.__struct_fields__},
}
_ROWS: Final[Mapping[str, type[Provide | Consume | Listen]]] = {
    "provides": Provide,
    "consumes": Consume,
    "listen": Listen,
}


def _nested(keys: Iterable[str], value: object) -> dict[str, Any]:
    for key in reversed(tuple(keys)):
        value = {key: value}
    return value  # type: ignore[return-value]  # there is at least one key


def _merge(into: dict[str, Any], layer: Mapping[str, Any]) -> None:
    for key, value in layer.items():
        if isinstance(value, Mapping):
            below = into.get(key)
            into[key] = dict(below) if isinstance(below, Mapping) else {}
            _merge(into[key], value)
        else:
            into[key] = value


def _from_environment(env: Mapping[str, str]) -> dict[str, Any]:
    layer: dict[str, Any] = {}
    # Shallow names first, so that ZFOO_LIMITS__WORKERS wins over ZFOO_LIMITS.
    for variable in sorted((name for name in env if name.startswith("ZFOO_")), key=lambda name: name.count("__")):
        if not env[variable]:
            continue
        kind: Any = _Document
        value: Any = env[variable]
        keys = variable.removeprefix("ZFOO_").lower().split("__")
        for key in keys:
            known = keys_of(kind)
            if key not in known:
                raise ConfigError("no such setting", path=variable, nearest=nearest_name(variable, _variables()))
            kind = known[key]
        if kind is not str:
            try:
                (value,) = _parse_toml(f"value = {value}").values()  # a second value would be a second line
            except ValueError as error:
                raise ConfigError(f"{value!r} is no TOML value", path=variable) from error
        check_keys(value, kind, variable, elsewhere=_Document)
        convert(value, kind, variable)
        _merge(layer, _nested(keys, value))
    return layer


def _from_arguments(arguments: Mapping[str, object]) -> dict[str, Any]:
    layer: dict[str, Any] = {}
    for name, value in arguments.items():
        if name not in _ARGUMENTS:
            raise ConfigError("no such argument", path=name, nearest=nearest_name(name, _ARGUMENTS))
        if value is None:
            continue
        placed = value
        if name in _ROWS or name in ("imports", "codecs"):
            if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
                raise ConfigError(f"expected a list, got {value!r}: write {name}=[…]", path=name)
            placed = [_row(item, name) for item in value] if name in _ROWS else list(value)
        elif name in ("discovery", "alerts"):
            placed = msgspec.structs.asdict(value) if isinstance(value, DiscoveryConfig | AlertLimits) else value
            placed = (discovery_of(value) if "://" in value else {"kind": value}) if isinstance(value, str) else placed
        _merge(layer, _nested(_ARGUMENTS[name], placed))
    return layer


def _row(item: object, argument: str) -> dict[str, object]:
    """One entry of `provides`, `consumes` or `listen` as the table that TOML would hold."""
    keys = _ROWS[argument].__struct_fields__
    if isinstance(item, Provide | Consume | Listen):
        item = msgspec.structs.asdict(item)
    elif not isinstance(item, Mapping):
        parts = item if isinstance(item, tuple) else (item,)
        if not 1 <= len(parts) <= len(keys):
            raise ConfigError(f"expected ({', '.join(keys)}), got {item!r}", path=argument)
        item = dict(zip(keys, parts, strict=False))
    # A ProtocolModule has a name; config is below `protocol` and must not import it.
    return {key: getattr(value, "name", value) if key == "module" else value for key, value in item.items()}


# ------------------------------------------------------------------------------------------- checks


def _services(document: _Document) -> tuple[tuple[Provide, ...], tuple[Consume, ...]]:
    """Fill in the names that default to the module's, and refuse contradictions."""
    provides: dict[Provide, str] = {}
    for index, provide in enumerate(document.provider):
        path = f"provider[{index}]"
        check_name(provide.module, "module", path=f"{path}.module")
        named = Provide(provide.module, check_name(provide.name or provide.module, "provider", path=f"{path}.name"))
        if named in provides:
            text = f"module {named.module!r} is provided twice as {named.name!r} (first at {provides[named]})"
            raise ConfigError(f"{text}: remove one", path=path)
        provides[named] = path
    consumes: dict[str, tuple[Consume, str]] = {}
    for index, consume in enumerate(document.consumer):
        path = f"consumer[{index}]"
        check_name(consume.module, "module", path=f"{path}.module")
        provider = check_name(consume.provider or consume.module, "provider", path=f"{path}.provider")
        check_name(consume.balancer, "balancer", path=f"{path}.balancer")
        chosen = Consume(consume.module, provider, consume.balancer, consume.options)
        if consume.module in consumes:
            other, first = consumes[consume.module]
            key = next(
                (one for one in ("balancer", "options") if getattr(other, one) != getattr(chosen, one)), "provider"
            )
            both = f"{getattr(other, key)!r} and {getattr(chosen, key)!r}"
            how = "twice" if other == chosen else f"under two {key}s, {both}"
            text = f"module {consume.module!r} is consumed {how} (first at {first}): keep one"
            raise ConfigError(text, path=f"{path}.{key}")
        consumes[consume.module] = (chosen, path)
    return tuple(provides), tuple(chosen for chosen, _ in consumes.values())


def _checked_announce(address: str) -> str:
    path = "server.announce_address"
    if address:
        has_port = address.rpartition("]")[2].count(":") == 1
        check_name(parse_address(address if has_port else f"{address}:1", path=path).host, "address", path=path)
    return address


def _checked_weight(weight: int) -> int:
    if not 1 <= weight <= MAX_WEIGHT:
        text = f"must be 1 to {MAX_WEIGHT}, got {weight}: a provider of weight 2 gets twice the keys of one of weight 1"
        raise ConfigError(text, path="server.weight")
    return weight


def _checked_identity(name: str) -> str:
    if name not in RING_IDENTITIES:
        text = f'{name!r} is neither "registration", which Java peers share, nor "node-id"'
        raise ConfigError(text, path="node.ring_identity", nearest=nearest_name(name, RING_IDENTITIES))
    return name


def _positive(table: T, path: str) -> T:
    for name, value in msgspec.structs.asdict(table).items():
        if not (value > 0 and math.isfinite(value)):
            raise ConfigError(f"must be a finite number greater than 0, got {value}", path=f"{path}.{name}")
    return table


def _checked_limits(limits: Limits) -> Limits:
    _positive(limits, "limits")
    if limits.max_frame_bytes > 0x7FFFFFFF:
        text = "a frame's length is a signed 32-bit number: at most 2147483647"
        raise ConfigError(text, path="limits.max_frame_bytes")
    if limits.reconnect_min_s > limits.reconnect_max_s:
        text = f"{limits.reconnect_min_s} is more than reconnect_max_s ({limits.reconnect_max_s})"
        raise ConfigError(text, path="limits.reconnect_min_s")
    return limits


def _parse_toml(text: str) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 - 8 ms of `import zfoo_py` for those who read no TOML

    return tomllib.loads(text)


def _variables() -> list[str]:
    sections = keys_of(_Document)
    deep = [f"{name}__{key}" for name, kind in sections.items() for key in keys_of(kind)]
    return [f"ZFOO_{name}".upper() for name in (*deep, *sections)]
