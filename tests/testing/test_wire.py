"""One end of a connection in memory does what asyncio's transports do."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from tests.support.wires import paired
from zfoo_py.testing.wire import HIGH_WATER_BYTES


def test_bytes_arrive_in_order_in_a_later_callback():
    async def main(pair):
        near, far = await pair.connect()
        near.transport.write(b"a")
        near.transport.write(bytearray(b"b"))
        near.transport.write(b"")
        assert far.heard == "<made>"
        await pair.settle()
        far.transport.write(b"c")
        await pair.settle()
        assert (near.heard, far.heard) == ("<made>c", "<made>ab")
        assert near.transport.get_extra_info("peername") == far.transport.get_extra_info("sockname") == ("127.0.0.1", 9)
        assert near.transport.get_extra_info("sockname") == far.transport.get_extra_info("peername")

    paired(main)


def test_who_does_not_read_lets_bytes_stay_with_the_sender():
    """Above the bound the sender is told to pause, and once they are gone to go on."""

    async def main(pair):
        near, far = await pair.connect()
        near.transport.set_write_buffer_limits(high=10)
        far.transport.pause_reading()
        near.transport.write(b"x" * 10)
        assert near.flow == []
        near.transport.write(b"y")
        await pair.settle()
        assert near.flow == ["pause"]
        assert near.transport.get_write_buffer_size() == 11
        assert far.heard == "<made>"
        far.transport.resume_reading()
        await pair.settle()
        assert near.flow == ["pause", "resume"]
        assert near.transport.get_write_buffer_size() == 0
        assert far.heard == "<made>xxxxxxxxxxy"
        near.transport.set_write_buffer_limits()
        near.transport.write(b"x" * (HIGH_WATER_BYTES + 1))
        assert near.flow[-1] == "pause"

    paired(main)


def test_closing_comes_after_what_was_written():
    """Both ends hear of it once, and nothing can be written any more."""

    async def main(pair):
        near, far = await pair.connect()
        near.transport.write(b"last words")
        near.transport.close()
        near.transport.close()
        near.transport.write(b" and more")
        assert near.transport.is_closing()
        await pair.settle()
        assert (near.heard, far.heard) == ("<made><lost>", "<made>last words<lost>")
        assert far.transport.is_closing()
        far.transport.abort()
        await pair.settle()
        assert near.heard == "<made><lost>"

    paired(main)


def test_closing_waits_for_a_peer_that_does_not_read_and_aborting_does_not():
    async def main(pair):
        near, far = await pair.connect()
        far.transport.pause_reading()
        near.transport.write(b"unread")
        near.transport.close()
        await pair.settle()
        assert near.heard == "<made>"
        near.transport.abort()
        await pair.settle()
        assert near.heard == "<made><lost>"
        far.transport.resume_reading()
        await pair.settle()
        assert far.heard == "<made><lost>", "what had not arrived is lost"

    paired(main)


def test_delayed_bytes_come_later_and_the_end_after_them():
    async def main(pair):
        near, far = await pair.connect()
        pair.network.delay("near", "far", 2.0)
        near.transport.write(b"slow")
        near.transport.close()
        await pair.settle()
        assert far.heard == "<made>"
        began_s = pair.clock.time()
        await asyncio.sleep(5)
        assert far.heard == "<made>slow<lost>"
        assert far.at_s - began_s == 2.0
        assert near.heard == "<made><lost>"

    paired(main)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, 3.0]), st.sampled_from([0.0, 0.25, 1.0])), max_size=20))
def test_whatever_the_delays_nothing_overtakes(steps):
    """Delay now, then a wait: bytes arrive complete, in order, and not before their delay is over."""

    async def main(pair):
        near, far = await pair.connect()
        sent = ""
        for number, (delay_s, wait_s) in enumerate(steps):
            pair.network.delay("near", "far", delay_s)
            near.transport.write(f"{number},".encode())
            sent += f"{number},"
            await asyncio.sleep(wait_s)
            heard = far.heard.removeprefix("<made>")
            assert sent.startswith(heard)
            assert delay_s <= wait_s or not heard.endswith(f"{number},") or heard != sent
        await asyncio.sleep(4)
        assert far.heard == f"<made>{sent}"

    paired(main)
