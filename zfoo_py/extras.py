"""What zfoo_py needs only at times: a library that is missing ends in one sentence that names its extra."""

from __future__ import annotations

import importlib
from types import ModuleType

from zfoo_py.errors import ConfigError

__all__ = ["need"]


def need(module: str, extra: str) -> ModuleType:
    """Import a library of one of the extras in pyproject.toml, and return it. While a node starts; any thread.

    Raises:
        ConfigError: it is not installed; the text says how to install the extra.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name != module.partition(".")[0]:
            raise  # the library is there, and itself lacks something
        text = f"the Python package {error.name!r} is not installed; run: pip install 'zfoo_py[{extra}]'"
        raise ConfigError(text) from error
