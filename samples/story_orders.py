"""What happens to the cluster in the story: kills and joins, measured, whether the story or a person orders them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from samples import story_words
from samples.story_change import Change, Explain, explain, judge
from samples.story_plot import Moment
from zfoo_py.events import ProviderDown, ProviderUp

if TYPE_CHECKING:
    from collections import Counter

    from samples.running import Cluster
    from samples.story_words import Line
    from zfoo_py.consumer.balancer import Provider
    from zfoo_py.consumer.key_cache import KeyCache

__all__ = ["Orders"]

# So many providers of visits at most, whatever a person types.
MAX_PROVIDERS = 6
# Orders that were typed and wait for the one under way; more are not heard.
MAX_WAITING_ORDERS = 4
# The longest wait for the consumer to notice a change, and for a key that moved to be asked again.
NOTICE_LIMIT_S = 10.0
ANSWER_LIMIT_S = 3.0
POLL_S = 0.01


class Orders:
    """Does one change after another, and says what it did.

    Args:
        cluster: where.
        cache: gives the consumer's cache of visits; read on the same loop, never touched.
        failed: error name → how many asks failed so far.
        say: adds a line to the story.

    Attributes:
        offers: provider → modules, of all that were ever there.
        dead: who was killed.
        moments, rings: for the pictures.
        quit: a person wants the verdict.
        explain: tells why a key moved.
    """

    explain: Explain = staticmethod(explain)

    def __init__(
        self,
        cluster: Cluster,
        cache: Callable[[], KeyCache[Provider]],
        failed: Counter[str],
        say: Callable[[Line], None],
    ) -> None:
        self.offers: dict[str, tuple[str, ...]] = {}
        self.dead: list[str] = []
        self.moments: list[Moment] = []
        self.rings: list[tuple[str, dict[str, str]]] = [("at first", dict(cluster.recorder.members["visits"]))]
        self._cluster = cluster
        self._cache = cache
        self._failed = failed
        self._say = say
        self._waiting: asyncio.Queue[str] = asyncio.Queue(MAX_WAITING_ORDERS)
        self._one_at_a_time = asyncio.Lock()
        self._change: Change | None = None
        self._was_answered = asyncio.Event()
        self._last: Change | None = None
        for module, members in cluster.recorder.members.items():
            for provider in members:
                self.offers[provider] = (*self.offers.get(provider, ()), module)
        cluster.node.events.subscribe(ProviderDown, self._heard)
        cluster.node.events.subscribe(ProviderUp, self._heard)

    # --- what a person orders

    def typed(self, order: str) -> None:
        """Take an order; it waits for those before it."""
        if not self._waiting.full():
            self._waiting.put_nowait(order)

    async def obey(self) -> None:
        """Do what was typed, until this is cancelled."""
        table = {"kill": self.kill, "add": self.add, "explain": self.explain_last}
        while True:
            await table[await self._waiting.get()]()

    async def finish(self) -> None:
        """Wait until the change under way has had its effect."""
        async with self._one_at_a_time:
            return

    # --- what is done

    async def kill(self, name: str = "") -> None:
        """SIGKILL a provider of visits, by default the one that joined last, and say what that did."""
        async with self._one_at_a_time:
            members = sorted(self._members, key=_by_number)
            if len(members) < 2:
                self._say(story_words.last_one(members[-1]))
                return
            name = name if name in members else members[-1]
            failed = self._failed.total()
            change = self._begin("killed", name)
            await self._cluster.kill(name)
            self.dead.append(name)
            await self._effect(change, failed)

    async def add(self) -> None:
        """Start one provider of visits more, and say what that did."""
        async with self._one_at_a_time:
            if len(self._members) >= MAX_PROVIDERS:
                self._say(story_words.enough(list(self._members)))
                return
            name = self.next_name()
            self.offers[name] = ("visits",)
            failed = self._failed.total()
            change = self._begin("joined", name)
            await self._cluster.start(name)
            await self._effect(change, failed)

    async def explain_last(self) -> None:
        """Say why the key moved that was asked again first."""
        last = self._last
        if last is None or last.first_key is None:
            self._say(story_words.NOTHING_MOVED)
        else:
            self._say(story_words.explained(self.explain(last.first_key, last.before, last.after)))

    def next_name(self) -> str:
        """Return the name of the next provider of visits: each name is of one life of one process."""
        numbers = [int(name.rpartition("-")[2]) for name in self.offers if name.startswith("visits-")]
        return f"visits-{max(numbers) + 1}"

    # --- how it is measured

    @property
    def _members(self) -> Mapping[str, str]:
        return self._cluster.recorder.members["visits"]

    def _heard(self, event: ProviderDown | ProviderUp) -> None:
        """Take down what there was, in the consumer's own turn: its ring has changed, its entries have not yet."""
        change = self._change
        if change is None or event.node_id != change.provider or change.noticed_s is not None:
            return
        change.heard(time.perf_counter(), self._members, self._owners(), self._cache().evictions[change.cause])

    def took(self, record: tuple[Any, ...]) -> None:
        """Take down an answered ask."""
        change = self._change
        if change is not None and record[1] == "visits":
            change.answered(time.perf_counter(), record[2], record[4])
            if change.first_answer_s is not None:
                self._was_answered.set()

    def _owners(self) -> dict[str, str]:
        return {str(key): entry.provider.node_id for key, entry in self._cache().entries.items()}

    def _begin(self, event: Literal["killed", "joined"], name: str) -> Change:
        self._was_answered.clear()
        self._change = Change(event, name, time.perf_counter())
        return self._change

    async def _effect(self, change: Change, failed: int) -> None:
        """Wait until all of it is there, and say it."""
        is_there = change.event == "joined"
        try:
            async with asyncio.timeout(NOTICE_LIMIT_S):
                await self._cluster.recorder.until(lambda members: (change.provider in members["visits"]) == is_there)
            async with asyncio.timeout(ANSWER_LIMIT_S):
                await self._was_answered.wait()
                while self._cache().unswept:  # noqa: ASYNC110 - the sweep tells nobody that it has ended
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            pass  # the sentence says what never came
        self._change = None
        change.after = dict(self._members)
        moves = await asyncio.to_thread(judge, change, self._owners(), self._cache().evictions[change.cause])
        self._last = change
        self._say(story_words.changed(change, moves, self._failed.total() - failed))
        happened = f"{change.provider} {change.event}"
        self.moments.append(Moment(change.begun_s if change.noticed_s is None else change.noticed_s, happened))
        self.rings.append((happened, change.after))


def _by_number(provider: str) -> int:
    return int(provider.rpartition("-")[2])
