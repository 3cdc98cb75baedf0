"""What tables of hashes may cost one message."""

from __future__ import annotations

import pytest

from zfoo_py.protocol.coercion import MismatchError
from zfoo_py.protocol.frozen_map import FrozenMap
from zfoo_py.protocol.java_reading import ALLOWED_BYTES, _charge, memory_for


@pytest.mark.parametrize("make", [set, FrozenMap])
def test_empty_tables_come_out_of_what_the_message_allows(make):
    memory = memory_for(b"")
    assert memory == [ALLOWED_BYTES]
    for _ in range(1000):
        _charge(make(), 1, memory)
    memory[0] = 10
    with pytest.raises(MismatchError, match="80 times its length"):
        _charge(make(), 1, memory)


def test_well_filled_tables_pay_for_themselves():
    memory = memory_for(b"")
    for _ in range(1000):
        _charge(set(range(1000, 1100)), 300, memory)
    assert memory[0] >= ALLOWED_BYTES
