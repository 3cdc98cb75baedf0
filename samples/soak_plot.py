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
        colour = OLD_COLOUR if is_old else NEW_COLOUR
        name = "zfoo's balancer of January 2024 (a model)" if is_old else "zfoo_py"
        samples = run["samples"]
        calls = [sample["calls"] / 1e6 for sample in samples]
        end = samples[-1]
        entries = sum(end["entries"].values())
        memory.plot(
            calls,
            [sample["rss_mib"] for sample in samples],
            color=colour,
            linewidth=2,
            label=f"{name}: {end['rss_mib']:,.0f} MiB at the end",
        )
        keys.plot(
            calls,
            [sum(sample["entries"].values()) / 1e3 for sample in samples],
            color=colour,
            linewidth=2,
            label=f"{name}: {entries:,} keys at the end",
        )
        for alert in run["alerts"][:1]:
            at = next((s["calls"] for s in samples if s["seconds"] >= alert["seconds"]), end["calls"]) / 1e6
            for axes in (memory, keys):
                axes.axvline(at, color=colour, linestyle=":", linewidth=1.5)
            memory.annotate(
                f"alert {alert['name']},\n{alert['seconds']:.0f} s after the start",
                (at, 0.98),
                xycoords=("data", "axes fraction"),
                xytext=(4, 0),
                textcoords="offset points",
                va="top",
                fontsize=9,
                color=colour,
            )
    limit = sum(runs[0]["max_entries"] for _ in runs[0]["samples"][-1]["entries"]) / 1e3
    keys.axhline(limit, color="#777777", linestyle="--", linewidth=1)
    keys.text(
        0.005,
        limit,
        f" limit of zfoo_py's caches: {limit:,.0f}",
        va="bottom",
        fontsize=9,
        color="#555555",
        transform=keys.get_yaxis_transform(),
    )
    memory.set_ylabel("consumer process, MiB")
    keys.set_ylabel("remembered keys, thousands")
    keys.set_xlabel("calls, millions: new keys for ever, providers that come and go")
    for axes in (memory, keys):
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
        axes.grid(alpha=0.25)
        axes.legend(loc="center right" if axes is memory else "upper left", frameon=False)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.suptitle(f"The same load on both: {runs[0]['types']} service types, new keys without end", fontsize=13)
    figure.savefig(path, dpi=120)
