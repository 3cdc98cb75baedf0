"""What is picked again, and how: only what surely has not run, or may run twice; within deadline and budget.

| what came back | picked again | where |
|---|---|---|
| never written | 3 tries in all | as the policy picks |
| refused: draining | 3 tries in all | not at the refuser |
| refused: not served | once | not at the refuser |
| refused: overloaded | once | a policy that keeps keys: the same owner, after a pause; else not at the refuser |
| lost in flight, idempotent | once | as the policy picks |

A policy that keeps keys (consistent hashing) sends all asks of a key to one provider, which may hold its state: for it
to be overloaded is no reason to let another one answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from zfoo_py.consumer.retry_budget import RetryBudget
from zfoo_py.net.messages import AskRecord
from zfoo_py.protocol.common import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from zfoo_py.net.messages import Refused

__all__ = ["Again", "Retries"]

# An order that was never written is picked again at most this often: once for the session that has just died,
# and twice for bad luck in a rolling restart.
MAX_TRIES = 3

# Before the owner of a key that was overloaded is asked again: long enough for it to finish a few hundred asks, short
# beside the ask timeout; spread, so that those refused together do not come back together.
OVERLOADED_PAUSE_S = 0.05


class Again(msgspec.Struct, frozen=True):
    """Pick again for this order after so many seconds; 0: in a turn of its own, when the registry has spoken."""

    order: Any
    wait_s: float = 0.0


class Retries:
    """Decides; pure: the clock is an argument. Owned by the ConsumerActor.

    Args:
        now_s: the clock.
        jitter: returns a random number in [0, 1).

    Attributes:
        budget: what may still be asked twice.
        denied: how often the budget was empty.
    """

    __slots__ = ("_jitter", "budget", "denied")

    def __init__(self, now_s: float, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self.budget = RetryBudget(now_s)
        self.denied = 0

    def _pays(self, asks: int, now_s: float) -> bool:
        if self.budget.take(asks, now_s):
            return True
        self.denied += 1
        return False

    def unwritten(self, order: Any, asks: int, now_s: float) -> Again | str:
        """Judge an order that no session has written; a text: why it ends."""
        if order.tries + 1 >= MAX_TRIES:
            return f"in {MAX_TRIES} tries"
        if not self._pays(asks, now_s):
            return "again, for too many are asked twice already (the retry budget is 20 % of the asks + 10/s)"
        if isinstance(order, AskRecord):
            return Again(msgspec.structs.replace(order, tries=order.tries + 1, is_default_timeout=False))
        return Again(msgspec.structs.replace(order, tries=order.tries + 1))

    def lost(self, call: AskRecord, asks: int, now_s: float) -> Again | None:
        """Judge an ask of an idempotent packet whose session was lost; None: its error stands."""
        if call.may_have_run or not self._pays(asks, now_s):
            return None
        return Again(msgspec.structs.replace(call, may_have_run=True, is_default_timeout=False))

    def refused(self, back: Refused, asks: int, now_s: float, *, is_alone: bool, keeps_key: bool) -> Again | None:
        """Judge an ask that a provider has refused before its receiver began; None: its error stands.

        Args:
            back: the refusal.
            asks: how many were made so far, ever.
            now_s: the clock.
            is_alone: nobody else serves the module.
            keeps_key: this ask's key must stay with its owner.
        """
        call, replace = back.call, msgspec.structs.replace
        again: Again | None = None
        if back.code == ErrorCode.OVERLOADED:
            wait_s = OVERLOADED_PAUSE_S * (0.5 + self._jitter()) if keeps_key or is_alone else 0.0
            if not call.was_overloaded and now_s + wait_s < call.deadline_s:
                around = "" if wait_s else back.provider
                again = Again(replace(call, was_overloaded=True, refused_by=around, is_default_timeout=False), wait_s)
        elif back.code == ErrorCode.DRAINING:
            if not is_alone and call.tries + 1 < MAX_TRIES:
                tries = call.tries + 1
                again = Again(replace(call, tries=tries, refused_by=back.provider, is_default_timeout=False))
        elif not is_alone and not call.refused_by:
            again = Again(replace(call, refused_by=back.provider, is_default_timeout=False))
        return again if again is not None and self._pays(asks, now_s) else None
