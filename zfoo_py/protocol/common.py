"""Built-in packets: zfoo's (ids 100-150, zfoo.md section 2), and zfoo_py's own (32700 and above)."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from zfoo_py.protocol.java_types import Int, Long
from zfoo_py.protocol.packet import BUILT_IN, Packet, ProtocolModule

__all__ = [
    "CAN_CANCEL",
    "CAN_CHAIN",
    "CAPABILITIES",
    "MAY_BE_PICKED_AGAIN",
    "MAY_NOT_HAVE_RUN",
    "AdminAnswer",
    "AdminExplain",
    "AdminExplainChange",
    "AdminStats",
    "BrokerRegisterAsk",
    "Cancel",
    "DirectoryChange",
    "DirectoryRegister",
    "DirectoryUnregister",
    "DirectoryWatch",
    "Draining",
    "Error",
    "ErrorCode",
    "Heartbeat",
    "Hello",
    "Message",
    "PairIntLong",
    "PairLS",
    "PairLong",
    "PairString",
    "Ping",
    "Pong",
    "TripleLLS",
    "TripleLSS",
    "TripleLong",
    "TripleString",
    "common",
    "native",
    "zfoo_py_module",
]

# `Hello.capabilities`: what this version can do that a peer of another one, or of Java, may not know.
CAN_CANCEL: Final = "cancel"  # takes `Cancel`
CAN_CHAIN: Final = "chain"  # takes the chain of an ask; see `zfoo_py.router.chains`
CAPABILITIES: Final = (CAN_CANCEL, CAN_CHAIN)


class ErrorCode(IntEnum):
    """Codes of zfoo_py's own `Error` answers; an application's own errors are ordinary packets."""

    RECEIVER_RAISED = 1
    BAD_PACKET = 2  # the packet could not be decoded
    NOT_SERVED = 3  # this node does not provide the packet's module, or not in the group that the asker consumes
    NO_RECEIVER = 4
    OVERLOADED = 5
    DRAINING = 6
    EXPIRED = 7  # its deadline passed before the receiver started
    NO_ANSWER = 8  # the receiver ended without answering
    BAD_HELLO = 9
    ANSWER_TOO_LARGE = 10  # the receiver has run, but the asker's node takes no frame as long as its answer
    ASK_CYCLE = 11  # it could only begin when an ask ends that waits for it; the text is the path, a line each


# After one of these the receiver has certainly not run, so asking again is safe for every packet.
MAY_NOT_HAVE_RUN = frozenset(ErrorCode) - {
    ErrorCode.RECEIVER_RAISED,
    ErrorCode.NO_ANSWER,
    ErrorCode.ANSWER_TOO_LARGE,
}

# Of those, another provider, or the same one a moment later, may well take it.
MAY_BE_PICKED_AGAIN = frozenset((ErrorCode.NOT_SERVED, ErrorCode.OVERLOADED, ErrorCode.DRAINING))

native = ProtocolModule(1, "native", table=BUILT_IN)
common = ProtocolModule(2, "common", table=BUILT_IN)
zfoo_py_module = ProtocolModule(126, "zfoo_py", table=BUILT_IN)


@common.packet(100)
class Message(Packet):
    """A text for people. zfoo's codes: 0 error, 1 success, 2 info, 3 warning."""

    code: Int
    message: str


@common.packet(101)
class Error(Packet):
    """An ask went wrong; `code` is an `ErrorCode`, or the application's."""

    code: Int
    message: str


@common.packet(102)
class Heartbeat(Packet):
    """The peer lives; not answered."""


@common.packet(103)
class Ping(Packet):
    """Asks for a `Pong`."""


@common.packet(104)
class Pong(Packet):
    """The answer to `Ping`: the peer's clock in ms since 1970; 0 between Python nodes."""

    time: Long


@common.packet(110)
class PairIntLong(Packet):
    """Two values, as zfoo has them."""

    key: Int
    value: Long


@common.packet(111)
class PairLong(Packet):
    """Two values, as zfoo has them."""

    key: Long
    value: Long


@common.packet(112)
class PairString(Packet):
    """Two values, as zfoo has them."""

    key: str
    value: str


@common.packet(113)
class PairLS(Packet):
    """Two values, as zfoo has them."""

    key: Long
    value: str


@common.packet(114)
class TripleLong(Packet):
    """Three values, as zfoo has them."""

    left: Long
    middle: Long
    right: Long


@common.packet(115)
class TripleString(Packet):
    """Three values, as zfoo has them."""

    left: str
    middle: str
    right: str


@common.packet(116)
class TripleLSS(Packet):
    """Three values, as zfoo has them."""

    left: Long
    middle: str
    right: str


@common.packet(117)
class TripleLLS(Packet):
    """Three values, as zfoo has them."""

    left: Long
    middle: Long
    right: str


@common.packet(150)
class BrokerRegisterAsk(Packet):
    """A broker's client says what it is: 1 home, 2 home with GPU, 0 not said."""

    broker_type: Int


@zfoo_py_module.packet(32700)
class Hello(Packet):
    """The first packet of a session, each way.

    Attributes:
        wire_version: another version is refused.
        kind: "node" or "client"; limits and lane rules follow it.
        node_id: the node's name, for people.
        registration: the registration text as announced, or "".
        max_frame_bytes: the longest frame that the sender takes.
        capabilities: names of what the sender can do besides; unknown ones are ignored.
        token: room for an authentication token.
        consumes: what the sender calls, ``module-group`` each, as a registration text lists what is provided.
        weight: the sender's share of keys and asks, in parts of those of the other providers.
    """

    wire_version: int
    kind: str
    node_id: str = ""
    registration: str = ""
    max_frame_bytes: int = 0
    capabilities: list[str] = []  # noqa: RUF012 - msgspec copies it for each packet
    token: bytes = b""
    consumes: list[str] = []  # noqa: RUF012
    weight: int = 1


@zfoo_py_module.packet(32701)
class Draining(Packet):
    """The sender finishes what it has and takes nothing new."""


@zfoo_py_module.packet(32702)
class Cancel(Packet):
    """Nobody waits any more for these asks of the sender's on this session: cancelled, or their time is over.

    Only for peers whose Hello names the capability "cancel". Unknown ids are those of asks that have ended.
    """

    signal_ids: list[int]


@zfoo_py_module.packet(32710)
class DirectoryRegister(Packet):
    """Announce a registration text for as long as this session lives; again, to change its weight."""

    text: str
    weight: int = 1


@zfoo_py_module.packet(32711)
class DirectoryUnregister(Packet):
    """Take an announcement back."""

    text: str


@zfoo_py_module.packet(32712)
class DirectoryWatch(Packet):
    """Ask for a `DirectoryChange` with everything, and one for each change from then on."""


@zfoo_py_module.packet(32713)
class DirectoryChange(Packet):
    """Registrations that came and went. A snapshot holds all there are in `joined`.

    Attributes:
        joined: texts that were announced.
        left: texts that their nodes took back: they are shutting down in order.
        lost: texts whose session to the directory was lost; the nodes themselves may be well.
        snapshot: whether `joined` replaces all that was known.
        weights: of those that joined, in their order; empty if all are 1.
    """

    joined: list[str] = []  # noqa: RUF012
    left: list[str] = []  # noqa: RUF012
    lost: list[str] = []  # noqa: RUF012
    snapshot: bool = False
    weights: list[int] = []  # noqa: RUF012


@zfoo_py_module.packet(32720)
class AdminAnswer(Packet):
    """The answer to every question on the admin socket: a JSON document."""

    document: str


@zfoo_py_module.packet(32721)
class AdminStats(Packet):
    """Asks for the node's figures, as `Node.stats` gives them."""


@zfoo_py_module.packet(32722)
class AdminExplain(Packet):
    """Asks why a key goes where it goes.

    Attributes:
        module: name of the consumed module.
        kind: of the key (`zfoo_py.consumer.explain.KEY_KINDS`); "" for no key.
        key: its text.
    """

    module: str
    kind: str = ""
    key: str = ""


@zfoo_py_module.packet(32723)
class AdminExplainChange(Packet):
    """Asks what a membership version did; 0: the last change of each consumed module."""

    version: int = 0
