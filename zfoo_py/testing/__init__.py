"""For tests of applications, and of zfoo_py: a cluster in one process, a clock that a test moves, an outside client.

::

    async def test_a_name_is_counted_by_one_provider(zfoo_cluster):
        async with zfoo_cluster(greetings, providers=3) as c:
            assert (await c.ask(HelloAsk("ada"))).count == 1
            assert (await c.ask(HelloAsk("ada"))).count == 2

``zfoo_cluster`` is a fixture of the pytest plugin that comes with zfoo_py; elsewhere it is `cluster`.
"""

from zfoo_py.testing.alive import Alive
from zfoo_py.testing.client import Client
from zfoo_py.testing.clock import FakeClock
from zfoo_py.testing.cluster import Cluster, cluster
from zfoo_py.testing.ledger import leaks
from zfoo_py.testing.network import MemoryHost, MemoryListener, MemoryNetwork
from zfoo_py.testing.proxy import ByteProxy

# fmt: off
__all__ = [
    "Alive", "ByteProxy", "Client", "Cluster", "FakeClock", "MemoryHost", "MemoryListener", "MemoryNetwork", "cluster",
    "leaks",
]
# fmt: on
