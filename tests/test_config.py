"""Configuration: layers and their order, defaults, and errors that name the key and the nearest valid name."""

from __future__ import annotations

import math
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zfoo_py.config import (
    DEFAULT_BALANCER,
    Consume,
    Limits,
    NodeConfig,
    Provide,
)
from zfoo_py.discovery_config import DEFAULT_DISCOVERY_ADDRESS, DiscoveryConfig
from zfoo_py.errors import ConfigError

# What a ProtocolModule looks like from here.
VISITS = SimpleNamespace(name="visits", id=10)
WHOLE_FILE = """
[node]
id = "web-1"
[server]
address = "127.0.0.1:9000"
[[provider]]
module = "visits"
[[provider]]
module = "sessions"
name = "eu"
[[consumer]]
module = "pages"
[[consumer]]
module = "sessions"
provider = "us"
balancer = "random"
[discovery]
kind = "static"
addresses = ["10.0.0.1:9000", "[::1]:9001"]
[app]
imports = ["visits", "shop.pages"]
[modules.visits]
id = 10
protocols = { 1100 = "visits:VisitAsk", 1101 = { class = "visits:VisitAnswer", idempotent = true } }
[limits]
ask_timeout_s = 1
workers = 2
"""


def fault(data: dict | None = None, env: dict | None = None, **arguments) -> ConfigError:
    """Build a configuration that must be refused, and return why."""
    with pytest.raises(ConfigError) as caught:
        NodeConfig.build(data, env, **arguments)
    assert str(caught.value).startswith(caught.value.path)
    return caught.value


# ------------------------------------------------------------------------------------------------ layers
def test_a_whole_file_is_understood(tmp_path):
    path = tmp_path / "provider.toml"
    path.write_text(WHOLE_FILE, encoding="utf-8")
    assert NodeConfig.from_toml(path, env={}) == NodeConfig(
        id="web-1",
        address="127.0.0.1:9000",
        provides=(Provide("visits", "visits"), Provide("sessions", "eu")),
        consumes=(Consume("pages", "pages", DEFAULT_BALANCER), Consume("sessions", "us", "random")),
        discovery=DiscoveryConfig(kind="static", addresses=("10.0.0.1:9000", "[::1]:9001")),
        imports=("visits", "shop.pages"),
        modules={
            "visits": {
                "id": 10,
                "protocols": {"1100": "visits:VisitAsk", "1101": {"class": "visits:VisitAnswer", "idempotent": True}},
            }
        },
        limits=Limits(ask_timeout_s=1, workers=2),
    )


def test_nothing_said_is_a_node_that_neither_provides_nor_listens():
    config = NodeConfig.build({}, {})
    assert config == NodeConfig() == NodeConfig.build()
    assert (config.id, config.address, config.provides, config.consumes) == ("node", None, (), ())
    assert config.discovery == DiscoveryConfig("embedded", DEFAULT_DISCOVERY_ADDRESS, (), host=False)
    assert DEFAULT_DISCOVERY_ADDRESS == "127.0.0.1:12399"


def test_the_limits_are_the_documented_ones():
    assert msgspec.structs.asdict(NodeConfig.build().limits) == {
        "ask_timeout_s": 3.0,
        "ready_timeout_s": 10.0,
        "hello_timeout_s": 5.0,
        "heartbeat_interval_s": 5.0,
        "heartbeat_timeout_s": 5.0,
        "drain_timeout_s": 10.0,
        "connect_timeout_s": 3.0,
        "reconnect_min_s": 0.1,
        "reconnect_max_s": 5.0,
        "max_frame_bytes": 2_097_152,
        "max_client_frame_bytes": 65_536,
        "outbox_limit_bytes": 1_048_576,
        "max_pending_asks": 100_000,
        "max_in_work_per_session": 1024,
        "max_in_work": 65_536,
        "max_waiting_per_lane": 4096,
        "inbox_limit_messages": 100_000,
        "workers": 8,
        "slow_turn_ms": 100.0,
        "max_connections": 20_000,
        "max_cache_entries": 100_000,
        "expire_after_access_s": 600.0,
    }


def test_arguments_win_over_environment_over_file_over_defaults():
    data = {"limits": {"workers": 1, "max_in_work": 1, "max_connections": 1}, "node": {"id": "file"}}
    env = {"ZFOO_LIMITS__WORKERS": "2", "ZFOO_LIMITS__MAX_IN_WORK": "2", "ZFOO_NODE__ID": "env"}
    config = NodeConfig.build(data, env, workers=3, id="argument")
    assert (config.limits.workers, config.limits.max_in_work, config.limits.max_connections) == (3, 2, 1)
    assert config.limits.max_pending_asks == 100_000
    assert config.id == "argument"
    assert NodeConfig.build(data, env).id == "env"
    assert NodeConfig.build(data).id == "file"
    assert data["limits"] == {"workers": 1, "max_in_work": 1, "max_connections": 1}, "the caller's data was changed"


def test_lists_replace_and_tables_merge():
    data = {"provider": [{"module": "a"}], "discovery": {"host": True, "address": "127.0.0.1:1"}}
    env = {
        "ZFOO_DISCOVERY": '{address = "127.0.0.1:2"}',
        "ZFOO_PROVIDER": '[{module = "b", name = "x"}, {module = "c"}]',
    }
    config = NodeConfig.build(data, env)
    assert config.provides == (Provide("b", "x"), Provide("c", "c"))
    assert config.discovery == DiscoveryConfig(host=True, address="127.0.0.1:2")
    assert NodeConfig.build(data, env, provides=[]).provides == ()


def test_the_id_defaults_to_the_files_name(tmp_path):
    path = tmp_path / "visits-eu.toml"
    path.write_text("", encoding="utf-8")
    assert NodeConfig.from_toml(path, env={}).id == "visits-eu"
    assert NodeConfig.from_toml(str(path), env={}, id="other").id == "other"
    assert NodeConfig.build(default_id="visits").id == "visits"


def test_from_toml_reads_the_processs_environment_unless_told_otherwise(tmp_path, monkeypatch):
    path = tmp_path / "a.toml"
    path.write_text("", encoding="utf-8")
    monkeypatch.setenv("ZFOO_NODE__ID", "from-env")
    assert NodeConfig.from_toml(path).id == "from-env"
    assert NodeConfig.from_toml(path, env={}).id == "a"


def test_a_provider_without_address_gets_a_port_of_the_systems_choice():
    assert NodeConfig.build(provides=["visits"]).address == "127.0.0.1:0"
    assert NodeConfig.build(provides=["visits"], address="0.0.0.0:7").address == "0.0.0.0:7"
    assert NodeConfig.build(address="0.0.0.0:7").address == "0.0.0.0:7"


def test_a_configuration_cannot_be_changed():
    config = NodeConfig.build()
    for target in (config, config.limits, config.discovery, Provide("a"), Consume("a")):
        with pytest.raises(AttributeError):
            setattr(target, target.__struct_fields__[0], 1)


# ------------------------------------------------------------------------------------------------ arguments
@pytest.mark.parametrize(
    "item", [VISITS, "visits", ("visits",), (VISITS, "visits"), Provide("visits"), {"module": VISITS, "name": "visits"}]
)
def test_every_way_to_say_what_is_provided(item):
    assert NodeConfig.build(provides=[item]).provides == (Provide("visits", "visits"),)
    assert NodeConfig.build(provides=(item,)).provides == (Provide("visits", "visits"),)


@pytest.mark.parametrize(
    "item",
    [
        (VISITS, "eu", "random"),
        ("visits", "eu", "random"),
        Consume("visits", "eu", "random"),
        {"module": "visits", "provider": "eu", "balancer": "random"},
    ],
)
def test_every_way_to_say_what_is_consumed(item):
    assert NodeConfig.build(consumes=[item]).consumes == (Consume("visits", "eu", "random"),)
    assert NodeConfig.build(consumes=[VISITS]).consumes == (Consume("visits", "visits", DEFAULT_BALANCER),)
    assert NodeConfig.build(consumes=[(VISITS, "eu")]).consumes == (Consume("visits", "eu", DEFAULT_BALANCER),)


@pytest.mark.parametrize(
    "discovery",
    [
        {"kind": "static", "addresses": ["a:1"]},
        DiscoveryConfig("static", addresses=("a:1",)),
    ],
)
def test_every_way_to_say_where_discovery_is(discovery):
    assert NodeConfig.build(discovery=discovery).discovery == DiscoveryConfig("static", addresses=("a:1",))
    config = NodeConfig.build({"discovery": {"addresses": ["b:2"]}}, discovery="static")
    assert config.discovery.addresses == ("b:2",)


def test_the_other_arguments_are_understood():
    modules = {"visits": {"id": 10, "protocols": {1100: "visits:VisitAsk"}}}
    config = NodeConfig.build(imports=("a", "b"), modules=modules, ask_timeout_s=7)
    assert (config.imports, config.modules, config.limits.ask_timeout_s) == (("a", "b"), modules, 7.0)


def test_none_means_not_given():
    nothing = dict.fromkeys(("id", "address", "provides", "consumes", "discovery", "imports", "modules", "workers"))
    assert NodeConfig.build({"node": {"id": "x"}}, **nothing) == NodeConfig(id="x")


@pytest.mark.parametrize(
    ("arguments", "path", "nearest"),
    [
        ({"worker": 3}, "worker", "workers"),
        ({"provide": ["visits"]}, "provide", "provides"),
        ({"limits": 3}, "limits", "imports"),
        ({"provides": "visits"}, "provides", None),
        ({"provides": {"module": "visits"}}, "provides", None),
        ({"consumes": 3}, "consumes", None),
        ({"imports": "visits"}, "imports", None),
        ({"provides": [("a", "b", "c")]}, "provides", None),
        ({"consumes": [()]}, "consumes", None),
        ({"provides": [3]}, "provider[0].module", None),
        ({"provides": ["a", {"name": "b"}]}, "provider[1]", None),
        ({"consumes": [{"modul": "b"}]}, "consumer[0].modul", "module"),
        ({"discovery": 3}, "discovery", None),
        ({"discovery": "sttic"}, "discovery.kind", "static"),
        ({"modules": 3}, "modules", None),
        ({"address": 3}, "server.address", None),
        ({"id": 3}, "node.id", None),
        ({"id": " a"}, "node.id", None),
        ({"workers": True}, "limits.workers", None),
        ({"workers": 0}, "limits.workers", None),
    ],
)
def test_wrong_arguments_are_refused(arguments, path, nearest):
    error = fault(**arguments)
    assert (error.path, error.nearest) == (path, nearest)


# ---------------------------------------------------------------------------------------------- environment
def test_the_environment_holds_texts_and_toml_values():
    env = {
        "ZFOO_NODE__ID": "3",
        "ZFOO_SERVER__ADDRESS": "0.0.0.0:9000",
        "ZFOO_DISCOVERY__HOST": "true",
        "ZFOO_LIMITS__ASK_TIMEOUT_S": "0.5",
        "ZFOO_LIMITS__WORKERS": "4",
        "ZFOO_APP__IMPORTS": '["a", "b"]',
        "ZFOO_CONSUMER": '[{module = "visits", balancer = "random"}]',
        "ZFOO_MODULES": '{Visits = {id = 10, protocols = {1100 = "v:Ask"}}}',
        "ZFOO_DISCOVERY__ADDRESS": "",
        "PATH": "/bin",
    }
    config = NodeConfig.build({}, env)
    assert (config.id, config.address, config.imports) == ("3", "0.0.0.0:9000", ("a", "b"))
    assert (config.limits.ask_timeout_s, config.limits.workers) == (0.5, 4)
    assert config.discovery == DiscoveryConfig(host=True)
    assert config.consumes == (Consume("visits", "visits", "random"),)
    assert config.modules == {"Visits": {"id": 10, "protocols": {"1100": "v:Ask"}}}


@pytest.mark.parametrize("names", [("ZFOO_LIMITS", "ZFOO_LIMITS__WORKERS"), ("ZFOO_LIMITS__WORKERS", "ZFOO_LIMITS")])
def test_the_variable_of_one_key_wins_over_that_of_its_table(names):
    values = {"ZFOO_LIMITS": "{workers = 4, max_in_work = 5}", "ZFOO_LIMITS__WORKERS": "6"}
    limits = NodeConfig.build({}, {name: values[name] for name in names}).limits
    assert (limits.workers, limits.max_in_work) == (6, 5)


@pytest.mark.parametrize(
    ("name", "value", "path", "nearest"),
    [
        ("ZFOO_LIMIT__WORKERS", "3", "", "ZFOO_LIMITS__WORKERS"),
        ("ZFOO_LIMITS__WORKER", "3", "", "ZFOO_LIMITS__WORKERS"),
        ("ZFOO_NODE_ID", "x", "", "ZFOO_NODE__ID"),
        ("ZFOO_NODE__ID__X", "x", "", "ZFOO_NODE__ID"),
        ("ZFOO_MODULES__A", "x", "", "ZFOO_MODULES"),
        ("ZFOO_", "x", "", "ZFOO_APP"),
        ("ZFOO_LIMITS__WORKERS", "many", "", None),
        ("ZFOO_LIMITS__WORKERS", '"3"', "", None),
        ("ZFOO_LIMITS__WORKERS", "3\nx = 4", "", None),
        ("ZFOO_LIMITS__WORKERS", "2.5", "", None),
        ("ZFOO_DISCOVERY__HOST", "yes", "", None),
        ("ZFOO_NODE", "x", "", None),
        ("ZFOO_PROVIDER", '[{module = "a", nam = "b"}]', "[0].nam", "name"),
        ("ZFOO_PROVIDER", "[{module = 3}]", "[0].module", None),
        ("ZFOO_MODULES", '{v = {id = "x"}}', ".v.id", None),
    ],
)
def test_wrong_variables_are_named(name, value, path, nearest):
    error = fault({}, {name: value})
    assert (error.path, error.nearest) == (name + path, nearest)


# ---------------------------------------------------------------------------------------- files and their keys
def test_a_file_that_cannot_be_read_is_named(tmp_path):
    cases = {
        "missing.toml": None,
        "broken.toml": b"[node",
        "latin.toml": b'[node]\nid = "\xe9"',
        "twice.toml": b"a=1\na=2",
    }
    for name, content in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match=name):
            NodeConfig.from_toml(tmp_path / name, env={})


@pytest.mark.parametrize(
    ("data", "path", "nearest", "text"),
    [
        ({"nod": {}}, "nod", "node", "no such key"),
        ({"node": {"Id": "x"}}, "node.Id", "id", "no such key"),
        ({"node": {"address": "x:1"}}, "node.address", "server.address", "no such key"),
        ({3: 3}, "3", None, "no such key"),
        (
            {"consumer": [{"module": "a"}, {"module": "b", "balancr": "x"}]},
            "consumer[1].balancr",
            "balancer",
            "no such",
        ),
        ({"limits": {"ask_timeout": 3}}, "limits.ask_timeout", "ask_timeout_s", "no such key"),
        ({"modules": {"v": {"id": 1, "protocol": {}}}}, "modules.v.protocol", "protocols", "no such key"),
        ({"node": 3}, "node", None, "expected a table, got 3"),
        ({"provider": {"module": "x"}}, "provider", None, "expected a list, got a table"),
        ({"provider": [3]}, "provider[0]", None, "expected a table, got 3"),
        ({"provider": [{}]}, "provider[0]", None, "the key 'module' is missing"),
        ({"provider": [{"module": 3}]}, "provider[0].module", None, "expected a text, got an integer"),
        ({"discovery": {"host": 1}}, "discovery.host", None, "expected bool, got an integer"),
        ({"discovery": {"addresses": "a:1"}}, "discovery.addresses", None, "expected a list, got a text"),
        ({"limits": {"workers": "3"}}, "limits.workers", None, "expected an integer, got a text"),
        ({"limits": {"workers": True}}, "limits.workers", None, "expected an integer, got bool"),
        ({"modules": {"v": {"id": "x"}}}, "modules.v.id", None, "expected an integer, got a text"),
        ({"modules": {"v": {"protocols": {}}}}, "modules.v", None, "the key 'id' is missing"),
        ({"modules": {"v": {"id": 3, "protocols": []}}}, "modules.v.protocols", None, "expected a table, got a list"),
        ({"modules": {"a-b": {"id": 3}}}, "modules.a-b", None, "write 'a_b'"),
        ({"app": {"imports": ["a", " "]}}, "app.imports[1]", None, "name a Python module"),
        ({"node": {"id": "a/b"}}, "node.id", None, "contains '/'"),
        ({"server": {"address": "host"}}, "server.address", None, "has no port"),
        ({"server": {"address": "provider.host:1"}}, "server.address", None, "begins with 'provider'"),
        ({"provider": [{"module": "a-b"}]}, "provider[0].module", None, "write 'a_b'"),
        ({"provider": [{"module": "a", "name": "x,y"}]}, "provider[0].name", None, "contains ','"),
        ({"consumer": [{"module": "a|b"}]}, "consumer[0].module", None, "contains '|'"),
        ({"consumer": [{"module": "a", "provider": "x-y"}]}, "consumer[0].provider", None, "write 'x_y'"),
        ({"consumer": [{"module": "a", "balancer": "x]"}]}, "consumer[0].balancer", None, "contains ']'"),
        ({"discovery": {"kind": "Static"}}, "discovery.kind", "static", "is no kind of discovery"),
        ({"discovery": {"address": "nowhere"}}, "discovery.address", None, "has no port"),
        ({"discovery": {"address": "127.0.0.1:0"}}, "discovery.address", None, "port 0 means 'choose one'"),
    ],
)
def test_wrong_keys_types_and_names_are_refused(data, path, nearest, text):
    error = fault(data)
    assert (error.path, error.nearest) == (path, nearest)
    assert text in str(error)


@pytest.mark.parametrize("name", Limits.__struct_fields__)
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_every_limit_is_a_finite_number_above_zero(name, value):
    assert fault({"limits": {name: value}}).path == f"limits.{name}"


# ------------------------------------------------------------------------------------------- contradictions
def consumers(*rows: tuple[str, ...]) -> dict:
    keys = ("module", "provider", "balancer")
    return {"consumer": [dict(zip(keys, row, strict=False)) for row in rows]}


def static(**more) -> dict:
    return {"discovery": {"kind": "static", **more}}


@pytest.mark.parametrize(
    ("data", "path", "text"),
    [
        (consumers(("a", "a", "random"), ("b",), ("a",)), "consumer[2].balancer", "under two balancers, 'random' and"),
        (
            consumers(("a",), ("a", "eu")),
            "consumer[1].provider",
            "under two providers, 'a' and 'eu' (first at consumer[0])",
        ),
        (consumers(("a",), ("a",)), "consumer[1].provider", "consumed twice"),
        ({"provider": [{"module": "a"}, {"module": "a", "name": "a"}]}, "provider[1]", "provided twice as 'a'"),
        (static() | consumers(("a",)), "discovery.addresses", "needs"),
        (static(host=True, addresses=["a:1"]), "discovery.host", "only kind"),
        (static(addresses=["a:1", "b:0"]), "discovery.addresses[1]", "port 0"),
        ({"discovery": {"addresses": ["a:1"]}}, "discovery.addresses", "belongs to kind"),
        ({"limits": {"reconnect_min_s": 9}}, "limits.reconnect_min_s", "more than reconnect_max_s"),
        ({"limits": {"max_frame_bytes": 2**31}}, "limits.max_frame_bytes", "2147483647"),
    ],
)
def test_contradictions_are_refused(data, path, text):
    error = fault(data)
    assert error.path == path
    assert text in str(error)


def test_what_only_looks_like_a_contradiction_is_allowed():
    twice = {"provider": [{"module": "a"}, {"module": "a", "name": "eu"}, {"module": "b", "name": "eu"}]}
    assert len(NodeConfig.build(twice).provides) == 3
    assert len(NodeConfig.build(consumers(("a", "eu", "random"), ("b", "eu"))).consumes) == 2
    assert NodeConfig.build({"discovery": {"host": True, "address": "127.0.0.1:0"}}).discovery.host
    assert NodeConfig.build(static() | {"provider": [{"module": "a"}]}).discovery.addresses == ()
    assert NodeConfig.build({"limits": {"max_frame_bytes": 2**31 - 1, "reconnect_min_s": 5}})


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.sampled_from(["a", "a:1"])),
    lambda below: st.one_of(
        st.lists(below, max_size=2),
        st.dictionaries(
            st.sampled_from(["id", "module", "kind", "address", "workers", "protocols", "x"]), below, max_size=2
        ),
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(["node", "server", "provider", "consumer", "discovery", "app", "modules", "limits"]), VALUES
    ),
    st.dictionaries(st.sampled_from(["ZFOO_NODE__ID", "ZFOO_LIMITS", "ZFOO_CONSUMER", "ZFOO_X"]), st.text(max_size=5)),
    st.dictionaries(
        st.sampled_from(["id", "provides", "consumes", "discovery", "modules", "imports", "workers"]), VALUES
    ),
)
def test_whatever_is_said_is_understood_or_refused_with_config_error(data, env, arguments):
    try:
        config = NodeConfig.build(data, env, **arguments)
    except ConfigError:
        return
    assert config.id
    assert config.limits.workers > 0
