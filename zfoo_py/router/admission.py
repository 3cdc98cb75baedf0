"""Whether a node takes one packet more; each refusal is an Error packet, made at once, and proves that nothing ran."""

from __future__ import annotations

from zfoo_py.protocol.common import Error, ErrorCode

__all__ = ["Admission"]

# With fewer packets in work nobody looks at queues: a burst of so many is what one chunk of a socket brings, and an
# estimate from fewer is noise.
LOOK_FROM = 128


class Admission:
    """Owned by the dispatcher; pure.

    Args:
        max_in_work: of the node.

    Attributes:
        look_from: with so many packets in work, or more, each is judged by `refusal`.
        is_draining: this node finishes what it has.
        shed: refused because they would have begun too late.
        drained: refused because this node drains.
    """

    __slots__ = ("drained", "is_draining", "look_from", "max_in_work", "shed")

    def __init__(self, max_in_work: int) -> None:
        self.max_in_work = max_in_work
        self.look_from = min(LOOK_FROM, max_in_work)
        self.is_draining = False
        self.shed = 0
        self.drained = 0

    def drain(self) -> None:
        """From now on, refuse every ask. What comes one way is still taken: its sender would not hear of a refusal."""
        self.is_draining = True
        self.look_from = 0

    def refusal(self, in_work: int, *, is_ask: bool, remaining_s: float, wait_s: float) -> Error | None:
        """Judge one packet.

        Args:
            in_work: packets in work on this node.
            is_ask: whether somebody hears of a refusal.
            remaining_s: until its asker gives up; infinite if it told no deadline.
            wait_s: until it would begin.
        """
        if self.is_draining and is_ask:
            self.drained += 1
            return Error(ErrorCode.DRAINING, "this node stops")
        if in_work >= self.max_in_work:
            return Error(ErrorCode.OVERLOADED, f"{in_work} packets are in work on this node")
        if is_ask and wait_s > remaining_s:
            self.shed += 1
            text = f"it would begin in {wait_s:.3g} s, and its asker waits {remaining_s:.3g} s"
            return Error(ErrorCode.OVERLOADED, text)
        return None
