"""The table [discovery]: what each kind takes."""

import pytest

from zfoo_py.config import NodeConfig
from zfoo_py.discovery_config import DiscoveryConfig, discovery_of
from zfoo_py.errors import ConfigError

SECRET = "-".join("hush")


def zookeeper(**more):
    return NodeConfig.build(provides=["visits"], discovery={"kind": "zookeeper", **more}).discovery


def test_zookeeper_has_zfoos_defaults():
    found = zookeeper()
    assert (found.address, found.root, found.session_timeout_s, found.call_timeout_s) == (
        "127.0.0.1:2181",
        "/zfoo",
        40.0,
        10.0,
    )
    assert found.grace_s == 45.0
    assert zookeeper(rejoin_grace_s=3.0).grace_s == 3.0
    assert zookeeper(address="a:1, b:2,c:3").address == "a:1, b:2,c:3"


def test_the_environment_and_a_short_text_say_it_too():
    config = NodeConfig.build({}, {"ZFOO_DISCOVERY__KIND": "zookeeper", "ZFOO_DISCOVERY__ROOT": "/shop"})
    assert (config.discovery.kind, config.discovery.root) == ("zookeeper", "/shop")
    assert NodeConfig.build(discovery="zookeeper").discovery.kind == "zookeeper"


def test_a_password_is_in_no_representation():
    found = zookeeper(user="me", password=SECRET)
    assert SECRET not in repr(found)
    assert SECRET not in repr(NodeConfig.build(discovery=found))


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"address": "a:1,b"}, "address"),
        ({"address": "a:0"}, "address"),
        ({"root": "zfoo"}, "root"),
        ({"root": "/"}, "root"),
        ({"root": "/a//b"}, "root"),
        ({"root": "/a/.."}, "root"),
        ({"user": "me"}, "password"),
        ({"password": "p"}, "user"),
        ({"user": "a:b", "password": "p"}, "user"),
        ({"acl": "rot"}, "acl"),
        ({"session_timeout_s": 0}, "session_timeout_s"),
        ({"call_timeout_s": float("inf")}, "call_timeout_s"),
        ({"rejoin_grace_s": -1}, "rejoin_grace_s"),
        ({"host": True}, "host"),
        ({"addresses": ["a:1"]}, "addresses"),
    ],
)
def test_what_is_wrong_names_its_key(more, key):
    with pytest.raises(ConfigError) as caught:
        zookeeper(**more)
    assert caught.value.path == f"discovery.{key}"


@pytest.mark.parametrize("kind", ["embedded", "static"])
def test_what_belongs_to_zookeeper_is_refused_elsewhere(kind):
    with pytest.raises(ConfigError) as caught:
        NodeConfig.build(discovery={"kind": kind, "user": "me"})
    assert caught.value.path == "discovery.user"


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("127.0.0.1:1", {"kind": "embedded", "address": "127.0.0.1:1"}),
        ("zookeeper", {"kind": "zookeeper"}),
        ("zookeeper://a:1,b:2", {"kind": "zookeeper", "address": "a:1,b:2"}),
        ("zookeeper://a:1/shop/blue", {"kind": "zookeeper", "address": "a:1", "root": "/shop/blue"}),
        ("zookeeper:///shop", {"kind": "zookeeper", "root": "/shop"}),
    ],
)
def test_the_short_text(text, table):
    assert discovery_of(text) == table


def test_another_url_is_refused():
    with pytest.raises(ConfigError, match="zookeeper://"):
        discovery_of("http://a:1")


@pytest.mark.parametrize("address", ["10.0.0.1", "10.0.0.1:9", "node.example", "[::1]", "[::1]:9"])
def test_an_announced_address_may_lack_its_port(address):
    assert NodeConfig.build(provides=["visits"], announce_address=address).announce_address == address


@pytest.mark.parametrize("address", ["a|b", "a:b", "::1", "provider1", "a/b"])
def test_an_announced_address_that_nobody_can_use_is_refused(address):
    with pytest.raises(ConfigError) as caught:
        NodeConfig.build(provides=["visits"], announce_address=address)
    assert caught.value.path == "server.announce_address"


def test_the_default_is_the_embedded_one():
    assert NodeConfig.build().discovery == DiscoveryConfig()


ONLY_JAVA = {"codecs": ["zfoo-java"]}


@pytest.mark.parametrize(
    ("path", "says", "config"),
    [
        ("discovery.kind", '"embedded" speaks msgpack', {"node": ONLY_JAVA, "consumer": [{"module": "visits"}]}),
        ("discovery.kind", '"embedded" speaks msgpack', {"node": ONLY_JAVA, "discovery": {"host": True}}),
        (
            "discovery.addresses[0]",
            "is reached in msgpack, which node.codecs leaves out",
            {"node": ONLY_JAVA, "discovery": {"kind": "static", "addresses": ["10.0.0.1:1"]}},
        ),
        (
            "discovery.addresses[0]",
            "is reached in zfoo-java, which node.codecs leaves out",
            {
                "node": {"codecs": ["msgpack"]},
                "discovery": {"kind": "static", "addresses": ["zfoo-java://a | 10.0.0.1:1 | provider:[m-m]"]},
            },
        ),
        (
            "listen",
            "a provider that listens in zfoo-json alone is found in no ZooKeeper",
            {
                "node": {"codecs": ["zfoo-json"]},
                "provider": [{"module": "visits"}],
                "listen": [{"address": "127.0.0.1:0", "codec": "zfoo-json"}],
                "discovery": {"kind": "zookeeper"},
            },
        ),
    ],
)
def test_what_this_node_does_not_speak_is_of_no_use_to_it(path, says, config):
    with pytest.raises(ConfigError) as caught:
        NodeConfig.build(config)
    assert caught.value.path == path
    assert says in str(caught.value)


def test_a_node_of_javas_alone_needs_no_discovery_while_it_seeks_and_serves_nobody():
    assert NodeConfig.build({"node": ONLY_JAVA}).discovery.kind == "embedded"


@pytest.mark.parametrize(
    ("addresses", "says"),
    [
        (["zfoo-java://10.0.0.1:1"], 'write "zfoo-java://id | host:port | provider:[module-group]"'),
        (["zfoo-java://a | 10.0.0.1:1 | provider:[visits]"], "as the provider registers itself"),
        (["zfoo-java://a | 10.0.0.1:1 | provider:[]"], "as the provider registers itself"),
        (["zfoo-java://a | 10.0.0.1:1 | provider:[visits-visits"], "as the provider registers itself"),
        (["zfoo-java://a | 10.0.0.1 | provider:[visits-visits]"], "has no port"),
        (["zfoo_java://a | 10.0.0.1:1 | provider:[visits-visits]"], "did you mean 'zfoo-java'"),
        (["zfoo-java://a | 10.0.0.1:1 | provider:[visits-blue]"], "provides module 'visits' as 'visits'"),
    ],
)
def test_a_java_provider_is_listed_with_its_registration(addresses, says):
    with pytest.raises(ConfigError) as caught:
        NodeConfig.build(consumes=["visits"], discovery={"kind": "static", "addresses": addresses})
    assert caught.value.path.startswith("discovery.addresses")
    assert says in str(caught.value)


def test_what_an_address_provides_its_hello_tells():
    addresses = [
        "zfoo-java://a | 10.0.0.1:1 | provider:[pages-pages, sessions-blue] | consumer:[random-x]",
        "10.0.0.1:2",
    ]
    consumes = ["pages", ("sessions", "blue"), "visits"]
    built = NodeConfig.build(consumes=consumes, discovery={"kind": "static", "addresses": addresses})
    assert built.discovery.addresses == tuple(addresses)
