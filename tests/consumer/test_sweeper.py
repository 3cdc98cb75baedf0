"""The sweep's turns are bounded, go to those who need them, and leave the loop free now and then."""

from __future__ import annotations

from zfoo_py.consumer.sweeper import SWEEP_ENTRIES_PER_TURN, SWEEP_TURNS_PER_ROUND, Next, Sweeper


class Caches:
    """Service types, and how many entries of each are to be swept."""

    def __init__(self, **left):
        self.left = left
        self.budgets = []

    def sweep(self, name, budget):
        self.budgets.append((name, budget))
        self.left[name] = max(0, self.left[name] - budget)
        return not self.left[name]


def turns(sweeper, caches):
    """Turn until it is done."""
    found = []
    while not found or found[-1] is not Next.DONE:
        found.append(sweeper.turn(caches.sweep))
        assert len(found) < 10_000
    return found


def test_one_type_that_has_work_gets_the_whole_turn():
    """With a fixed share for each, one of four types would take four times as many turns."""
    caches, sweeper = Caches(busy=100_000, idle=0, empty=0, small=1), Sweeper()
    sweeper.begin(caches.left)
    assert len(turns(sweeper, caches)) == 201
    assert caches.budgets[:5] == [(name, SWEEP_ENTRIES_PER_TURN // 4) for name in caches.left] + [
        ("busy", SWEEP_ENTRIES_PER_TURN)
    ]


def test_a_turn_never_looks_at_more_than_its_bound():
    caches, sweeper = Caches(**{f"type-{n}": 1000 * n for n in range(7)}), Sweeper()
    sweeper.begin(caches.left)
    after = Next.BEHIND
    while after is not Next.DONE:
        caches.budgets.clear()
        after = sweeper.turn(caches.sweep)
        assert sum(budget for _, budget in caches.budgets) <= SWEEP_ENTRIES_PER_TURN
    assert not any(caches.left.values())


def test_now_and_then_the_loop_is_free():
    caches, sweeper = Caches(busy=10 * SWEEP_ENTRIES_PER_TURN), Sweeper()
    sweeper.begin(caches.left)
    found = turns(sweeper, caches)
    assert [place for place, after in enumerate(found, 1) if after is Next.NEXT_ROUND] == [
        SWEEP_TURNS_PER_ROUND,
        2 * SWEEP_TURNS_PER_ROUND,
    ]


def test_a_change_during_a_sweep_starts_no_second_one_and_asks_all_again():
    caches, sweeper = Caches(one=2000, other=0), Sweeper()
    assert sweeper.begin(caches.left)
    sweeper.turn(caches.sweep)
    caches.left["other"] = 700
    assert not sweeper.begin(caches.left)
    turns(sweeper, caches)
    assert not any(caches.left.values())
    assert sweeper.begin(caches.left)


def test_one_that_raises_is_not_asked_again():
    """The ConsumerActor gives None for it."""
    asked = []
    sweeper = Sweeper()
    sweeper.begin(["bad"])
    assert sweeper.turn(lambda name, _: asked.append(name)) is Next.DONE
    assert asked == ["bad"]


def test_without_service_types_it_is_done_at_once():
    sweeper = Sweeper()
    assert sweeper.begin([])
    assert sweeper.turn(lambda *_: False) is Next.DONE
