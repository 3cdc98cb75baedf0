"""Built-in packets have zfoo's ids and are there in every table."""

from __future__ import annotations

import pytest

from zfoo_py.protocol import common
from zfoo_py.protocol.common import MAY_NOT_HAVE_RUN, DirectoryChange, Error, ErrorCode, Hello, Message
from zfoo_py.protocol.packet import BUILT_IN, PacketTable


def test_ids_modules_and_fields():
    """zfoo.md section 2 for the modules native and common; architecture section 4 for zfoo_py's own."""
    found = {
        b.protocol_id: (b.module.id, b.module.name, b.packet_class.__name__, b.packet_class.__struct_fields__)
        for b in BUILT_IN.bindings()
    }
    first = ("wire_version", "kind", "node_id", "registration", "max_frame_bytes")
    hello = (*first, "capabilities", "token", "consumes", "weight")
    pairs = ("PairIntLong", "PairLong", "PairString", "PairLS")
    triples = ("TripleLong", "TripleString", "TripleLSS", "TripleLLS")
    assert found == {
        100: (2, "common", "Message", ("code", "message")),
        101: (2, "common", "Error", ("code", "message")),
        102: (2, "common", "Heartbeat", ()),
        103: (2, "common", "Ping", ()),
        104: (2, "common", "Pong", ("time",)),
        **{110 + index: (2, "common", name, ("key", "value")) for index, name in enumerate(pairs)},
        **{114 + index: (2, "common", name, ("left", "middle", "right")) for index, name in enumerate(triples)},
        150: (2, "common", "BrokerRegisterAsk", ("broker_type",)),
        32700: (126, "zfoo_py", "Hello", hello),
        32701: (126, "zfoo_py", "Draining", ()),
        32702: (126, "zfoo_py", "Cancel", ("signal_ids",)),
        32710: (126, "zfoo_py", "DirectoryRegister", ("text", "weight")),
        32711: (126, "zfoo_py", "DirectoryUnregister", ("text",)),
        32712: (126, "zfoo_py", "DirectoryWatch", ()),
        32713: (126, "zfoo_py", "DirectoryChange", ("joined", "left", "lost", "snapshot", "weights")),
        32720: (126, "zfoo_py", "AdminAnswer", ("document",)),
        32721: (126, "zfoo_py", "AdminStats", ()),
        32722: (126, "zfoo_py", "AdminExplain", ("module", "kind", "key")),
        32723: (126, "zfoo_py", "AdminExplainChange", ("version",)),
    }
    assert common.native.id == 1


def test_every_table_knows_them_but_does_not_list_them():
    table = PacketTable()
    assert table.binding(Message).protocol_id == 100
    assert table.by_id(101).packet_class is Error
    assert table.module("common") is table.module(2) is common.common
    assert list(table.bindings()) == []
    assert dict(table.modules) == {}


def test_the_built_in_table_is_whole():
    BUILT_IN.resolve()


def test_error_codes_say_whether_the_receiver_can_have_run():
    """Numbers are on the wire: they never change."""
    assert {code.name: code.value for code in ErrorCode} == {
        "RECEIVER_RAISED": 1,
        "BAD_PACKET": 2,
        "NOT_SERVED": 3,
        "NO_RECEIVER": 4,
        "OVERLOADED": 5,
        "DRAINING": 6,
        "EXPIRED": 7,
        "NO_ANSWER": 8,
        "ANSWER_TOO_LARGE": 10,
        "BAD_HELLO": 9,
        "ASK_CYCLE": 11,
    }
    assert 1 not in MAY_NOT_HAVE_RUN
    assert 8 not in MAY_NOT_HAVE_RUN
    assert {2, 3, 4, 5, 6, 7, 9, 11} == MAY_NOT_HAVE_RUN
    assert 4711 not in MAY_NOT_HAVE_RUN  # an application's own


def test_defaults_are_not_shared():
    first, second = DirectoryChange(), DirectoryChange()
    first.joined.append("x")
    assert second.joined == []
    assert Hello(1, "node").capabilities == []
    with pytest.raises(AttributeError):
        Hello(1, "node").kind = "client"
