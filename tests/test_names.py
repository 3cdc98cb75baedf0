"""What nodes, modules and groups may be called. That what is let through survives: protocol/test_registration.py."""

from __future__ import annotations

import pytest

from zfoo_py.errors import ConfigError
from zfoo_py.names import check_name

REFUSED = [
    *(
        (what, mark, "contains")
        for what in ("id", "address", "module", "provider", "balancer")
        for mark in "|/\x00\n\x7f\ufffe"
    ),
    *((what, mark, "contains") for what in ("module", "provider", "balancer") for mark in ",[]"),
    *((what, "-", "write 'a_b'") for what in ("module", "provider")),
]


@pytest.mark.parametrize(("what", "mark", "text"), REFUSED)
def test_marks_of_the_text_form_are_refused_in_names(what, mark, text):
    with pytest.raises(ConfigError, match=text) as caught:
        check_name(f"a{mark}b", what, path="some.key")
    assert caught.value.path == "some.key"
    assert repr(mark)[1:-1] in str(caught.value)


@pytest.mark.parametrize("what", ["id", "address", "module", "provider", "balancer"])
@pytest.mark.parametrize("name", ["", " ", " a", "a ", "\ta", "a\u3000", None, 7])
def test_empty_padded_and_foreign_names_are_refused(what, name):
    with pytest.raises(ConfigError):
        check_name(name, what)


@pytest.mark.parametrize("address", ["provider.host:5", "consumerhost:5", "provider:1"])
def test_addresses_that_java_takes_for_lists_are_refused(address):
    with pytest.raises(ConfigError, match="use the IP address or another host name"):
        check_name(address, "address")
