"""What nodes, modules and groups may be called: what zfoo's registration text, and ZooKeeper, can carry."""

from __future__ import annotations

import re
from typing import Final

from zfoo_py.errors import ConfigError

__all__ = ["check_name"]

# What the text form `id | address | provider:[module-name, …] | consumer:[balancer-name, …]` uses as marks
# (zfoo.md section 8); `/` would break the ZooKeeper path that the text becomes.
_FORBIDDEN: Final = {"id": "|/", "address": "|/", "module": "|/,[]-", "provider": "|/,[]-", "balancer": "|/,[]"}
# ZooKeeper refuses these in a path; control characters would also forge log lines.
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\uf8ff\ufff0-\uffff]")


def check_name(name: object, what: str, *, path: str = "") -> str:
    """Return `name` if zfoo's text form can carry it (zfoo.md section 8).

    `what` is "id", "address", "module", "provider" or "balancer"; `path` is the key to blame.

    Raises:
        ConfigError: naming the character at fault and what to write instead.
    """
    if not isinstance(name, str) or not name.strip():
        raise ConfigError(f"{what} must be a text that is not empty, got {name!r}", path=path)
    if name != name.strip():
        raise ConfigError(f"{what} {name!r} has spaces around it, which zfoo cuts off: remove them", path=path)
    for mark in _FORBIDDEN[what]:
        if mark in name:
            tip = f"; write {name.replace('-', '_')!r}" if mark == "-" else ""
            raise ConfigError(f"{what} {name!r} contains {mark!r}, a mark of zfoo's registration text{tip}", path=path)
    if found := _UNPRINTABLE.search(name):
        raise ConfigError(f"{what} {name!r} contains {found.group()!r}, which ZooKeeper refuses", path=path)
    if what == "address" and name.startswith(("provider", "consumer")):
        why = "which zfoo takes for a list of modules: use the IP address or another host name"
        raise ConfigError(f"address {name!r} begins with {name[:8]!r}, {why}", path=path)
    return name
