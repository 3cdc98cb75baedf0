"""zfoo_py: actors and typed RPC for stateful services, in the style of Java's zfoo."""

from zfoo_py.config import NodeConfig
from zfoo_py.errors import (
    ActorError,
    AlreadyAnsweredError,
    AskCycleError,
    AskTimeoutError,
    BackpressureError,
    BalancerError,
    BlockingCallError,
    CallError,
    ConfigError,
    DeclarationError,
    DecodeError,
    EncodeError,
    ForkedError,
    FrameError,
    HelloError,
    IllegalTransitionError,
    InboxFullError,
    LocalProtocolError,
    MissingKeyError,
    NoProviderError,
    NotReadyError,
    PacketError,
    ProtocolError,
    ReceiverError,
    RemoteError,
    RemoteProtocolError,
    SessionClosedError,
    UnexpectedPacketError,
    UnmappedPacketError,
    ZfooError,
)
from zfoo_py.log import disable_logging, enable_logging
from zfoo_py.net.session import Session
from zfoo_py.node import Node
from zfoo_py.protocol.common import Error, Message
from zfoo_py.protocol.frozen_map import FrozenMap
from zfoo_py.protocol.java_types import Byte, Double, Float, Int, Long, Short, Wire
from zfoo_py.protocol.packet import Ask, Packet, PacketTable, ProtocolModule
from zfoo_py.router.answer import Answer
from zfoo_py.router.call import Call
from zfoo_py.router.receivers import packet_receiver
from zfoo_py.router.router import Interceptor

__version__ = "0.1.0"

__all__ = [
    "ActorError",
    "AlreadyAnsweredError",
    "Answer",
    "Ask",
    "AskCycleError",
    "AskTimeoutError",
    "BackpressureError",
    "BalancerError",
    "BlockingCallError",
    "Byte",
    "Call",
    "CallError",
    "ConfigError",
    "DeclarationError",
    "DecodeError",
    "Double",
    "EncodeError",
    "Error",
    "Float",
    "ForkedError",
    "FrameError",
    "FrozenMap",
    "HelloError",
    "IllegalTransitionError",
    "InboxFullError",
    "Int",
    "Interceptor",
    "LocalProtocolError",
    "Long",
    "Message",
    "MissingKeyError",
    "NoProviderError",
    "Node",
    "NodeConfig",
    "NotReadyError",
    "Packet",
    "PacketError",
    "PacketTable",
    "ProtocolError",
    "ProtocolModule",
    "ReceiverError",
    "RemoteError",
    "RemoteProtocolError",
    "Session",
    "SessionClosedError",
    "Short",
    "UnexpectedPacketError",
    "UnmappedPacketError",
    "Wire",
    "ZfooError",
    "disable_logging",
    "enable_logging",
    "packet_receiver",
]
