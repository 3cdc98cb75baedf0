"""What the story's screens make of one state."""

from __future__ import annotations

from io import StringIO

import pytest

from samples.story_meter import PROVIDER_HEADER, SERVICE_HEADER
from samples.story_screen import LineScreen, View, paragraphs, picture, text_table
from samples.story_words import Line

PROVIDERS = [(f"visits-{n}", "visits", "1,234", "1,000", "0.3 ms", "1.2 ms", "33.0 MiB") for n in range(6)]
PROVIDERS[1] = ("visits-1 killed", "visits", "-", "-", "-", "-", "-")
PROVIDERS[5] = ("mixed-1", "sessions, pages", *PROVIDERS[0][2:])
SERVICES = [
    (name, "1,000", "99,999", "90%", "1,734", "0", "0", "0", "0.5 MiB") for name in ("visits", "sessions", "pages")
]
SAID = [Line("heading", "steady"), Line("text", "One consumer asks many times. " * 8), Line("fact", "all is well")]
LIVE = [Line("old", "old: many"), Line("new", "new: few")]
VIEW = View("3 of 40 s", SAID, LIVE, PROVIDERS, SERVICES)


def drawn(view, width, height):
    """Return the rows that a terminal of this size would show."""
    console_module = pytest.importorskip("rich.console", reason="rich is not installed: `pip install rich`")
    console = console_module.Console(
        file=StringIO(), width=width, height=height, color_system=None, force_terminal=True
    )
    console.print(picture(view, width, height), end="")
    return [row.rstrip() for row in console.file.getvalue().splitlines()]


@pytest.mark.parametrize(("width", "height"), [(120, 36), (80, 24), (60, 20)])
def test_the_picture_fits_and_shows_tables_and_the_newest_words(width, height):
    rows = drawn(VIEW, width, height)
    assert len(rows) == height
    assert max(map(len, rows)) <= width
    assert rows[0].startswith(" zfoo_py cluster   3 of 40 s")
    assert rows[-1] == " k kill  a add  e explain  q quit"
    text = "\n".join(rows)
    for words in (
        "all is well",
        "old: many",
        "new: few",
        "visits-1 killed",
        "mixed-1",
        "evicted: down",
        "1,734",
        "p99",
    ):
        assert words in text
    assert ("sessions, pages" in text) == (width >= 80)
    assert "33.0 MiB" in text


def test_a_tiny_terminal_shows_the_newest_words():
    rows = drawn(VIEW, 40, 8)
    assert len(rows) == 8
    assert max(map(len, rows)) <= 40
    assert rows[-3:-1] == ["   old: many", "   new: few"]
    assert "visits-1" not in "\n".join(rows)
    assert len(drawn(VIEW, 5, 2)) >= 2


def test_before_the_cluster_is_up_there_are_no_tables():
    rows = drawn(View("0 of 40 s", SAID), 80, 24)
    assert len(rows) == 24
    assert not any("provider  " in row for row in rows)


def test_headings_are_ruled_and_words_are_wrapped():
    rows = paragraphs(SAID, 40)
    assert rows[0][1] == "── steady ──────────────────────────────"
    assert all(len(text) <= 40 for _, text in rows)
    assert " ".join(text.strip() for _, text in rows[1:-1]) == SAID[1].text.strip()
    assert rows[-1] == ("bold", "   all is well")


def test_a_table_loses_columns_rather_than_its_shape():
    wide = text_table(SERVICE_HEADER, SERVICES, 100)
    narrow = text_table(SERVICE_HEADER, SERVICES, 58)
    assert [len({len(row) for row in table}) for table in (wide, narrow)] == [1, 1]
    assert "memory" in wide[0]
    assert "memory" not in narrow[0]
    assert all(name in narrow[0] for name in ("cache of", "keys", "hits", "evicted: down", "join", "full"))
    assert len(narrow[0]) <= 58
    assert len(text_table(PROVIDER_HEADER, PROVIDERS, 58)[0]) <= 58


def test_plain_lines_are_printed_once_each_and_tables_when_a_part_ends(capsys):
    screen = LineScreen()
    screen.show(VIEW)
    screen.show(VIEW)
    assert capsys.readouterr().out == f"\n--- steady ---\n{SAID[1].text}\nall is well\n"
    screen.still(VIEW)
    assert "visits-1 killed" in capsys.readouterr().out
    screen.close(View("40 of 40 s", [*SAID, Line("right", "verdict: right")]))
    assert capsys.readouterr().out == "verdict: right\n"
