"""A node's life in a process of its own: from its start to a signal."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

from loguru import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

__all__ = ["until_signal"]


async def until_signal(
    start: Callable[[], Coroutine[Any, Any, object]], stop: Callable[[], Coroutine[Any, Any, object]]
) -> None:
    """Start, wait for SIGTERM or SIGINT, and stop; a second signal ends the process at once.

    Raises:
        Exception: what ``start`` or ``stop`` raised.
    """
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    def on_signal(number: int) -> None:
        if asked.is_set():
            logger.warning("second signal: ending at once")
            os._exit(128 + number)
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    starting = loop.create_task(start())
    stopping = loop.create_task(asked.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
    try:
        await starting
        await stopping
    except asyncio.CancelledError:
        if not asked.is_set():
            raise
    finally:
        stopping.cancel()
        await stop()
