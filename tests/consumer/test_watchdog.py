"""The watchdog barks once for each fault that lasts, and at nothing else."""

from __future__ import annotations

from zfoo_py.consumer.watchdog import BOUND_S, Watchdog


def looks(*faults, every_s=0.5):
    dog = Watchdog()
    return [dog.look(fault, 100 + number * every_s) for number, fault in enumerate(faults)]


def test_it_is_quiet_while_nothing_differs_and_at_what_is_over_soon():
    assert not any(looks("", "", *["x"] * 4, "", *["x"] * 4, ""))


def test_it_barks_once_when_the_bound_is_over_and_says_how_long():
    found = looks(*["ring 3, membership 4"] * 10)
    assert [number for number, text in enumerate(found) if text] == [BOUND_S / 0.5]
    assert found[4].startswith("for 2.0 s, ring 3, membership 4: look for errors of its balancer")


def test_it_barks_again_at_the_next_fault():
    found = looks(*["x"] * 6, "", *["x"] * 6)
    assert [number for number, text in enumerate(found) if text] == [4, 11]
