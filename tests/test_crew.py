"""Who of the worker processes is started, told and killed, and when; without a process."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zfoo_py.crew import RESTART_MAX_S, RESTART_MIN_S, STEADY_S, Crew, Kill, Start, Stop, addresses_of
from zfoo_py.errors import ConfigError, IllegalTransitionError

START_S, STOP_S = 70.0, 25.0


def crew_of(count: int, address: str = "127.0.0.1:0") -> Crew:
    return Crew([address] * count, START_S, STOP_S)


def up(count: int) -> Crew:
    """Return a crew of which all are up, at ports 9001 and on, at 0 s."""
    crew = crew_of(count)
    assert crew.due(0.0) == [Start(number, "127.0.0.1:0") for number in range(1, count + 1)]
    for number in range(1, count + 1):
        crew.came_up(number, f"127.0.0.1:{9000 + number}", 0.0)
    assert crew.due(0.0) == []
    assert crew.is_steady
    return crew


def test_one_that_dies_is_started_again_at_the_same_address_later_each_time():
    crew = up(2)
    now_s = 0.0
    delays = []
    for _ in range(9):
        delay_s = crew.ended(1, now_s)
        delays.append(delay_s)
        assert crew.due(now_s + delay_s - 0.01) == []
        assert crew.wait_s(now_s) == pytest.approx(delay_s)
        now_s += delay_s
        assert crew.due(now_s) == [Start(1, "127.0.0.1:9001")]
        crew.came_up(1, "127.0.0.1:9001", now_s)
        now_s += 1.0
    assert delays[:4] == [RESTART_MIN_S, 2 * RESTART_MIN_S, 4 * RESTART_MIN_S, 8 * RESTART_MIN_S]
    assert delays[-1] == RESTART_MAX_S


def test_one_that_was_up_for_long_begins_again_with_the_shortest_delay():
    crew = up(1)
    crew.ended(1, 1.0)
    crew.due(2.0)
    crew.came_up(1, "", 2.0)
    assert crew.ended(1, 2.0 + STEADY_S) == RESTART_MIN_S


def test_one_whose_port_was_taken_meanwhile_gets_another():
    crew = up(1)
    crew.ended(1, 0.0)
    assert crew.due(1.0) == [Start(1, "127.0.0.1:9001")]
    crew.ended(1, 2.0)
    assert crew.due(10.0) == [Start(1, "127.0.0.1:0")]
    assert not crew.failed


def test_one_that_never_came_up_ends_them_all():
    crew = crew_of(2)
    crew.due(0.0)
    crew.came_up(1, "", 1.0)
    crew.ended(2, 1.0)
    assert crew.failed == 2
    assert crew.due(1.0) == [Stop(1)]
    crew.ended(1, 2.0)
    assert crew.is_over
    assert crew.due(100.0) == []


def test_one_that_is_not_up_in_time_is_killed_once():
    crew = crew_of(1)
    crew.due(0.0)
    assert crew.wait_s(0.0) == START_S
    assert crew.due(START_S) == [Kill(1)]
    assert crew.due(START_S) == []
    assert crew.wait_s(START_S) is None
    crew.ended(1, START_S)
    assert crew.failed == 1


def test_a_reload_replaces_one_after_the_other():
    crew = up(3)
    crew.reload(10.0)
    for number in (1, 2, 3):
        assert crew.due(10.0) == [Stop(number)]
        assert crew.due(10.0) == []  # nobody else before this one is up again
        assert crew.ended(number, 11.0) == 0.0
        assert crew.due(11.0) == [Start(number, f"127.0.0.1:{9000 + number}")]
        assert not crew.is_steady
        crew.came_up(number, f"127.0.0.1:{9000 + number}", 12.0)
    assert crew.due(12.0) == []
    assert crew.is_steady


def test_a_reload_to_something_that_cannot_start_leaves_the_others_alone():
    crew = up(2)
    crew.reload(0.0)
    crew.due(0.0)
    crew.ended(1, 1.0)
    crew.due(1.0)
    crew.ended(1, 2.0)
    assert not crew.failed
    assert crew.due(100.0) == [Start(1, "127.0.0.1:0")]
    crew.ended(1, 101.0)
    crew.reload(101.0)  # mended: not after the delay, but now
    assert crew.due(101.0) == [Start(1, "127.0.0.1:0")]
    crew.came_up(1, "", 102.0)
    assert crew.due(102.0) == [Stop(2)]


def test_one_that_dies_before_its_turn_is_not_replaced_twice():
    crew = up(2)
    crew.reload(0.0)
    crew.due(0.0)
    crew.ended(2, 0.0)
    crew.ended(1, 0.0)
    assert crew.due(5.0) == [Start(1, "127.0.0.1:9001"), Start(2, "127.0.0.1:9002")]
    crew.came_up(1, "", 5.0)
    crew.came_up(2, "", 5.0)
    assert crew.due(5.0) == []
    assert crew.is_steady


def test_a_stop_tells_all_at_once_and_kills_those_that_hang():
    crew = up(3)
    crew.ended(3, 0.0)
    crew.stop()
    assert crew.due(1.0) == [Stop(1), Stop(2)]  # and 3 is not started again
    assert crew.wait_s(1.0) == STOP_S
    crew.ended(1, 1.0)
    assert not crew.is_over
    assert crew.due(1.0 + STOP_S) == [Kill(2)]
    crew.ended(2, 30.0)
    assert crew.is_over


def test_a_stop_in_the_middle_of_a_reload_and_of_a_start():
    crew = up(2)
    crew.reload(0.0)
    crew.due(0.0)
    crew.ended(1, 0.0)
    crew.due(0.0)
    crew.stop()
    assert crew.due(0.0) == [Stop(1), Stop(2)]
    crew.came_up(1, "", 0.0)  # it was just saying so
    crew.ended(1, 0.0)
    crew.ended(2, 0.0)
    assert crew.is_over
    assert not crew.failed


def test_one_that_ends_just_when_all_are_stopped_has_not_failed():
    crew = crew_of(1)
    crew.due(0.0)
    crew.stop()
    crew.ended(1, 0.0)
    assert crew.is_over
    assert not crew.failed


def test_what_is_not_in_the_table_raises():
    crew = up(1)
    with pytest.raises(IllegalTransitionError, match="state UP cannot take CAME_UP"):
        crew.came_up(1, "", 0.0)


@pytest.mark.parametrize(
    ("address", "addresses"),
    [
        (None, [None, None]),
        ("127.0.0.1:0", ["127.0.0.1:0", "127.0.0.1:0"]),
        ("[::1]:9000", ["[::1]:9000", "[::1]:9001"]),
    ],
)
def test_ports_follow_each_other_or_are_chosen(address, addresses):
    assert addresses_of(address, 2) == addresses


def test_ports_that_do_not_exist_are_refused():
    assert addresses_of("a:65534", 2) == ["a:65534", "a:65535"]
    with pytest.raises(ConfigError, match="3 processes from port 65534 need ports up to 65536"):
        addresses_of("a:65534", 3)


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["up", "end", "reload", "stop", "wait"])), max_size=60))
def test_whatever_happens_it_ends_and_never_has_two_processes_in_one_place(happens):
    crew = crew_of(3)
    running: dict[int, str] = {}
    now_s = 0.0

    def obey() -> None:
        for order in crew.due(now_s):
            if isinstance(order, Start):
                assert order.number not in running
                assert not crew.is_stopping
                running[order.number] = "starting"
            else:
                assert order.number in running

    def end(number: int) -> None:
        del running[number]
        assert 0.0 <= crew.ended(number, now_s) <= RESTART_MAX_S

    obey()
    for number, what in happens:
        now_s += 1.0
        if what == "up" and running.get(number) == "starting":
            running[number] = "up"
            crew.came_up(number, "", now_s)
        elif what == "end" and number in running:
            end(number)
        elif what == "reload":
            crew.reload(now_s)
        elif what == "stop":
            crew.stop()
        elif what == "wait":
            now_s += RESTART_MAX_S
        obey()
        assert running or crew.wait_s(now_s) is not None or crew.is_over  # it never waits for nothing
    crew.stop()
    obey()
    for number in list(running):
        end(number)
    obey()
    assert crew.is_over
    assert not running
