"""Names, paths and data of ZooKeeper's nodes, as zfoo writes them (register.json both ways)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zfoo_py.consumer.messages import JAVA, JSON, MSGPACK, Target
from zfoo_py.consumer.zookeeper_nodes import (
    MAX_COMPLAINTS,
    MAX_CONSUMER_DATA_BYTES,
    MAX_NAME_CHARS,
    ByName,
    Complaints,
    Paths,
    Provider,
    consumer_data,
    provider_data,
    read_provider,
)
from zfoo_py.protocol.registration import Registration, ServiceName, Subscription, parse

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "register.json").read_text(encoding="utf-8"))
TEXT = "app | 10.0.0.1:9000 | provider:[visits-visits]"
PATHS = Paths("/zfoo")


def pairs(text, make):
    return tuple(make(*item.rsplit(":", 1)) for item in text.split(",")) if text else ()


BUILT = [vector for vector in VECTORS["built"] if "toString" in vector]


@pytest.mark.parametrize("vector", BUILT, ids=lambda vector: vector["id"])
def test_nodes_are_named_and_read_as_by_java(vector):
    provides, consumes = pairs(vector["providers"], ServiceName), pairs(vector["consumers"], Subscription)
    of = Registration(vector["id"], vector["address"], provides, consumes)
    assert of.text == vector["toString"]
    assert of.simple_text == vector["toProviderSimple"]
    uuid = vector["consumerUuidSample"]
    assert of.consumer_text(uuid) == vector["toConsumerStringPrefix"] + uuid
    found = read_provider(of.text, b"", is_java=True)
    back = vector["parsedBack"]
    if back["provider"] is None:
        assert found == "its name is no registration of a provider"
        return
    assert found == Provider(Target(of.text, back["provider"]["address"], JAVA), 1)
    named = [{"module": module, "provider": name} for module, name in parse(of.text).provides]
    assert named == back["provider"]["modules"]


def test_every_text_that_java_cannot_parse_is_skipped():
    skipped = 0
    for vector in VECTORS["parse"]:
        parsed = vector["parsed"]
        found = read_provider(vector["input"] or "", b"", is_java=True)
        if parsed is None or parsed["provider"] is None:
            assert isinstance(found, str)
            skipped += 1
        elif isinstance(found, Provider):
            assert found.target.address == parsed["provider"]["address"]
    assert skipped >= 3


def test_where_things_stand():
    assert PATHS.folders == ("/zfoo/provider", "/zfoo/consumer", "/zfoo/zfoo_py", "/zfoo/zfoo_py/provider")
    assert PATHS.of_provider(TEXT, {MSGPACK: "a:1"}) == f"/zfoo/zfoo_py/provider/{TEXT}"
    assert PATHS.of_provider(TEXT, {MSGPACK: "a:1", JAVA: "a:2"}) == f"/zfoo/provider/{TEXT}"


@pytest.mark.parametrize(
    ("listeners", "weight", "data", "target"),
    [
        ({MSGPACK: "10.0.0.1:9000"}, 1, b"", Target(TEXT, "10.0.0.1:9000")),
        ({MSGPACK: "10.0.0.1:9000"}, 2, b'{"weight":2}', Target(TEXT, "10.0.0.1:9000")),
        ({JAVA: "10.0.0.1:9000"}, 1, b"", Target(TEXT, "10.0.0.1:9000", JAVA)),
        (
            {JAVA: "10.0.0.1:9000", MSGPACK: "10.0.0.1:9001"},
            1,
            b'{"listeners":{"msgpack":"10.0.0.1:9001"}}',
            Target(TEXT, "10.0.0.1:9001"),
        ),
    ],
)
def test_what_is_written_is_read(listeners, weight, data, target):
    assert provider_data(TEXT, weight, listeners) == data
    assert read_provider(TEXT, data, is_java=JAVA in listeners) == Provider(target, weight)


@pytest.mark.parametrize(
    ("is_java", "said", "codecs", "reached"),
    [
        (True, {}, [JAVA], ("10.0.0.1:9000", JAVA)),
        (True, {}, [MSGPACK], None),
        (False, {}, [JAVA], None),
        (True, {MSGPACK: "10.0.0.1:9001"}, [JAVA], ("10.0.0.1:9000", JAVA)),
        (True, {MSGPACK: "10.0.0.1:9001"}, [JAVA, MSGPACK], ("10.0.0.1:9001", MSGPACK)),
        (True, {JSON: "10.0.0.1:9002"}, [JSON], ("10.0.0.1:9002", JSON)),
        (True, {MSGPACK: "nowhere"}, [JAVA], ("10.0.0.1:9000", JAVA)),  # what is not used may be anything
    ],
)
def test_a_codec_that_we_do_not_speak_is_none_of_our_business(is_java, said, codecs, reached):
    data = json.dumps({"listeners": said}).encode() if said else b""
    found = read_provider(TEXT, data, is_java=is_java, codecs=codecs)
    assert found == (reached and Provider(Target(TEXT, *reached), 1))


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("x" * (MAX_NAME_CHARS + 1), b"", "4097 characters"),
        (TEXT, b" " * 65537, "65537 bytes"),
        ("app", b"", "no registration"),
        (f"{TEXT} ", b"", "no registration"),
        ("app | provider:[visits-visits]", b"", "no registration"),
        (TEXT, b"[]", "cannot be read"),
        (TEXT, b"\xff", "cannot be read"),
        (TEXT, b'{"weight":"2"}', "cannot be read"),
        (TEXT, b'{"weight":0}', "weight is 0"),
        (TEXT, b'{"weight":17}', "weight is 17"),
        (TEXT, b'{"listeners":{"msgpack":"nowhere"}}', "nowhere"),
        (TEXT.replace(":9000", ":0"), b"", "port 0"),
        (TEXT.replace(":9000", ":99999"), b"", "99999"),
    ],
)
def test_what_cannot_be_used_says_why(name, data, says):
    found = read_provider(name, data, is_java=False)
    assert isinstance(found, str)
    assert says in found


def test_what_a_later_version_adds_is_ignored():
    assert read_provider(TEXT, b'{"version":9,"listeners":{"quic":"a:1"}}', is_java=False) == Provider(
        Target(TEXT, "10.0.0.1:9000"), 1
    )


@given(st.text(), st.binary(max_size=60), st.booleans())
def test_reading_never_raises(name, data, is_java):
    read_provider(name, data, is_java=is_java)
    read_provider(TEXT, data, is_java=is_java)


def test_a_consumers_data_is_a_sorted_json_list_that_zookeeper_takes():
    assert consumer_data([]) == b"[]"
    assert json.loads(consumer_data(["b | 1", "ä | 2", 'a"'])) == ['a"', "b | 1", "ä | 2"]
    many = consumer_data(f"app-{number:06} | 10.0.0.1:{number}" for number in range(60_000))
    assert MAX_CONSUMER_DATA_BYTES - 50 < len(many) <= MAX_CONSUMER_DATA_BYTES
    assert json.loads(many)[0].startswith("app-000000")


def test_names_are_read_once_and_a_text_in_both_folders_is_one_provider():
    known = ByName(("own", "java"))
    assert known.missing("own", ["b", "a"]) == ["a", "b"]
    own, java = Provider(Target("a", "1"), 2), Provider(Target("a", "2", JAVA), 1)
    known.put("java", "a", java)
    assert known.providers() == {java.target: 1}
    known.put("own", "a", own)
    known.put("own", "b", None)
    assert known.providers() == {own.target: 2}
    assert known.missing("own", ["b", "c"]) == ["c"]
    assert known.providers() == {java.target: 1}
    known.forget("own", "b")
    assert known.missing("own", ["b"]) == ["b"]


def test_a_node_is_complained_of_once_a_minute_in_one_harmless_line():
    complaints = Complaints()
    assert complaints.line("a\n\x1bb", "why", 0.0) == "the node 'a??b' is skipped: why"
    assert complaints.line("a\n\x1bb", "why", 59.9) == ""
    assert complaints.line("other", "why", 59.9)
    assert complaints.line("a\n\x1bb", "why", 60.0)
    assert len(complaints.line("x" * 1_000_000, "why", 0.0)) < 300
    for number in range(3 * MAX_COMPLAINTS):
        complaints.line(str(number), "why", 100.0)
        assert len(complaints._said_at_s) <= MAX_COMPLAINTS
