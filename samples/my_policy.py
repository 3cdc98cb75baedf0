"""A balancing policy of one's own: once a key has a provider, it keeps it as long as that provider lives.

::

    make cluster ARGS="--balancer samples.my_policy:Sticky"
    Node(consumes=[("visits", "visits", "samples.my_policy:Sticky")])

It shows what a policy may keep, and what it pays for that: the consistent hash moves a key to a provider that has just
joined, and every consumer agrees about it; this one does not, so two consumers may name two providers for one key.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from zfoo_py.consumer.hashing import fnv_hash

if TYPE_CHECKING:
    from zfoo_py.consumer.balancer import BalancerOptions, ServiceView
    from zfoo_py.consumer.policies.user_policy import ProviderView

__all__ = ["Sticky"]

# What is remembered must have an end; the key that was not asked for longest goes first.
MAX_KEYS = 100_000


class Sticky:
    """Gives a new key to a provider by the rest of its hash, and remembers that."""

    def __init__(self, options: BalancerOptions) -> None:
        self._max_keys = int(options.named.get("max_keys", MAX_KEYS))
        self._homes: OrderedDict[Any, Any] = OrderedDict()

    def pick(self, view: ServiceView, key: Any) -> Any:
        """Return one of ``view.providers``, or None if there is none."""
        home = self._homes.get((type(key), key))
        if home is None:
            if not view.providers:
                return None
            home = view.providers[0 if key is None else fnv_hash(key) % len(view.providers)]
            self._homes[type(key), key] = home
            if len(self._homes) > self._max_keys:
                self._homes.popitem(last=False)
        self._homes.move_to_end((type(key), key))
        return home

    def on_down(self, provider: ProviderView) -> None:
        """Forget the keys of a provider that is gone: nobody may be sent there any more."""
        for key in [key for key, home in self._homes.items() if home is provider]:
            del self._homes[key]
