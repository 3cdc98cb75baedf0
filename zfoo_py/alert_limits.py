"""When a node raises an alert: the table ``[alerts]``."""

from __future__ import annotations

import msgspec

__all__ = ["AlertLimits"]


class AlertLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Thresholds of alerts; every one is greater than 0. What each alert means: `zfoo_py.consumer.alerts`."""

    # Twelve looks a minute: a leak is seen within a minute, and a look costs some microseconds.
    interval_s: float = 5.0
    # Whoever is called at night is not called again for the same thing within five minutes.
    repeat_s: float = 300.0
    # A sweep of 100,000 entries takes a quarter of a second; ten seconds are a node that does nothing else.
    gone_entries_s: float = 10.0
    # A full cache in which fewer than one pick in twenty finds its key costs memory and saves nothing.
    min_hit_ratio: float = 0.05
    # A minute of it: a crawler that walks through all keys once passes sooner.
    low_hits_s: float = 60.0
    # A leak of 64 MiB in ten minutes fills 1 GiB in under three hours; caches, whose bytes are known, are not counted.
    memory_window_s: float = 600.0
    memory_growth_mib: float = 64.0
    # Memory may grow with the work: what asks, packets and sessions grow by in the window beyond this is more load.
    flat_load: float = 0.2
