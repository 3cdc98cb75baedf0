"""What the story says: headings, explanations, and sentences made of measured figures. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from samples.check_cluster import Report
from samples.story_change import Change, Explanation, Moves

__all__ = ["PARTS", "Line"]

Kind = Literal["heading", "text", "fact", "person", "old", "new", "right", "wrong"]

STEADY, KILL, JOIN, BESIDE, VERDICT = (
    "steady",
    "SIGKILL of one provider",
    "a new one joins",
    "the old balancer beside the new one",
    "verdict",
)
# Each part and its share of the whole; the longer ones have more to read.
PARTS = {STEADY: 0.17, KILL: 0.21, JOIN: 0.19, BESIDE: 0.28, VERDICT: 0.15}
MIB = 1024 * 1024


class Line(NamedTuple):
    """One paragraph of the story."""

    kind: Kind
    text: str


def time_of(seconds: float) -> str:
    """Return a time as a person reads it."""
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def counted(number: int, what: str) -> str:
    """Return "1 key", "2 keys"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def mib(size: float) -> str:
    """Return a size."""
    return f"{size / MIB:.1f} MiB"


# ------------------------------------------------------------------------------------------------- explanations
def about_steady(providers: int, bound: int) -> list[Line]:
    """Tell what there is to see."""
    return [
        Line(
            "text",
            f"One consumer asks {providers} provider processes of 3 service types. Each provider counts per key in "
            "its own memory, which is right only if a key always reaches the same provider. Consistent hashing decides "
            f"which one; the consumer remembers up to {bound:,} keys of each type.",
        )
    ]


def about_kill(provider: str) -> Line:
    """Tell what is about to happen."""
    return Line("text", f"{provider} dies without a word. Its keys need a new owner; no other key may move.")


def about_join(provider: str) -> Line:
    """Tell what is about to happen."""
    return Line("text", f"{provider} is started. It takes its share of the keys; no other key may move.")


def about_beside(bound: int) -> Line:
    """Tell what is about to happen."""
    return Line(
        "text",
        "Now seven of eight requests come from a client, and ask for a page, never seen before. A second consumer gets "
        "the same requests and routes them as zfoo's balancer of January 2024 did: one map for all service types, "
        f"never emptied. The new one remembers at most {bound:,} keys of each type.",
    )


def about_verdict(asks: int) -> Line:
    """Tell what is about to happen."""
    return Line(
        "text",
        f"The referee shares no code with zfoo_py. It recomputes each of {asks:,} asks from the journal: "
        "who had to answer it, and which count was right.",
    )


# ---------------------------------------------------------------------------------------------------- sentences
def steady(answered: int, failed: int, keys: int, p50_us: float, p99_us: float) -> Line:
    """Tell how it goes."""
    return Line(
        "fact",
        f"{counted(answered, 'ask')} answered, {failed:,} failed; {counted(keys, 'key')} remembered; "
        f"p50 {time_of(p50_us / 1e6)}, p99 {time_of(p99_us / 1e6)}",
    )


def changed(change: Change, moves: Moves, failed: int) -> Line:
    """Tell what a kill or a join did, with its times and its keys."""
    after = None if change.noticed_s is None else change.noticed_s - change.begun_s
    first = None if change.first_answer_s is None else change.first_answer_s - change.begun_s
    if after is None:
        return Line("wrong", f"{change.provider} {change.event}: the consumer did not notice")
    if change.event == "killed":
        text = f"{change.provider} killed: noticed after {time_of(after)}, {counted(moves.evicted, 'key')} evicted, "
        text += f"{_exactly(moves)}; "
        text += f"first answer from the new owner {'never came' if first is None else f'after {time_of(first)}'}"
        text += f"; {counted(failed, 'ask')} on the way failed" if failed else "; no ask failed"
    else:
        text = f"{change.provider} joined: its process was up and known after {time_of(after)}, "
        text += f"{moves.evicted:,} of {counted(moves.known, 'key')} moved to it, {_exactly(moves)}; "
        waited = None if first is None else first - after
        text += f"first answer from it {'never came' if waited is None else f'{time_of(waited)} later'}"
        text += f"; {counted(failed, 'ask')} failed" if failed else "; no ask failed"
    return Line("fact" if moves.exact else "wrong", text)


def _exactly(moves: Moves) -> str:
    """Say whether the right keys moved; "those" are the keys that the referee's ring gives another owner."""
    if moves.exact:
        return f"exactly those moved, {moves.others:,} others"
    return f"BUT {moves.due:,} had to move, {moves.stuck:,} did not, {moves.others:,} others did"


def explained(found: Explanation) -> Line:
    """Tell why a key moved."""
    return Line(
        "person",
        f"why a key moved: {found.key} has hash {found.key_hash:,}; the next point on the ring was "
        f"{found.old_point:,}, of {found.old_owner}, and now it is {found.new_point:,}, of {found.new_owner}: "
        "so that is its owner now",
    )


def old(entries: int, size: int, per_second: float, misroutes: int, asks: int) -> Line:
    """Tell how the old balancer does."""
    growth = f"{per_second:+,.0f} keys/s"
    return Line(
        "old", f"old: {entries:,} keys, {mib(size)}, {growth}; misroutes {misroutes:,} of {counted(asks, 'ask')}"
    )


def new(entries: int, size: int, bound: int, misroutes: int, asks: int) -> Line:
    """Tell how the new balancer does under the same load."""
    held = "bound held" if entries <= bound else "OVER THE BOUND"
    return Line("new", f"new: {entries:,} keys, {mib(size)}, {held}; misroutes {misroutes:,} of {counted(asks, 'ask')}")


def verdict(report: Report) -> list[Line]:
    """Tell what the referee found about the new balancer."""
    exact = "every count is exact" if report.counts_exact else "COUNTS ARE WRONG"
    lines = [
        Line(
            "fact",
            f"{counted(report.asks, 'ask')}: {report.answered:,} answered, {sum(report.failed.values()):,} failed"
            f"{_by_name(report.failed)}; misroutes {report.misroutes:,}, wrong owner {report.wrong_owner:,}; "
            f"{counted(report.moved_keys, 'key')} moved, {report.needless_moves:,} of them needlessly; {exact}",
        )
    ]
    lines += [Line("wrong", f"wrong: {fault}") for fault in report.faults]
    return lines


def verdict_of_old(report: Report) -> Line:
    """Tell what the same referee found about the old balancer."""
    growing = {True: "its memory only grows", False: "its memory did not grow", None: "its memory was not judged"}
    return Line(
        "old",
        f"the old balancer: {'right' if report.ok else 'wrong'}: misroutes {report.misroutes:,} of "
        f"{counted(report.asks, 'ask')}; {growing[report.memo_growing]}",
    )


def last_word(report: Report) -> Line:
    """Return the one line that says it."""
    return Line("right", "verdict: right") if report.ok else Line("wrong", "verdict: wrong")


def _by_name(failed: Mapping[str, int]) -> str:
    names = ", ".join(f"{name} {count:,}" for name, count in failed.items())
    return f" ({names})" if names else ""


# --------------------------------------------------------------------------------------------------- to a person
NOTHING_MOVED = Line("person", "e: no key has moved yet; press k or a first")


def last_one(provider: str) -> Line:
    """Refuse to kill the last provider."""
    return Line("person", f"k: {provider} is the last provider of visits; add one first (a)")


def enough(providers: Sequence[str]) -> Line:
    """Refuse one provider more."""
    return Line("person", f"a: {len(providers)} providers of visits are enough for this machine; kill one first (k)")
