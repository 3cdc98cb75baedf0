"""The card: its rows, and how it is printed."""

from __future__ import annotations

import json

from samples.drill import __main__ as drill
from samples.drill.card import FULL, ROWS, SHORT, Figure, Row, as_json, as_table, result_of


async def nothing(_stage):
    return Figure("", passed=True)


def test_texts_say_what_was_configured():
    one = Row("F2", "heartbeat {heartbeat_s} s", "≤ {drain_s} s", nothing)
    assert result_of(one, SHORT, Figure("x", passed=True)).what == f"heartbeat {SHORT.heartbeat_s} s"
    assert result_of(one, FULL, Figure("x", passed=True)).bar == f"≤ {FULL.drain_s} s"


def test_every_text_of_the_card_can_be_filled_in():
    for one in ROWS.values():
        for scale in (SHORT, FULL):
            result = result_of(one, scale, Figure("x", passed=True))
            assert "{" not in result.what + result.bar


def test_the_full_drill_takes_the_defaults_of_a_node():
    limits = drill.limits_of(FULL)
    assert limits == {name: getattr(drill.Limits(), name) for name in limits}


def test_json_has_exactly_the_promised_fields():
    [one] = json.loads(as_json([result_of(Row("F1", "w", "b", nothing), SHORT, Figure("f", passed=False))]))
    assert one == {"id": "F1", "what": "w", "bar": "b", "figure": "f", "passed": False}


def test_the_table_folds_its_cells_and_loses_no_word():
    result = result_of(Row("F1", "what " * 30, "bar " * 3, nothing), SHORT, Figure("figure", passed=False))
    table = as_table([result], width=100)
    assert max(map(len, table.splitlines())) <= 100
    assert (table.count("what"), table.count("bar"), table.count("figure"), table.count("NO")) == (31, 4, 2, 1)


def test_the_card_is_played_in_its_own_order():
    numbers = [(list(drill.CHAPTERS).index(id[0]), int(id[1:])) for id in drill.ids()]
    assert numbers == sorted(numbers)
    assert set(drill.ids()) == set(ROWS)
