"""What the codecs cost: a packet → the frame of an ask → the packet, with msgpack and as Java zfoo has it.

    python benchmarks/codecs.py [--rounds N]
    python benchmarks/codecs.py --hostile       # what wrong messages cost: bits flipped, cut, with noise in them

`ask` is the message of W1-W3. The codecs take turns within a round; what counts is the ratio to msgpack in the same
round, of processor time.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path
from statistics import median
from time import process_time
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from zfoo_py_adapter import NAME, PAYLOAD, TAGS, EchoAsk  # noqa: E402 - beside this file

from zfoo_py import DecodeError, Int, Packet, ProtocolModule  # noqa: E402 - found only now
from zfoo_py.protocol.attachment import CLIENT_KEYED  # noqa: E402
from zfoo_py.protocol.framing import HEADER_BYTES, frame  # noqa: E402
from zfoo_py.protocol.msgpack_codec import MsgpackCodec  # noqa: E402
from zfoo_py.protocol.zfoo_java_codec import ZfooJavaCodec  # noqa: E402
from zfoo_py.protocol.zfoo_json_codec import ZfooJsonCodec  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

BASE = "msgpack"
CODECS = (BASE, "zfoo-java", "zfoo-json")
# Processor time of one codec with one packet in one round: short, so that what disturbs it hits all of them alike.
SLICE_S = 0.01
LANE, REMAINING_MS = 12_345, 3_000
# Of each packet and codec; so many take a second.
WRONG_MESSAGES = 2_000

shapes = ProtocolModule(102, "shapes")


class Place(Packet):
    x: Int
    y: Int
    name: str


@shapes.packet(1200)
class Number(Packet):
    id: int


@shapes.packet(1201)
class Nested(Packet):
    id: int
    home: Place
    places: list[Place]


@shapes.packet(1202)
class Ints(Packet):
    ints: list[int]


@shapes.packet(1203)
class Counts(Packet):
    counts: dict[str, int]


@shapes.packet(1204)
class Doubles(Packet):
    ratio: float
    doubles: list[float]


@shapes.packet(1205)
class Texts(Packet):
    texts: list[str]


PACKETS: dict[str, Packet] = {
    "ask": EchoAsk(123_456, NAME, PAYLOAD, TAGS),
    "one number": Number(123_456),
    "6 packets in a packet": Nested(7, Place(1, -2, "home"), [Place(i, 1000 * i, f"place {i}") for i in range(5)]),
    "100 ints": Ints([(i * 7919) % 100_003 for i in range(100)]),
    "50 texts → ints": Counts({f"key-{i}": i * 31 for i in range(50)}),
    "100 doubles": Doubles(0.5, [i / 7 for i in range(100)]),
    "50 texts": Texts([f"text number {i}" for i in range(50)]),
}

Step = tuple["Callable[[Packet], bytes]", "Callable[[bytes], object]"]


def steps() -> dict[str, Step]:
    """Return for each codec: packet → frame of an ask, and body of a frame → what a session makes of it."""
    msgpack = MsgpackCodec()
    made: dict[str, Step] = {
        BASE: (lambda p: msgpack.ask_frame(msgpack.encode(p), 77, CLIENT_KEYED, LANE, REMAINING_MS), msgpack.decode)
    }
    for name, codec in (("zfoo-java", ZfooJavaCodec()), ("zfoo-json", ZfooJsonCodec())):

        def encode(packet: Packet, codec: ZfooJavaCodec | ZfooJsonCodec = codec) -> bytes:
            return frame(codec.ask(codec.encode(packet), 77, CLIENT_KEYED, LANE))

        made[name] = (encode, codec.decode_message)
    return made


def time_us(run: Callable[..., object], what: object, count: int) -> float:
    begun = process_time()
    for _ in range(count):
        run(what)
    return (process_time() - begun) / count * 1e6


def measure(rounds: int) -> None:
    """Print a table: µs, and the ratio to msgpack, of each packet."""
    made = steps()
    print(
        f"{'packet':22} {'codec':10} {'bytes':>6} {'encode µs':>10} {'decode µs':>10}  x msgpack: encode, decode, both"
    )
    for title, packet in PACKETS.items():
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in CODECS}
        bodies = {name: made[name][0](packet)[HEADER_BYTES:] for name in CODECS}
        counts = {}
        for name, (encode, decode) in made.items():
            assert decode(bodies[name])[1] == packet  # type: ignore[index]
            once_us = time_us(encode, packet, 50) + time_us(decode, bodies[name], 50)
            counts[name] = max(10, int(SLICE_S / 2 / (once_us / 2 * 1e-6)))
        for number in range(rounds):
            for name in CODECS if number % 2 == 0 else CODECS[::-1]:
                encode, decode = made[name]
                count = counts[name]
                found[name].append((time_us(encode, packet, count), time_us(decode, bodies[name], count)))
        for name in CODECS:
            line = f"{title:22} {name:10} {len(bodies[name]):6,}"
            line += "".join(f" {median(row[way] for row in found[name]):10.2f}" for way in (0, 1))
            if name != BASE:
                pairs = list(zip(found[name], found[BASE], strict=True))
                both = [sum(mine) / sum(base) for mine, base in pairs]
                ways = [[mine[way] / base[way] for mine, base in pairs] for way in (0, 1)]
                line += "  " + ", ".join(f"{median(r):.2f} ({min(r):.2f}-{max(r):.2f})" for r in (*ways, both))
            print(line, flush=True)
    print(f"medians (least-greatest) of {rounds} rounds; processor time; ratios within a round")


def spoiled(body: bytes, rng: random.Random) -> bytes:
    """Return a message that somebody has worked on."""
    data = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    kind = rng.randrange(3)
    if kind == 1:
        return bytes(data[: rng.randrange(1, len(data))])
    if kind == 2:
        at = rng.randrange(len(data))
        data[at:at] = rng.randbytes(rng.randrange(1, 2 * len(data)))
    return bytes(data)


def measure_hostile(count: int) -> None:
    """Print a table: µs to read the right message, and `count` wrong ones of up to three times its length."""
    print(f"{'packet':22} {'codec':10} {'right':>8} {'median':>8} {'99 %':>8} {'worst':>8} µs; wrong ones refused")
    for title, packet in PACKETS.items():
        for name, (encode, decode) in steps().items():
            body = encode(packet)[HEADER_BYTES:]
            rng = random.Random(title)
            refused = 0

            def decode_wrong(message: bytes, decode: Callable[[bytes], object] = decode) -> None:
                nonlocal refused
                try:
                    decode(message)
                except DecodeError:
                    refused += 1

            wrong = [spoiled(body, rng) for _ in range(count)]
            costs = sorted(min(time_us(decode_wrong, one, 1) for _ in range(3)) for one in wrong)
            right = min(time_us(decode, body, 10) for _ in range(20))
            places = (costs[count // 2], costs[count * 99 // 100], costs[-1])
            line = "".join(f" {cost:8.1f}" for cost in (right, *places))
            print(f"{title:22} {name:10}{line} {refused / 3 / count:9.0%}", flush=True)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=21, help="of all codecs, for each packet (default: 21)")
    parser.add_argument("--hostile", action="store_true", help="what wrong messages cost (default: right ones)")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be greater than 0")
    if options.hostile:
        measure_hostile(WRONG_MESSAGES)
    else:
        measure(options.rounds)


if __name__ == "__main__":
    main()
