"""The messages of the router's worker threads.

router → WorkerActor   WorkReady
WorkerActor → router   results, in batches, through `zfoo_py.router.worker_actor.WorkQueue`
"""

from __future__ import annotations

import msgspec

__all__ = ["WorkReady"]


class WorkReady(msgspec.Struct, frozen=True):
    """Fact: the shared queue holds work; take from it until it is empty."""
