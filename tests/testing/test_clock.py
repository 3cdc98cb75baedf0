"""The fake clock, and the timers of a process that can be stopped."""

from hypothesis import given
from hypothesis import strategies as st

from zfoo_py.testing import FakeClock
from zfoo_py.testing.clock import HeldTimers


def test_timers_run_in_order_of_time_then_of_asking():
    """Nothing happens but by advance; a timer set by a timer runs in the same advance if it falls due."""
    clock, ran = FakeClock(), []
    clock.call_later(2, ran.append, "two")
    clock.call_later(1, ran.append, "one")
    clock.call_later(1, ran.append, "one again")
    clock.call_later(1, lambda: clock.call_later(0.5, ran.append, "from within"))
    cancelled = clock.call_later(1, ran.append, "cancelled")
    cancelled.cancel()
    assert clock.pending() == 4
    clock.advance(0.5)
    assert ran == []
    clock.advance(5)
    assert ran == ["one", "one again", "from within", "two"]
    assert clock.pending() == 0


def test_a_timer_sees_its_own_time():
    clock, seen = FakeClock(10.0), []
    for delay_s in (1.0, 2.5):
        clock.call_later(delay_s, lambda: seen.append(clock.time()))
    clock.advance(4.0)
    assert seen == [11.0, 12.5]
    assert clock.time() == 14.0


def test_what_is_due_next_is_known_and_cancelled_timers_are_not():
    clock = FakeClock(0.0)
    assert clock.next_due_s() is None
    first, _ = clock.call_later(1.0, int), clock.call_later(2.0, int)
    assert clock.next_due_s() == 1.0
    first.cancel()
    assert clock.next_due_s() == 2.0
    assert clock.time() == 0.0, "looking passes no time"


def test_passing_to_a_time_gives_what_is_due_to_the_caller():
    """And time never goes back."""
    clock, ran = FakeClock(0.0), []
    clock.call_later(1.0, ran.append, "one")
    clock.call_later(-5.0, ran.append, "overdue")
    clock.call_later(3.0, ran.append, "three")
    due = clock.pass_to(1.0)
    assert ran == []
    for timer in due:
        timer.run()
        timer.run()
    assert ran == ["overdue", "one"], "a timer runs once"
    assert clock.pass_to(0.5) == []
    assert clock.time() == 1.0


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans())), st.lists(st.floats(0, 50)))
def test_however_time_passes_the_same_timers_run_in_the_same_order(timers, steps):
    """In one advance or in many."""

    def run(steps):
        clock, ran = FakeClock(0.0), []
        for number, (delay_s, is_cancelled) in enumerate(timers):
            timer = clock.call_later(delay_s, ran.append, number)
            if is_cancelled:
                timer.cancel()
        for step in steps:
            clock.advance(step)
        return ran

    in_steps = run([*steps, 1000.0])
    assert in_steps == run([1000.0])
    assert in_steps == [n for n, (_, c) in sorted(enumerate(timers), key=lambda item: (item[1][0], item[0])) if not c]


def test_held_timers_go_off_late_in_order_and_the_others_in_time():
    """As those of a stopped process: its clock goes on, its callbacks wait."""
    clock, ran = FakeClock(0.0), []
    held = HeldTimers(clock)
    held.call_later(1.0, ran.append, "one")
    held.call_later(2.0, ran.append, "two")
    held.call_later(9.0, ran.append, "nine")
    cancelled = held.call_later(1.5, ran.append, "cancelled")
    held.hold()
    clock.advance(3.0)
    cancelled.cancel()
    assert ran == []
    assert held.time() == 3.0
    held.release()
    assert ran == ["one", "two"]
    clock.advance(6.0)
    assert ran == ["one", "two", "nine"]
