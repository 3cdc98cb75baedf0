"""The file that tests of the command line load, and the folder where it stands."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# How long a process may take on a busy machine to do what takes it a tenth of a second.
LIMIT_S = 30

HELLO = """
from zfoo_py import Ask, Node, Packet, ProtocolModule, Session, packet_receiver

greetings = ProtocolModule(30, "greetings")

@greetings.packet(3001)
class HelloAnswer(Packet):
    text: str

@greetings.packet(3000, balance_by="name")
class HelloAsk(Ask[HelloAnswer]):
    name: str

@packet_receiver
async def at_hello(session: Session, ask: HelloAsk) -> HelloAnswer:
    return HelloAnswer(f"hello {ask.name}, says {session.node.id}")
"""
NODE = HELLO + '\nnode = Node(provides=[greetings])\nother = "no node"\n'


class Folder:
    """The current folder of a test, where it writes the files that the command line loads."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, text: str) -> str:
        """Write a file; return its name."""
        (self.path / name).parent.mkdir(exist_ok=True)
        (self.path / name).write_text(text, encoding="utf-8")
        return name
