"""Where to connect or listen, and what is no address."""

from __future__ import annotations

import pytest

from zfoo_py.addresses import parse_address
from zfoo_py.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9000", "127.0.0.1", 9000),
        ("name.example:1", "name.example", 1),
        ("localhost:65535", "localhost", 65535),
        ("[::1]:9000", "::1", 9000),
        ("[fe80::1%eth0]:9000", "fe80::1%eth0", 9000),
        ("127.0.0.1:0", "127.0.0.1", 0),
    ],
)
def test_addresses_are_parsed_and_printed(text, host, port):
    address = parse_address(text)
    assert address == (host, port)
    assert (address.host, address.port, str(address)) == (host, port, text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has no port"),
        ("localhost", "has no port"),
        ("[::1]", "has no port"),
        ("tcp://localhost:1", "looks like a URL"),
        ("localhost:", "is no number from 0 to 65535"),
        ("localhost:65536", "is no number from 0 to 65535"),
        ("localhost: 1", "is no number from 0 to 65535"),
        ("localhost:1_0", "is no number from 0 to 65535"),
        ("localhost:\u0663", "is no number from 0 to 65535"),
        ("localhost:" + "9" * 5000, "is no number from 0 to 65535"),
        ("::1:9000", 'in brackets, "[::1]:9000"'),
        ("[localhost]:1", "is no IPv6 address"),
        ("[::1:1", "in brackets"),
        (":9000", 'has no host: "127.0.0.1:9000"'),
        ("a b:1", "is no host name"),
        ("user@host:1", "is no host name"),
        (9000, 'expected "host:port"'),
        (None, 'expected "host:port"'),
    ],
)
def test_what_is_no_address_is_refused_with_a_reason(text, why):
    with pytest.raises(ConfigError, match=r"^some\.key: ") as caught:
        parse_address(text, path="some.key")
    assert why in str(caught.value)


def test_port_zero_is_refused_where_one_connects():
    with pytest.raises(ConfigError, match="a place to connect to"):
        parse_address("localhost:0", port_zero=False)
    assert parse_address("localhost:1", port_zero=False).port == 1
