"""When silence is asked about, and when it is the end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zfoo_py.net.heartbeat import Heartbeat, Verdict


def life(heartbeat, frames_at_s, *, until_s, answers=False):
    """Run looks over a peer whose frames come at these times; return (time, verdict) of each."""
    now_s, seen, frames = heartbeat.look_s, [], 0
    frames_at_s = sorted(frames_at_s)
    while now_s <= until_s:
        frames += sum(1 for at_s in frames_at_s if at_s <= now_s)
        frames_at_s = [at_s for at_s in frames_at_s if at_s > now_s]
        beat = heartbeat.due(frames, now_s, is_reading=True)
        seen.append((now_s, beat.verdict))
        if beat.verdict is Verdict.DEAD:
            break
        if beat.verdict is Verdict.ASK and answers:
            frames_at_s.insert(0, now_s + 0.001)
        now_s += beat.next_s
    return seen


def test_a_silent_peer_is_asked_once_waited_for_and_dead():
    seen = life(Heartbeat(4.0, 5.0), [], until_s=100)
    W = Verdict.WAIT  # noqa: N806
    assert seen == [(2.0, Verdict.ASK), (4.0, W), (6.0, W), (8.0, W), (9.0, Verdict.DEAD)]


def test_a_peer_that_answers_is_asked_again_and_again_and_lives():
    seen = life(Heartbeat(4.0, 5.0), [], until_s=1000, answers=True)
    verdicts = [verdict for _, verdict in seen]
    assert verdicts.count(Verdict.ASK) > 100
    assert Verdict.DEAD not in verdicts


def test_silence_while_nothing_is_read_proves_nothing():
    heartbeat = Heartbeat(4.0, 4.0)
    assert all(heartbeat.due(1, 0.0, is_reading=False).verdict is Verdict.TELL for _ in range(20))
    assert [heartbeat.due(1, 0.0, is_reading=True).verdict for _ in range(4)] == [
        Verdict.ASK,
        Verdict.WAIT,
        Verdict.DEAD,
        Verdict.DEAD,
    ]


def test_latency_is_measured_once_per_interval_also_of_a_peer_that_speaks():
    heartbeat, asked = Heartbeat(4.0, 5.0), []
    for look in range(1, 9):
        now_s = 2.0 * look
        if heartbeat.due(look, now_s, is_reading=True).verdict is Verdict.ASK:
            asked.append(now_s)
            heartbeat.ponged(now_s + 0.25 * look)
    assert asked == [2.0, 6.0, 10.0, 14.0]
    assert heartbeat.latency_s == 0.25 * 7
    heartbeat.ponged(99.0)  # nobody asked
    assert heartbeat.latency_s == 0.25 * 7


def test_a_pong_after_reading_stood_still_measures_nothing():
    heartbeat = Heartbeat(4.0, 5.0)
    assert heartbeat.due(1, 2.0, is_reading=True).verdict is Verdict.ASK
    heartbeat.due(1, 4.0, is_reading=False)
    heartbeat.ponged(60.0)
    assert heartbeat.latency_s == 0.0


def test_a_peer_that_takes_nothing_for_interval_and_wait_is_stalled():
    heartbeat = Heartbeat(4.0, 5.0)
    assert not heartbeat.is_stalled(10, 5, 0.0, is_full=True)
    assert not heartbeat.is_stalled(10, 5, 8.9, is_full=True)
    assert not heartbeat.is_stalled(11, 5, 8.9, is_full=True)  # it took one byte
    assert not heartbeat.is_stalled(11, 5, 17.8, is_full=True)
    assert heartbeat.is_stalled(11, 5, 18.0, is_full=True)
    assert not heartbeat.is_stalled(11, 5, 18.1, is_full=False)
    assert not heartbeat.is_stalled(11, 5, 99.0, is_full=True)  # full only since now


def test_a_peer_that_takes_nothing_and_says_that_it_lives_is_busy():
    heartbeat = Heartbeat(4.0, 5.0)
    for beat in range(20):
        assert not heartbeat.is_stalled(10, beat // 4, 2.0 * beat, is_full=True)
    assert heartbeat.is_stalled(10, 4, 41.0, is_full=True)


times = st.lists(st.floats(0.0, 60.0), max_size=40)
spans = st.floats(0.1, 30.0)


@given(times, spans, spans)
def test_dead_at_most_interval_and_wait_after_the_last_frame(frames_at_s, interval_s, wait_s):
    seen = life(Heartbeat(interval_s, wait_s), frames_at_s, until_s=10_000)
    ended_s, verdict = seen[-1]
    assert verdict is Verdict.DEAD
    last_s = max((at_s for at_s in frames_at_s if at_s <= ended_s), default=0.0)
    assert ended_s - last_s <= interval_s + wait_s + 1e-6


@given(times, spans, spans)
def test_nobody_dies_without_having_been_asked_and_given_the_whole_wait(frames_at_s, interval_s, wait_s):
    seen = life(Heartbeat(interval_s, wait_s), frames_at_s, until_s=10_000)
    ended_s = seen[-1][0]
    asked_s = max(at_s for at_s, verdict in seen if verdict is Verdict.ASK)
    assert ended_s - asked_s >= wait_s - 1e-6
    assert not any(asked_s < at_s <= ended_s for at_s in frames_at_s)
