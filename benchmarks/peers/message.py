"""What every peer carries: the message of the benchmark as a dict."""

from __future__ import annotations

from typing import Any

HOST = "127.0.0.1"
NAME = "provider-00000-a"
PAYLOAD = bytes(range(32))
TAGS = ["red", "green", "blue"]


def question(i: int) -> dict[str, Any]:
    return {"id": i, "name": NAME, "payload": PAYLOAD, "tags": TAGS}


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """Read every field and build a new message, as each server does."""
    return {"id": asked["id"], "name": asked["name"], "payload": asked["payload"], "tags": list(asked["tags"])}
