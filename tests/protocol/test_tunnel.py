"""Frames of zfoo's tunnel, as Java zfoo writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.java_packets import TABLE, WIRE, packet_of
from zfoo_py.errors import DecodeError
from zfoo_py.protocol.framing import frame
from zfoo_py.protocol.tunnel import (
    TunnelHeartbeat,
    TunnelPacket,
    TunnelRegister,
    read_from_client,
    read_from_server,
    write_to_client,
    write_to_server,
)
from zfoo_py.protocol.zfoo_java_codec import encode


@pytest.mark.parametrize("entry", WIRE["tunnel"], ids=range(len(WIRE["tunnel"])))
def test_golden(entry):
    if entry["kind"] == "register":
        what = TunnelRegister(entry["sid"])
    elif entry["kind"] == "heartbeat":
        what = TunnelHeartbeat()
    else:
        attachment = entry["attachment"] and packet_of(entry["attachment"], entry["attachmentValues"])
        message = encode(packet_of(entry["packet"], entry["values"]), attachment, TABLE)
        what = TunnelPacket(entry["sid"], entry["uid"], message)
    to_server = entry["direction"].endswith("server")
    body = write_to_server(what) if to_server else write_to_client(what)
    assert frame(body).hex() == entry["hex"]
    assert (read_from_client if to_server else read_from_server)(body) == what


@given(st.binary(max_size=20))
def test_any_bytes(body):
    for read in (read_from_client, read_from_server):
        try:
            read(body)
        except DecodeError:
            pass
