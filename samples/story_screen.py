"""Where the story is shown: a live screen (rich) on a terminal, or plain lines, as they come, anywhere else."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol

from samples.story_meter import PROVIDER_HEADER, SERVICE_HEADER
from samples.story_words import Line

__all__ = ["LineScreen", "LiveScreen", "Screen", "View", "has_rich", "paragraphs", "text_table"]

# The tables need this much; a smaller terminal shows the text alone.
SMALLEST = (60, 18)
# Blank lines between the pieces are for those who have the room.
ROOMY_LINES = 24
# Longer lines are hard to read.
LONGEST_LINE = 100
STYLES = {
    "heading": "bold cyan",
    "text": "",
    "fact": "bold",
    "person": "yellow",
    "old": "red",
    "new": "green",
    "right": "bold green",
    "wrong": "bold red",
}
# In a table: room for "99,999", and the columns that a narrow terminal does without.
NARROWEST_CELL = 6
FIRST_TO_GO = ("offers", "hit %", "memory", "expired")
KEYS_HINT = "k kill  a add  e explain  q quit"


@dataclass(frozen=True)
class View:
    """All that a screen may show.

    Attributes:
        clock: how far the story is.
        lines: what was said; only ever appended to.
        live: what is being measured right now.
        providers, services: rows for the headers of samples/story_meter.py.
    """

    clock: str
    lines: Sequence[Line]
    live: Sequence[Line] = ()
    providers: Sequence[tuple[str, ...]] = ()
    services: Sequence[tuple[str, ...]] = ()


class Screen(Protocol):
    """Where the story is shown."""

    def show(self, view: View) -> None:
        """Show the present state; must not wait for a terminal."""

    def still(self, view: View) -> None:
        """Show what is worth keeping at the end of a part."""

    def close(self, view: View) -> None:
        """Put the terminal back; what was said stays readable."""


def paragraphs(lines: Sequence[Line], width: int) -> list[tuple[str, str]]:
    """Return (style, text) of each row that the lines take."""
    rows: list[tuple[str, str]] = []
    for line in lines:
        if line.kind == "heading":
            rows.append((STYLES[line.kind], f"── {line.text} ".ljust(min(width, LONGEST_LINE), "─")[:width]))
        else:
            wrapped = textwrap.wrap(line.text, max(10, min(width, LONGEST_LINE) - 3), break_on_hyphens=False)
            rows += [(STYLES[line.kind], f"   {row}") for row in wrapped]
    return rows


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return a table as lines, the first column to the left, all others to the right; columns that have no room go.

    Each cell is as wide as "99,999" at least, so that a growing number does not move the rest.
    """
    widths = [max(NARROWEST_CELL, *map(len, column)) for column in zip(header, *rows, strict=True)]
    shown = list(range(len(header)))
    for droppable in FIRST_TO_GO:
        if sum(widths[place] + 2 for place in shown) - 2 > width and droppable in header:
            shown.remove(header.index(droppable))
    return [
        "  ".join(row[place].rjust(widths[place]) if place else row[0].ljust(widths[0]) for place in shown)
        for row in (header, *rows)
    ]


class LineScreen:
    """Plain lines on stdout: for pipes, for terminals that cannot move a cursor, and where rich is missing."""

    def __init__(self) -> None:
        self._shown = 0

    def show(self, view: View) -> None:
        """Print what was not printed yet."""
        for line in view.lines[self._shown :]:
            print(f"\n--- {line.text} ---" if line.kind == "heading" else line.text, flush=True)
        self._shown = len(view.lines)

    def still(self, view: View) -> None:
        """Print the tables."""
        self.show(view)
        for header, rows in ((PROVIDER_HEADER, view.providers), (SERVICE_HEADER, view.services)):
            print("\n" + "\n".join(f"    {line}" for line in text_table(header, rows, LONGEST_LINE)), flush=True)

    def close(self, view: View) -> None:
        """Print the rest."""
        self.show(view)


def has_rich() -> bool:
    """Tell whether the live screen can be had."""
    return find_spec("rich") is not None


class LiveScreen:
    """The terminal's other screen, drawn anew at each `show`, in a thread: neither it nor a slow line delays an ask.

    Args:
        on_gone: called, in that thread, when the terminal cannot be written to.
    """

    def __init__(self, on_gone: Callable[[], object]) -> None:
        from rich.console import Console  # noqa: PLC0415 - plain lines do without rich
        from rich.live import Live  # noqa: PLC0415

        self._on_gone = on_gone
        self._console = Console()
        self._live = Live(
            console=self._console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._thread = ThreadPoolExecutor(1, "screen")
        self._drawing: Future[None] | None = None
        self._live.start()

    def show(self, view: View) -> None:
        """Draw it, unless the terminal has not taken the last one yet."""
        if self._drawing is None or self._drawing.done():
            self._drawing = self._thread.submit(self._draw, view)

    def still(self, view: View) -> None:
        """Nothing: it is on the screen."""

    def _draw(self, view: View) -> None:
        try:
            width, height = self._console.size
            self._live.update(picture(view, width, height), refresh=True)
        except OSError:
            self._on_gone()

    def close(self, view: View) -> None:
        """Leave the other screen, and print what was said on the usual one."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        with suppress(OSError):  # the terminal was closed
            self._live.stop()
            self._print(view)

    def _print(self, view: View) -> None:
        from rich.text import Text  # noqa: PLC0415

        for style, row in paragraphs(view.lines, self._console.width):
            self._console.print(Text(row, style))


def picture(view: View, width: int, height: int) -> Any:
    """Return a rich renderable of exactly this size: the text's last rows, the tables, the keys."""
    from rich.console import Group  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    def row(text: str, style: str) -> Any:
        return Text(text[:width], style, no_wrap=True, overflow="crop")

    with_tables = width >= SMALLEST[0] and height >= SMALLEST[1] and bool(view.providers)
    blank = [Text("")] if height >= ROOMY_LINES else []
    tables: list[Any] = []
    taken = 2
    if with_tables:
        for header, rows in ((PROVIDER_HEADER, view.providers), (SERVICE_HEADER, view.services)):
            head, *lines = text_table(header, rows, width - 2)
            tables += [*blank, row(f" {head}", "underline")]
            tables += [row(f" {line}", "red" if " killed" in line else "") for line in lines]
            taken += len(blank) + 1 + len(rows)
    said = paragraphs([*view.lines, *view.live], width)
    room = max(1, height - taken - len(blank))
    said = said[-room:]
    story = [row(text, style) for style, text in said]
    story += [Text("")] * (room - len(story))
    hint = KEYS_HINT if with_tables or not view.providers else f"{KEYS_HINT} (tables: 60x18)"
    return Group(
        row(f" zfoo_py cluster   {view.clock}".ljust(width), "reverse"),
        *story,
        *tables,
        *blank,
        row(f" {hint}", "bold"),
    )
