"""A card whose rows cannot turn red proves nothing: with its protection switched off, a row must fail."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from samples.drill import __main__ as drill
from samples.drill.sabotage import OURS, SABOTAGES, Patches, sabotage

ROOT = Path(__file__).parents[3]
# Of each chapter those that are over soon; `make drill ARGS="--only ID --sabotage ID"` tries any.
SOON = ("F11", "O1", "O10", "H1", "H7")


async def played(*arguments):
    """Play the drill in a process of its own; return (exit code, its rows)."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "samples.drill", "--short", "--json", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=ROOT,
    )
    out, _ = await process.communicate()
    return process.returncode, json.loads(out)


@pytest.mark.slow
def test_a_row_whose_protection_is_switched_off_turns_red():
    async def main():
        return await asyncio.gather(*(played("--only", id, "--sabotage", id) for id in SOON))

    for id, (code, [row]) in zip(SOON, asyncio.run(main()), strict=True):
        assert row["id"] == id
        assert not row["passed"], row
        assert "could not be measured" not in row["figure"], row
        assert code == 1


@pytest.mark.slow
def test_one_json_list_and_exit_code_0_if_all_has_passed():
    code, rows = asyncio.run(played("--only", "F10,H7"))
    assert [(row["id"], row["passed"]) for row in rows] == [("F10", True), ("H7", True)], rows
    assert all(row.keys() == {"id", "what", "bar", "figure", "passed"} for row in rows)
    assert code == 0


def test_every_sabotage_is_of_a_row_and_leaves_nothing_when_it_is_undone():
    assert SABOTAGES.keys() <= set(drill.ids())
    assert set(OURS) <= SABOTAGES.keys()
    for id in SABOTAGES:
        patches = Patches()
        sabotage(id, patches)
        replaced = [(owner, name, before) for owner, name, before in patches._before]
        assert replaced
        patches.undo()
        assert all(getattr(owner, name) == before for owner, name, before in replaced)
    sabotage("", Patches())


def test_all_that_the_issue_wants_is_on_the_card_and_can_be_sabotaged():
    # fmt: off
    wanted = {
        "F1", "F2", "F7", "F10", "F11", "O1", "O2", "O4", "O8", "O9", "H1", "H3", "H5", "H7", "M2", "M3", "D1", "D2",
        "D8",
    }
    # fmt: on
    assert wanted <= set(drill.ids())
    assert wanted <= SABOTAGES.keys()
