"""samples/java_cluster as its TOML files say, but for the server's port and the root."""

from __future__ import annotations

from tests.support.java_cluster import Programs, expected, registrations
from zfoo_py.testing.zookeeper import free_ports


def test_each_key_goes_where_javas_ring_says(shared):
    """Both providers stand where Java nodes look for them, with the address of their zfoo-java listener."""
    where = {"ZFOO_DISCOVERY__ADDRESS": shared.address, "ZFOO_DISCOVERY__ROOT": "/java_cluster"}
    ports = free_ports(2)
    texts = registrations(ports)
    with Programs() as programs:
        for name, port in zip(texts, ports, strict=True):
            programs.provide(name, port, **where)
        assert programs.consume(**where) == expected(texts)
