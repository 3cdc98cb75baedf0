"""The soak's memory curves, as a picture. Needs matplotlib."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["HOW_TO_GET_IT", "draw", "is_there"]

HOW_TO_GET_IT = "--plot draws with matplotlib, which is not installed here: pip install matplotlib"
# Okabe and Ito's colours, which people with any colour vision tell apart.
OLD_COLOUR, NEW_COLOUR = "#D55E00", "#0072B2"


def is_there() -> bool:
    """Tell whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def draw(path: Path, runs: Sequence[dict[str, Any]]) -> None:
    """Write the picture: memory of the process above, remembered keys below, over calls.

    Raises:
        OSError: it cannot be written.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - only --plot needs it

    figure = Figure(figsize=(9, 6.4), layout="constrained")
    memory, keys = figure.subplots(2, 1, sharex=True)
    for run in runs:
        is_old = run["balancer"] == "zfoo-2024"
        colour, samples = OLD_COLOUR if is_old else NEW_COLOUR, run["samples"]
        name = "zfoo's balancer of January 2024 (a model)" if is_old else "zfoo_py"
        calls = [sample["calls"] / 1e6 for sample in samples]
        rss_mib = [sample["rss_mib"] for sample in samples]
        entries = [sum(sample["entries"].values()) / 1e3 for sample in samples]
        for axes, values, unit in ((memory, rss_mib, "MiB"), (keys, entries, "thousand keys")):
            axes.plot(calls, values, color=colour, linewidth=2)
            axes.annotate(
                f"{name}: {values[-1]:,.0f} {unit}",
                (calls[-1], values[-1]),
                xytext=(0, 5),
                textcoords="offset points",
                ha="right",
                va="bottom",
                color=colour,
                fontsize=11,
            )
        for alert in run["alerts"][:1]:
            at = next((s["calls"] for s in samples if s["seconds"] >= alert["seconds"]), samples[-1]["calls"]) / 1e6
            for axes in (memory, keys):
                axes.axvline(at, color=colour, linestyle=":", linewidth=1.5)
            memory.annotate(
                f"alert {alert['name']}, after {alert['seconds']:.0f} s",
                (at, 0.05),
                xycoords=("data", "axes fraction"),
                xytext=(5, 0),
                textcoords="offset points",
                va="bottom",
                fontsize=10,
                color=colour,
            )
    memory.set_ylabel("memory of the process, MiB")
    keys.set_ylabel("remembered keys, thousands")
    keys.set_xlabel("calls, millions")
    for axes in (memory, keys):
        axes.set_ylim(bottom=0, top=axes.get_ylim()[1] * 1.12)  # room for the words above the lines
        axes.set_xlim(left=0)
        axes.grid(alpha=0.25)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    title = (
        f"The same calls on both: {runs[0]['types']} service types, new keys without end, providers that come and go"
    )
    figure.suptitle(title, fontsize=12)
    figure.savefig(path, dpi=110)
