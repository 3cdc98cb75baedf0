"""`--plot DIR`: the ring before and after each change, and the memory curve, as pictures. Needs matplotlib."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import pairwise
from math import pi
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from samples.check_cluster import Ring

if TYPE_CHECKING:
    from samples.memory import Sample

__all__ = ["HOW_TO_GET_IT", "Arc", "Moment", "arcs", "draw", "is_there", "shares"]

HOW_TO_GET_IT = (
    '--plot draws with matplotlib, which is not installed here: `make cluster ARGS="--plot DIR"` installs it, '
    "and so does `pip install matplotlib`"
)
# Hashes have 31 bits; the ring does not wrap, its last point has what lies beyond it.
HASHES = 2**31
# More do not fit beside each other.
MOST_RINGS = 5
MIB = 1024 * 1024
# Okabe and Ito's colours, which people with any colour vision tell apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
OLD_COLOUR, NEW_COLOUR, PROCESS_COLOUR = "#D55E00", "#0072B2", "#777777"


class Arc(NamedTuple):
    """A stretch of hashes that one provider owns; `begin` belongs to it, `end` does not."""

    begin: int
    end: int
    provider: str


class Moment(NamedTuple):
    """Something that happened, for the curve; `at_s` on `time.perf_counter`'s clock."""

    at_s: float
    text: str


def is_there() -> bool:
    """Tell whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def arcs(members: Mapping[str, str]) -> list[Arc]:
    """Return who owns which hashes, in order, neighbours of one owner joined.

    Args:
        members: provider → ring name.
    """
    ring = Ring(members.values())
    names = {ring_name: provider for provider, ring_name in members.items()}
    if not ring.hashes:
        return []
    begins = [0, *(point + 1 for point in ring.hashes[:-1])]  # a point owns the hashes up to itself
    found: list[Arc] = []
    for begin, end, ring_name in zip(begins, [*begins[1:], HASHES], ring.names, strict=True):
        provider = names[ring_name]
        if found and found[-1].provider == provider:
            found[-1] = Arc(found[-1].begin, end, provider)
        elif end > begin:
            found.append(Arc(begin, end, provider))
    return found


def shares(found: Sequence[Arc]) -> dict[str, float]:
    """Return provider → its share of all hashes."""
    lengths: Counter[str] = Counter()
    for arc in found:
        lengths[arc.provider] += arc.end - arc.begin
    return {provider: lengths[provider] / HASHES for provider in sorted(lengths)}


def moved_share(before: Sequence[Arc], after: Sequence[Arc]) -> float:
    """Return the share of all hashes whose owner differs."""
    edges = sorted({arc.begin for arc in (*before, *after)} | {HASHES})
    begins = [[arc.begin for arc in one] for one in (before, after)]
    moved = 0
    for low, high in pairwise(edges):
        was, is_now = (
            one[bisect_left(begin, low + 1) - 1].provider for one, begin in zip((before, after), begins, strict=True)
        )
        moved += (high - low) * (was != is_now)
    return moved / HASHES


def draw(
    folder: str, rings: Sequence[tuple[str, Mapping[str, str]]], curve: Sequence[Sample], moments: Sequence[Moment]
) -> list[str]:
    """Write ring.png and memory.png; return their paths.

    Args:
        folder: must be there.
        rings: title and members (provider → ring name), in order of time; the last ones are drawn.
        curve: the points of the memory curve.
        moments: what to mark on it.

    Raises:
        ImportError: matplotlib is missing.
        OSError: they cannot be written.
    """
    paths = [str(Path(folder) / "ring.png")]
    _rings(rings[-MOST_RINGS:]).savefig(paths[0], dpi=110)
    if len(curve) > 1:
        paths.append(str(Path(folder) / "memory.png"))
        _memory(curve, moments).savefig(paths[1], dpi=110)
    return paths


def _rings(rings: Sequence[tuple[str, Mapping[str, str]]]) -> Any:
    from matplotlib.figure import Figure  # noqa: PLC0415 - only --plot needs it
    from matplotlib.patches import Patch  # noqa: PLC0415

    known = sorted({provider for _, members in rings for provider in members}, key=_by_number)
    colours = {provider: COLOURS[place % len(COLOURS)] for place, provider in enumerate(known)}
    figure = Figure(figsize=(max(4.2 * len(rings), 6), 5.6), layout="constrained")
    before: list[Arc] | None = None
    for place, (title, members) in enumerate(rings, start=1):
        axes: Any = figure.add_subplot(1, len(rings), place, projection="polar")
        found = arcs(members)
        axes.bar(
            [2 * pi * arc.begin / HASHES for arc in found],
            [1.0] * len(found),
            width=[2 * pi * (arc.end - arc.begin) / HASHES for arc in found],
            bottom=2.0,
            align="edge",
            color=[colours[arc.provider] for arc in found],
            linewidth=0,
        )
        axes.set_theta_zero_location("N")
        axes.set_theta_direction(-1)
        axes.set_ylim(0, 3)
        axes.set_axis_off()
        axes.set_title(title, fontsize=13, pad=2)
        lines = [f"{provider}  {share:.1%}" for provider, share in shares(found).items()]
        if before is not None:
            lines.append(f"\n{moved_share(before, found):.1%} of all hashes\nhave another owner")
        axes.text(0, 0, "\n".join(lines), ha="center", va="center", fontsize=10)
        before = found
    figure.suptitle("Who owns which keys: the ring of visits, 200 points a provider", fontsize=14)
    patches = [Patch(color=colours[provider], label=provider) for provider in known]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(known), frameon=False)
    return figure


def _by_number(provider: str) -> tuple[int, str]:
    return len(provider), provider


def _memory(curve: Sequence[Sample], moments: Sequence[Moment]) -> Any:
    from matplotlib.figure import Figure  # noqa: PLC0415 - only --plot needs it

    begun, end = curve[0].at_s, curve[-1]
    seconds = [sample.at_s - begun for sample in curve]
    figure = Figure(figsize=(9, 6), layout="constrained")
    keys, process = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    if any(sample.entries for sample in curve):
        keys.plot(
            seconds,
            [sample.entries for sample in curve],
            color=NEW_COLOUR,
            linewidth=2,
            label=f"zfoo_py: {end.entries:,} keys, {end.entry_bytes / MIB:.1f} MiB at the end",
        )
    old = [(at, sample.old_entries) for at, sample in zip(seconds, curve, strict=True) if sample.old_entries]
    if old:
        keys.plot(
            [at for at, _ in old],
            [entries for _, entries in old],
            color=OLD_COLOUR,
            linewidth=2,
            label=f"zfoo of January 2024: {end.old_entries:,} keys, {end.old_bytes / MIB:.1f} MiB at the end",
        )
    keys.set_ylabel("keys")
    keys.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    keys.set_title("Keys that the balancers remember")
    keys.legend(loc="lower center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False)
    process.plot(seconds, [sample.process_bytes / MIB for sample in curve], color=PROCESS_COLOUR)
    process.set_ylabel("MiB")
    process.set_title("Memory of the consumer's process, which keeps each ask for the referee", fontsize=10)
    process.set_xlabel("seconds")
    top = max(max(sample.entries, sample.old_entries) for sample in curve)
    for axes in (keys, process):
        axes.set_ylim(bottom=0)
        axes.set_xlim(0, seconds[-1])
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        for moment in moments:
            axes.axvline(moment.at_s - begun, color="#444444", linewidth=0.8, linestyle=":")
    for moment in moments:
        keys.text(moment.at_s - begun, top, f"{moment.text} ", rotation=90, va="top", ha="right", fontsize=9)
    return figure
