"""Tables of settings become Structs; what is wrong in them is named with its path and the nearest key."""

from __future__ import annotations

import msgspec
import pytest

from zfoo_py.errors import ConfigError
from zfoo_py.tables import check_keys, convert, keys_of, read_table


class Inner(msgspec.Struct, frozen=True):
    size: int = 1


class Outer(msgspec.Struct):
    inner: Inner = Inner()
    rows: tuple[Inner, ...] = ()
    by_name: dict[str, Inner] = {}


def test_a_right_table_is_read():
    read = read_table({"inner": {"size": 2}, "rows": [{}], "by_name": {"a": {"size": 3}}}, Outer, "x")
    assert read == Outer(Inner(2), (Inner(),), {"a": Inner(3)})
    assert keys_of(Inner) == {"size": int}
    assert keys_of(int) == {}


@pytest.mark.parametrize(
    ("table", "path", "nearest"),
    [
        ({"iner": {}}, "x.iner", "inner"),
        ({"inner": {"sise": 1}}, "x.inner.sise", "size"),
        ({"rows": [{}, {"sizes": 1}]}, "x.rows[1].sizes", "size"),
        ({"by_name": {"a": {"siz": 1}}}, "x.by_name.a.siz", "size"),
        ({"inner": 7}, "x.inner", None),
        ({"inner": {"size": "1"}}, "x.inner.size", None),
        ({"by_name": {"a": {"size": "1"}}}, "x.by_name.a.size", None),
    ],
)
def test_each_fault_has_its_path_and_the_nearest_key(table, path, nearest):
    with pytest.raises(ConfigError) as caught:
        read_table(table, Outer, "x")
    assert (caught.value.path, caught.value.nearest) == (path, nearest)


def test_a_key_of_another_table_is_named_with_that_table():
    with pytest.raises(ConfigError) as caught:
        check_keys({"size": 1}, Outer, "", elsewhere=Outer)
    assert caught.value.nearest == "inner.size"


def test_a_missing_key_is_said_in_words():
    class Needs(msgspec.Struct):
        name: str

    with pytest.raises(ConfigError, match="x: the key 'name' is missing"):
        convert({}, Needs, "x")
