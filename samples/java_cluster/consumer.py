"""Asks providers of scores, Java's and Python's, twice for each of three users.

python -m samples.java_cluster.consumer
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from samples.java_cluster.scores import ScoreAsk
from zfoo_py import Node

CONFIG = Path(__file__).with_name("consumer.toml")


async def main() -> None:
    """Ask with the user's number as key: Java's third argument of syncAsk."""
    async with Node.from_toml(CONFIG, receivers=[]) as node:
        for user_id in (7, 8, 7_000_000_000):
            for medal in ("first", "second"):
                answer = await node.consumer.async_ask(ScoreAsk(user_id, 10, [medal]), key=user_id)
                print(answer.user_id, answer.total, answer.medals, answer.served_by, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
