"""Draws what the benchmarks have measured; the only file of them that needs matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from collections.abc import Mapping

BASE, OURS = "raw_msgpack", "zfoo_py"
TITLES = {
    "W1.same": "W1 one blocking ask, one core",
    "W1": "W1 one blocking ask, two cores",
    "W1a.same": "W1a one awaited ask, one core",
    "W1a": "W1a one awaited ask, two cores",
    "W2": "W2 256 asks outstanding",
    "W3": "W3 16 blocking threads",
    "W4": "W4 64 KiB, 16 outstanding",
    "W5": "W5 KiB per idle session",
}


def draw_bars(path: str, found: Mapping[str, Mapping[str, Mapping[str, Any]]], about: str) -> None:
    """Draw a panel for each work, a bar for each adapter: its ratio to raw_msgpack, with the least and the greatest."""
    works = [work for work in found if work in TITLES]
    columns = 2 if len(works) > 1 else 1
    rows = -(-len(works) // columns)
    figure, panels = plt.subplots(rows, columns, figsize=(11, 2.4 * rows), squeeze=False)
    for panel in panels.flat[len(works) :]:
        panel.axis("off")
    for work, panel in zip(works, panels.flat, strict=False):
        ratios = {name: one["to_base"] for name, one in found[work].items() if "to_base" in one}
        names = sorted(ratios, key=lambda name: ratios[name][0])
        middle = [ratios[name][0] for name in names]
        below = [ratios[name][0] - ratios[name][1] for name in names]
        above = [ratios[name][2] - ratios[name][0] for name in names]
        colours = ["#d1495b" if name == OURS else "#30638e" if name.startswith("raw") else "#a5b1c2" for name in names]
        panel.barh(names, middle, xerr=[below, above], color=colours, error_kw={"elinewidth": 1})
        for place, name in enumerate(names):
            panel.text(ratios[name][2], place, f" {ratios[name][0]:.2f}", va="center", fontsize=7)
        panel.axvline(1.0, color="#30638e", linewidth=0.8, linestyle=":")
        panel.set_title(TITLES[work], fontsize=9)
        panel.tick_params(labelsize=7)
    figure.suptitle(f"times {BASE}, median with least and greatest; {about}", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def draw_growth(path: str, panels_of: Mapping[str, Mapping[str, Mapping[str, float]]], about: str) -> None:
    """Draw a panel for each thing that grows: its size → the cost of an ask in µs, as median, least and greatest."""
    figure, panels = plt.subplots(1, len(panels_of), figsize=(3.4 * len(panels_of), 3.2), squeeze=False)
    for (title, rows), panel in zip(panels_of.items(), panels.flat, strict=True):
        middle = [row["median"] for row in rows.values()]
        errors = [
            [row["median"] - row["least"] for row in rows.values()],
            [row["greatest"] - row["median"] for row in rows.values()],
        ]
        places = range(len(rows))
        panel.errorbar(places, middle, yerr=errors, marker="o", color="#d1495b", linewidth=1)
        panel.set_xticks(places, rows.keys(), fontsize=7, rotation=20)
        panel.set_ylim(0, None)
        panel.set_title(title, fontsize=9)
        panel.set_ylabel("µs an ask", fontsize=7)
        panel.tick_params(labelsize=7)
    figure.suptitle(about, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
