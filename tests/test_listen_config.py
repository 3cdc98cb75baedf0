"""Which codecs a node speaks, and where it listens; every fault is one sentence with the key's path."""

from __future__ import annotations

import pytest

from zfoo_py.config import NodeConfig
from zfoo_py.errors import ConfigError
from zfoo_py.listen_config import CODECS, DEFAULT_SERVER_ADDRESS, Listen

VISITS = [{"module": "visits"}]
STATIC = {"kind": "static"}


def build(**more):
    return NodeConfig.build({"provider": VISITS, "discovery": STATIC, **more})


def test_a_node_speaks_everything_and_a_provider_listens_in_msgpack():
    built = build()
    assert (built.codecs, built.address, built.listen) == (CODECS, DEFAULT_SERVER_ADDRESS, ())


def test_codecs_have_one_order_however_they_are_written():
    assert build(node={"codecs": ["zfoo-java", "msgpack", "zfoo-java"]}).codecs == ("msgpack", "zfoo-java")
    assert NodeConfig.build(codecs=["zfoo-json"]).codecs == ("zfoo-json",)
    assert NodeConfig.build({}, {"ZFOO_NODE__CODECS": '["zfoo-java"]'}).codecs == ("zfoo-java",)


def test_without_msgpack_a_provider_has_the_listeners_that_are_named_and_no_other():
    built = build(node={"codecs": ["zfoo-java"]}, listen=[{"address": "127.0.0.1:0"}])
    assert (built.address, built.listen) == (None, (Listen("127.0.0.1:0", "zfoo-java"),))


def test_both_may_be_left_to_the_system():
    built = build(server={"address": "127.0.0.1:0"}, listen=[{"address": "127.0.0.1:0"}])
    assert (built.address, built.listen[0].address) == ("127.0.0.1:0", "127.0.0.1:0")


ONLY_JAVA = {"codecs": ["zfoo-java"]}
JAVA = {"address": "10.0.0.1:12400", "codec": "zfoo-java"}


@pytest.mark.parametrize(
    ("path", "says", "more"),
    [
        ("listen[0].codec", "'java' is no codec: msgpack, zfoo-java,", {"listen": [JAVA | {"codec": "java"}]}),
        ("listen[1]", "speaks zfoo-java, as listen[0] does", {"listen": [JAVA, {**JAVA, "address": "10.0.0.1:2"}]}),
        ("listen[0]", "msgpack is spoken at server.address: set that", {"listen": [{**JAVA, "codec": "msgpack"}]}),
        ("listen[0].address", "is server.address already", {"listen": [JAVA], "server": {"address": "10.0.0.1:12400"}}),
        ("listen[1].address", "is listen[0] already", {"listen": [JAVA, {**JAVA, "codec": "zfoo-json"}]}),
        ("listen[0].address", "has no port", {"listen": [{"address": "10.0.0.1"}]}),
        ("listen[0].address", "looks like a URL", {"listen": [{"address": "tcp://10.0.0.1:1"}]}),
        ("listen", "expected a list, got a table: its header has two brackets, [[ ]]", {"listen": JAVA}),
        ("listen[0].codec", "'zfoo-java' is not in node.codecs", {"listen": [JAVA], "node": {"codecs": ["msgpack"]}}),
        ("node.codecs[1]", "'java' is no codec", {"node": {"codecs": ["msgpack", "java"]}}),
        ("node.codecs", "could speak to nobody", {"node": {"codecs": []}}),
        ("server.address", "which node.codecs leaves out", {"node": ONLY_JAVA, "server": {"address": "10.0.0.1:1"}}),
        ("listen", "a provider has to listen: add [[listen]] with codec 'zfoo-java'", {"node": ONLY_JAVA}),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(path, says, more):
    with pytest.raises(ConfigError) as caught:
        build(**more)
    assert caught.value.path == path
    assert says in str(caught.value)


def test_the_nearest_codec_is_named():
    with pytest.raises(ConfigError) as caught:
        build(listen=[{**JAVA, "codec": "zfoo-jawa"}])
    assert caught.value.nearest == "zfoo-java"
