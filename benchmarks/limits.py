"""How many descriptors this process may open: as many as it needs, or as many as the system gives."""

from __future__ import annotations

import resource


def raise_descriptors(wanted: int) -> int:
    """Raise the soft limit, and the hard one where that is allowed; return what there is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        for limits in ((wanted, max(wanted, hard)), (min(wanted, hard), hard)):
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
                break
            except (ValueError, OSError):  # the hard limit belongs to root
                continue
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft
