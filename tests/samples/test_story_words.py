"""The story's sentences say what was measured, and say so when it was wrong."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest

from samples import story_words
from samples.check_cluster import check
from samples.story_change import Change, Explanation, Moves
from samples.story_words import PARTS, counted, time_of
from samples.trace import synthetic
from tests.samples.simulation import quiet

KILLED = Change("killed", "visits-2", 10.0, noticed_s=10.003, first_answer_s=10.009, first_key="k")
JOINED = Change("joined", "visits-4", 20.0, noticed_s=20.5, first_answer_s=20.512, first_key="k")
EXACT = Moves(known=5000, evicted=1734, due=1734, others=0, stuck=0)


def test_the_parts_fill_the_time():
    assert list(PARTS) == [
        "steady",
        "SIGKILL of one provider",
        "a new one joins",
        "the old balancer beside the new one",
        "verdict",
    ]
    assert sum(PARTS.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0.0 ms"), (0.00123, "1.2 ms"), (0.0123, "12 ms"), (0.9, "900 ms"), (1.25, "1.2 s")]
)
def test_times(seconds, text):
    assert time_of(seconds) == text


def test_numbers():
    assert [counted(n, "key") for n in (0, 1, 1734)] == ["0 keys", "1 key", "1,734 keys"]


def test_a_kill_in_one_sentence():
    line = story_words.changed(KILLED, EXACT, 0)
    assert line == (
        "fact",
        (
            "visits-2 killed: noticed after 3.0 ms, 1,734 keys evicted, exactly those moved, 0 others; "
            "first answer from the new owner after 9.0 ms; no ask failed"
        ),
    )
    assert story_words.changed(KILLED, EXACT, 1).text.endswith("; 1 ask on the way failed")


def test_a_join_in_one_sentence():
    line = story_words.changed(JOINED, EXACT, 0)
    assert line == (
        "fact",
        (
            "visits-4 joined: its process was up and known after 500 ms, 1,734 of 5,000 keys moved to it, exactly "
            "those moved, 0 others; first answer from it 12 ms later; no ask failed"
        ),
    )
    assert story_words.changed(JOINED, EXACT, 2).text.endswith("; 2 asks failed")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"evicted": 1735}, "1,735 keys evicted, BUT 1,734 had to move, 0 did not, 0 others did"),
        ({"others": 2}, "BUT 1,734 had to move, 0 did not, 2 others did"),
        ({"stuck": 3}, "BUT 1,734 had to move, 3 did not, 0 others did"),
    ],
)
def test_what_is_not_exact_is_not_called_so(wrong, words):
    line = story_words.changed(KILLED, EXACT._replace(**wrong), 0)
    assert line.kind == "wrong"
    assert words in line.text
    assert "exactly" not in line.text


def test_what_never_came_is_said():
    assert "the new owner never came" in story_words.changed(replace(KILLED, first_answer_s=None), EXACT, 0).text
    assert "from it never came" in story_words.changed(replace(JOINED, first_answer_s=None), EXACT, 0).text
    unnoticed = story_words.changed(replace(KILLED, noticed_s=None), EXACT, 0)
    assert unnoticed == ("wrong", "visits-2 killed: the consumer did not notice")


def test_why_a_key_moved():
    text = story_words.explained(Explanation("10.0.0.7", 1000, "visits-2", 1234, "visits-3", 5678)).text
    assert text == (
        "why a key moved: 10.0.0.7 has hash 1,000; the next point on the ring was 1,234, of visits-2, "
        "and now it is 5,678, of visits-3: so that is its owner now"
    )


def test_the_two_lines_of_old_and_new():
    assert story_words.old(31204, 4_000_000, 1690.4, 14012, 42036).text == (
        "old: 31,204 keys, 3.8 MiB, +1,690 keys/s; misroutes 14,012 of 42,036 asks"
    )
    assert story_words.new(3000, 700_000, 3000, 0, 42000).text == (
        "new: 3,000 keys, 0.7 MiB, bound held; misroutes 0 of 42,000 asks"
    )
    assert "OVER THE BOUND" in story_words.new(3001, 700_000, 3000, 0, 1).text


def test_a_right_verdict_and_a_wrong_one():
    journal = quiet()
    right = check(journal, islice(synthetic(5), 600))
    (fact,) = story_words.verdict(right)
    assert fact.text.startswith("1,800 asks: 1,800 answered, 0 failed; misroutes 0, wrong owner 0; 0 keys moved, ")
    assert fact.text.endswith("every count is exact")
    assert story_words.last_word(right) == ("right", "verdict: right")
    for record in journal:
        if record["kind"] == "ask" and record["module"] == "visits":
            record["served_by"] = "pages-1"
    wrong = check(journal)
    lines = story_words.verdict(wrong)
    assert any(line.text.startswith("wrong: misroutes: ") for line in lines if line.kind == "wrong")
    assert story_words.last_word(wrong) == ("wrong", "verdict: wrong")
    assert story_words.verdict_of_old(wrong).text.startswith("the old balancer: wrong: misroutes 600 of 1,800 asks; ")
