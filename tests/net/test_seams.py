"""What stands on the other side of the seams keeps to them."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from tests.support.connection import RecordingConnection
from zfoo_py.net import tcp_io
from zfoo_py.net.seams import Connection, Listening, Network
from zfoo_py.net.tcp_io import Listener, TcpConnection
from zfoo_py.testing import MemoryListener, MemoryNetwork


def members(protocol):
    return {name for name, value in vars(protocol).items() if inspect.isfunction(value) and not name.startswith("_")}


def made(kind):
    """Return an instance where attributes are made by __init__."""
    if kind is TcpConnection:
        return TcpConnection(None, 1, 1, lambda _: None)
    return RecordingConnection()


@pytest.mark.parametrize("kind", [TcpConnection, RecordingConnection])
def test_connections_have_what_a_session_uses(kind):
    connection = made(kind)
    for name in members(Connection):
        ours = inspect.signature(getattr(connection, name))
        theirs = inspect.signature(getattr(Connection, name))
        assert list(ours.parameters) == [each for each in theirs.parameters if each != "self"], name
    for name in Connection.__annotations__:
        assert hasattr(connection, name)
    assert connection.is_full is False


@pytest.mark.parametrize("network", [tcp_io, MemoryNetwork()])
def test_networks_listen_and_dial(network):
    for name in members(Network):
        assert asyncio.iscoroutinefunction(getattr(network, name))
        ours = list(inspect.signature(getattr(network, name)).parameters)
        assert ours == [each for each in inspect.signature(getattr(Network, name)).parameters if each != "self"]


@pytest.mark.parametrize("kind", [Listener, MemoryListener])
def test_listeners_close(kind):
    assert members(Listening) == {"close"}
    assert asyncio.iscoroutinefunction(kind.close)
