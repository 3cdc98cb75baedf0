"""The peer's Hello, judged."""

from __future__ import annotations

import pytest

from zfoo_py.net.handshake import WIRE_VERSION, fault_of, served_modules
from zfoo_py.protocol.common import Hello

TEXT = "a | 10.0.0.1:1 | provider:[visits-visits]"


@pytest.mark.parametrize("announced", [None, TEXT])
def test_a_right_hello_has_no_fault(announced):
    assert fault_of(Hello(WIRE_VERSION, "node", "a", TEXT), announced, "10.0.0.1:1") == ""


def test_a_client_needs_no_registration():
    assert fault_of(Hello(WIRE_VERSION, "client"), None, "p") == ""


def test_what_a_newer_peer_adds_is_ignored():
    hello = Hello(WIRE_VERSION, "node", capabilities=["telepathy"], token=b"secret", max_frame_bytes=7)
    assert fault_of(hello, None, "p") == ""


@pytest.mark.parametrize(
    ("hello", "announced", "text"),
    [
        (Hello(WIRE_VERSION + 1, "node"), None, f"wire version {WIRE_VERSION + 1} cannot talk to"),
        (Hello(0, "node"), None, "wire version 0 cannot talk to"),
        (Hello(WIRE_VERSION, "Node"), None, "not 'Node'"),
        (Hello(WIRE_VERSION, ""), None, "not ''"),
        (Hello(WIRE_VERSION, "node", weight=0), None, "the weight of a provider is 1 to 16, not 0"),
        (Hello(WIRE_VERSION, "node", weight=17), None, "the weight of a provider is 1 to 16, not 17"),
        (Hello(WIRE_VERSION, "node", "a", TEXT), TEXT.replace(" | ", "|"), "another node uses this address now"),
        (Hello(WIRE_VERSION, "node", "a", ""), TEXT, "another node uses this address now"),
        (Hello(WIRE_VERSION, "node", "a", "a | b | provider:[x]"), None, "cannot be read"),
    ],
)
def test_each_fault_is_a_sentence(hello, announced, text):
    """The announced text counts byte for byte: another spelling of the same registration is another node."""
    assert text in fault_of(hello, announced, "10.0.0.1:1")


PROVIDES = frozenset({("visits", "blue"), ("visits", "green"), ("pages", "pages")})


@pytest.mark.parametrize(
    ("consumes", "served"),
    [
        ((), {"visits", "pages"}),
        (("visits-blue", "pages-pages"), {"visits", "pages"}),
        (("visits-red", "pages-pages"), {"pages"}),
        (("visits-red", "visits-green"), {"visits", "pages"}),
        (("chat-chat", "nonsense", ""), {"visits", "pages"}),
        (("visits", "pages-"), set()),
        (("visits-green-2", "pages-pages"), {"pages"}),
    ],
)
def test_a_peer_is_served_the_modules_it_consumes_in_a_group_that_is_provided(consumes, served):
    assert served_modules(PROVIDES, consumes) == served


def test_sessions_alike_share_what_they_serve():
    assert served_modules(PROVIDES, ("visits-red",)) is served_modules(PROVIDES, ("visits-red",))
