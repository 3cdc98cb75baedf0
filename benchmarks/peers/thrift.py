"""The Thrift schema of the benchmark's message."""

from __future__ import annotations

import io
from typing import Any

import thriftpy2
from peers.message import NAME, PAYLOAD, TAGS

SCHEMA = """
struct Msg { 1: i64 id, 2: string name, 3: binary payload, 4: list<string> tags }
service Echo { Msg call(1: Msg msg), binary blob(1: binary data) }
"""
schema = thriftpy2.load_fp(io.StringIO(SCHEMA), "echo_thrift")


def message(i: int) -> Any:
    return schema.Msg(id=i, name=NAME, payload=PAYLOAD, tags=TAGS)


def read(asked: Any) -> Any:
    """Read every field and build a new message."""
    return schema.Msg(id=asked.id, name=asked.name, payload=asked.payload, tags=list(asked.tags))
