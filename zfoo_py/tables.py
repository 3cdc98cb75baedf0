"""Tables of settings, as TOML has them, read into the Structs that declare them; each fault has its key's path.

Below `zfoo_py.config`, because policies read their own options the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar, get_args, get_origin

import msgspec

from zfoo_py.errors import ConfigError, nearest_name

__all__ = ["check_keys", "convert", "keys_of", "read_table"]

K = TypeVar("K", bound=msgspec.Struct)

# msgspec's names of types, in words for people who write TOML.
_WORDS: Final = {"str": "a text", "int": "an integer", "float": "a number", "array": "a list", "object": "a table"}


def keys_of(kind: Any) -> dict[str, Any]:  # a type form such as tuple[str, ...]
    """Return the keys of a table with their types; none if this is no Struct."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return {field.name: field.type for field in msgspec.structs.fields(kind)}
    return {}


def read_table(table: Mapping[str, Any], kind: type[K], path: str) -> K:
    """Return a table as the Struct that declares it.

    Raises:
        ConfigError: with the key's path and the nearest name.
    """
    check_keys(table, kind, path)
    read: K = convert(table, kind, path)
    return read


def check_keys(value: object, kind: Any, path: str, *, elsewhere: Any = None) -> None:
    """Refuse unknown keys before msgspec sees them, which knows no nearest name and hides the keys of dicts.

    Args:
        value: what was read.
        kind: the type it must have.
        path: of the value.
        elsewhere: the Struct of the whole document: a key that belongs to another table of it is named with that.

    Raises:
        ConfigError: with the key's path and the nearest name.
    """
    known = keys_of(kind)
    is_struct = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    if is_struct or get_origin(kind) is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"expected a table, got {value!r}", path=path)
        below_kind = None if is_struct else get_args(kind)[1]
        for key, item in value.items():
            below = f"{path}.{key}" if path else str(key)
            if is_struct and key not in known:
                raise ConfigError("no such key", path=below, nearest=_nearest_key(str(key), known, elsewhere))
            check_keys(item, known[key] if is_struct else below_kind, below, elsewhere=elsewhere)
            if not is_struct:
                convert(item, below_kind, below)
    elif get_origin(kind) is tuple and isinstance(value, list | tuple):
        for index, item in enumerate(value):
            check_keys(item, get_args(kind)[0], f"{path}[{index}]", elsewhere=elsewhere)


def convert(value: object, kind: Any, path: str) -> Any:
    """Return a value as its type.

    Raises:
        ConfigError: with the key's path, in words for people who write TOML.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        text, _, place = str(error).partition(" - at `$")
        if missing := re.search("missing required field `(.*?)`", text):
            text = f"the key {missing[1]!r} is missing"
        text = re.sub(r"`(\w+)`", lambda name: _WORDS.get(name[1], name[1]), text).replace("Expected", "expected")
        if text == "expected a list, got a table":
            text += ": its header has two brackets, [[ ]]"
        raise ConfigError(text, path=f"{path}{place.rstrip('`')}".lstrip(".")) from error


def _nearest_key(key: str, known: Iterable[str], elsewhere: Any) -> str | None:
    """The nearest key of the same table; else the path of an equal key elsewhere (``[node] address``)."""
    others = (f"{name}.{key}" for name, kind in keys_of(elsewhere).items() if key in keys_of(kind))
    return nearest_name(key, known) or next(others, None)
