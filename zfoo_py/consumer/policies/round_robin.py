"""``round-robin``: one provider after the other."""

from __future__ import annotations

from zfoo_py.consumer.balancer import Balancer, Provider, Rng, ServiceView
from zfoo_py.consumer.explain import Decision
from zfoo_py.consumer.hashing import Key

__all__ = ["RoundRobinBalancer"]


class RoundRobinBalancer(Balancer):
    """Each provider in its turn, one of weight w w times in a round, evenly spread; a key only chooses the lane.

    Each consumer goes its own round, and begins it anywhere, so that not all of them begin with the same provider.
    """

    is_guarded = False
    needs_key = False
    keeps_keys = False

    def __init__(self, rng: Rng) -> None:
        self._seen: tuple[Provider, ...] = ()
        self._round: tuple[Provider, ...] = ()
        self._next = int(rng.random() * 2**32)

    def pick(self, view: ServiceView, key: Key | None) -> Provider | None:  # noqa: ARG002
        """O(1); after a change once O(providers)."""
        if view.providers is not self._seen:
            self._seen = view.providers
            self._round = _round(view)
        if not self._round:
            return None
        self._next += 1
        return self._round[self._next % len(self._round)]

    def explain(self, view: ServiceView, key: Key | None) -> Decision:  # noqa: ARG002
        """Whose turn is next. O(providers)."""
        turns = _round(view)
        if not turns:
            return Decision(None, ("there is no provider",))
        place = (self._next + 1) % len(turns)
        step = f"each provider in its turn, whatever the key: the next one is turn {place + 1} of {len(turns)}"
        return Decision(turns[place], (step,))


def _round(view: ServiceView) -> tuple[Provider, ...]:
    return _spread(view) if view.cumulative_weights else view.providers


def _spread(view: ServiceView) -> tuple[Provider, ...]:
    """A round in which the turns of each provider are equally far apart, as nearly as whole turns allow."""
    turns = [
        ((turn + 0.5) / provider.weight, place, provider)
        for place, provider in enumerate(view.providers)
        for turn in range(provider.weight)
    ]
    return tuple(provider for _, _, provider in sorted(turns, key=lambda turn: turn[:2]))
