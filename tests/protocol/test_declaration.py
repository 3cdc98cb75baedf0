"""A TOML declaration is checked key by key."""

from __future__ import annotations

import tomllib

import pytest

from zfoo_py.errors import ConfigError
from zfoo_py.protocol import declaration
from zfoo_py.protocol.common import Message
from zfoo_py.protocol.declaration import DeclaredPacket, read_protocols

PATH = "modules.visits.protocols"


def test_the_example_of_the_docstring_parses():
    """But for its classes."""
    document = tomllib.loads(declaration.__doc__.split("::\n", 1)[1])
    protocols = document["modules"]["visits"]["protocols"]
    assert protocols["1101"] == "visits:VisitAnswer"
    with pytest.raises(ConfigError, match="'visits:VisitAnswer' cannot be imported"):
        list(read_protocols(protocols, PATH))


def test_short_and_long_form():
    path = "zfoo_py.protocol.common:Message"
    long = {"class": path, "balance_by": "code", "idempotent": True}
    assert list(read_protocols({"1100": path, "1101": long}, PATH)) == [
        DeclaredPacket(1100, Message, None, False, f"{PATH}.1100"),
        DeclaredPacket(1101, Message, "code", True, f"{PATH}.1101"),
    ]


@pytest.mark.parametrize(
    ("protocols", "path", "text"),
    [
        ([], "", "must be a table"),
        ({"x": "a:B"}, ".x", "no number"),
        ({"-5": "a:B"}, ".-5", "no number"),
        ({"²": "a:B"}, ".²", "no number"),
        ({"1100": 5}, ".1100", "package.module:Class"),
        ({"1100": {}}, ".1100", "package.module:Class"),
        ({"1100": {"class": 5}}, ".1100", "package.module:Class"),
        ({"1100": "a.B"}, ".1100", "names no class"),
        ({"1100": "a..b:B"}, ".1100", "names no class"),
        ({"1100": ":B"}, ".1100", "names no class"),
        ({"1100": "os; import sys:B"}, ".1100", "names no class"),
        ({"1100": "no_such_module_at_all:B"}, ".1100", "No module named"),
        ({"1100": "decimal:Decimals"}, ".1100", "Decimals"),
        ({"1100": "decimal:getcontext"}, ".1100", "no class"),
        ({"1100": {"class": "decimal:Decimal", "balanced_by": "x"}}, ".1100.balanced_by", "did you mean 'balance_by'"),
        ({"1100": {"class": "decimal:Decimal", "balance_by": 5}}, ".1100.balance_by", "name of a field"),
        ({"1100": {"class": "decimal:Decimal", "idempotent": 1}}, ".1100.idempotent", "true or false"),
    ],
)
def test_faults_name_the_key(protocols, path, text):
    with pytest.raises(ConfigError, match=text) as caught:
        list(read_protocols(protocols, PATH))
    assert caught.value.path == PATH + path
