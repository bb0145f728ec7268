"""Limits over several gateways: what a node may count of a window before it asks again.

A node is granted a block of what is left, and spends it alone. So a limit holds exactly, however many
nodes spend, and what they hold unspent is at most a hundredth of it. While the store is away, a node
goes on with its share of the limit, or refuses (OSTIARY_STORE_DOWN). A store that lost its data learns
from the nodes what they were granted, before it grants more of the same windows.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from ostiary.access.limits import Interval, kept_as
from ostiary.authority import measures
from ostiary.authority.lookup import Lookup
from ostiary.budgets.windows import AnotherLife, Life, NeedsBase, StoreAway, TakenBlock, Taking
from ostiary.gateway.contract import LIMIT_KEY, STORE_STATES, Ask, BadQuestion, BlockGrant
from ostiary.gateway.control import ControlError, Granted

if TYPE_CHECKING:
    from ostiary.budgets.store import WindowStore

log = logging.getLogger(__name__)

#: All nodes together hold at most 1 % of a limit unspent: a block each, and a quarter of one below
#: which the next is fetched.
BLOCKS = 125
QUARTER = 4
#: The smallest block that is fetched in advance.
FETCHED_IN_ADVANCE = 8
#: Seconds between tries while the store is away: the first pause, and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 2.0
#: Seconds of failures after which the store counts as away, and between two tries until then.
AWAY_AFTER, TRY_SECONDS = 0.5, 0.05
#: Seconds that a question waits for the other nodes' claims after the store has lost its data.
CLAIM_SECONDS = 1.3
#: Seconds between two looks at the store.
BEAT_SECONDS = 1.0
#: Seconds that nodes' clocks may differ: a window counts as begun before a life that began so much earlier.
CLOCKS_DIFFER = 2
#: A limit that is only watched: far above every count, and exact in the store's arithmetic.
BOUNDLESS = 2**50

_INTERVALS = {each.seconds: each for each in Interval}


class Breaker:
    """Opens after the store has failed for a while, and then lets one try through at a time.

    A moment without an answer only makes calls wait: a node that goes on alone counts less exactly.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._next = 0.0
        self._pause = FIRST_PAUSE

    @property
    def is_open(self) -> bool:
        return self._since is not None and self._clock() - self._since >= AWAY_AFTER

    def may_try(self) -> bool:
        if not self.is_open:
            return True
        now = self._clock()
        if now < self._next:
            return False
        # Who asks meanwhile does not wait for the outcome of this try.
        self._next = now + self._pause
        return True

    def failed(self) -> None:
        now = self._clock()
        if self._since is None:
            self._since = now
        elif self.is_open:
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
        self._next = now + self._pause

    def succeeded(self) -> None:
        self._since, self._pause = None, FIRST_PAUSE


class Budgets:
    """Grants blocks to the gateway of this machine.

    `claims` asks that gateway what it was granted, by window; `live` says how many gateways spend.
    """

    def __init__(
        self,
        store: "WindowStore",
        lookup: Lookup,
        claims: Callable[[], Awaitable[Granted]],
        *,
        down: str,
        live: Callable[[], int],
        name: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._lookup, self._claims = store, lookup, claims
        self._down, self._live, self._clock = down, live, clock
        self._name = name
        self._breaker = Breaker()
        #: The store's life; none: it must be entered again. And the one that the node has claimed in.
        self._life: Life | None = None
        self._claimed_in = ""
        self._entering = asyncio.Lock()
        self._told_away = False

    @property
    def is_away(self) -> bool:
        """The store did not answer when it was last asked."""
        return self._breaker.is_open

    async def run(self) -> None:
        """Look after the store until cancelled, also while no call needs it."""
        while True:
            try:
                if self._breaker.may_try():
                    await self._enter(again=True)
            except StoreAway as error:
                self._lost(error)
            except Exception:
                log.exception("the store of shared limits could not be entered")
            await asyncio.sleep(BEAT_SECONDS)

    async def grant(self, ask: Ask) -> BlockGrant:
        """Answer the gateway; raises BadQuestion."""
        window = _parts(ask.window)
        live = max(1, self._live())
        block = ask.limit // (BLOCKS * live)
        taken = await self._patiently(ask, block, window)
        if taken is None:
            return self._alone(ask, block, live)
        left = max(0, ask.limit - taken.counted)
        return self._answer(ask, taken.granted, taken.counted, left, block, "answers")

    # --- with the store ------------------------------------------------------------------------

    async def _patiently(
        self, ask: Ask, block: int, window: tuple[int, int, int]
    ) -> TakenBlock | None:
        """What the store grants; nothing if it is away, or other nodes have not claimed in time."""
        until = time.monotonic() + CLAIM_SECONDS
        while self._breaker.may_try():
            try:
                with measures.asking_store():
                    taken = await self._taken(ask, block, window)
            except StoreAway as error:
                self._lost(error)
            else:
                if taken is not None or time.monotonic() >= until:
                    return taken
            if self._breaker.is_open:
                break
            await asyncio.sleep(TRY_SECONDS)
        return None

    async def _taken(self, ask: Ask, block: int, window: tuple[int, int, int]) -> TakenBlock | None:
        """What the store grants; nothing if it may not grant of this window yet. Raises StoreAway."""
        taking = Taking(
            window=ask.window,
            node=f"{self._name}/{ask.birth}",
            limit=ask.limit if ask.bound else BOUNDLESS,
            need=ask.need,
            least=ask.least,
            block=block,
            claimed=ask.granted,
            returned=ask.returned,
            seconds=max(0, ask.ends - int(self._clock())),
        )
        for _ in range(2):
            life = await self._enter()
            if not life.whole and window[2] < life.at + CLOCKS_DIFFER:
                return None
            try:
                return await self._from(life, taking, ask, window)
            except AnotherLife:
                self._life = None
        return None

    async def _from(
        self, life: Life, taking: Taking, ask: Ask, window: tuple[int, int, int]
    ) -> TakenBlock:
        try:
            return await self._store.take(taking, life.born)
        except NeedsBase:
            base = await self._counted_before(ask, *window)
            return await self._store.take(taking, life.born, base)

    async def _counted_before(self, ask: Ask, profile: int, seconds: int, start: int) -> int:
        """What the database has of a window that the store does not know."""
        interval = ask.period or kept_as(_INTERVALS[seconds])
        return await self._lookup.quota_used(profile, interval, start) if interval else 0

    async def _enter(self, *, again: bool = False) -> Life:
        """The store's life, with all claims of this node made in it; raises StoreAway."""
        life = self._life
        if life is not None and life.whole and not again:
            return life
        async with self._entering:
            known = self._life
            if known is not None and known.whole and not again:
                return known
            enter = partial(self._store.enter, self._name, live=max(1, self._live()))
            life = await enter(claimed=self._claimed_in, anew=known is None)
            if life.born != self._claimed_in:
                await self._claim(life)
                life = await enter(claimed=life.born)
                self._claimed_in = life.born
            self._life = life
        if self._told_away:
            self._told_away = False
            log.info("the store of shared limits answers again")
        self._breaker.succeeded()
        return life

    async def _claim(self, life: Life) -> None:
        """Tell the store what the gateway was granted of windows that have not ended."""
        try:
            granted = await self._claims()
        except ControlError as error:
            raise StoreAway("the gateway does not say what it was granted") from error
        for window, (amount, seconds) in granted.windows.items():
            claim = Taking(
                window=window, node=f"{self._name}/{granted.birth}", limit=0, need=0, least=1,
                block=0, claimed=amount, returned=0, seconds=seconds,
            )  # fmt: skip
            try:
                await self._store.take(claim, life.born)
            except NeedsBase:
                # Who asks next brings it.
                continue

    def _lost(self, error: StoreAway) -> None:
        self._life = None
        self._breaker.failed()
        if self._breaker.is_open and not self._told_away:
            self._told_away = True
            log.warning("the store of shared limits does not answer: %s", error)

    # --- without the store ---------------------------------------------------------------------

    def _alone(self, ask: Ask, block: int, live: int) -> BlockGrant:
        """Grant this node's share of the limit, less what it was granted."""
        share = ask.limit // live
        if not ask.bound:
            granted = max(ask.need, block) if ask.need else 0
            left = max(0, ask.limit - ask.counted - granted)
            return self._answer(ask, granted, ask.counted + granted, left, block, "share")
        if self._down == "refuse" or not share:
            return self._answer(ask, 0, ask.counted, 0, block, "refuse")
        kept = ask.granted - ask.returned
        elsewhere = max(0, ask.counted - ask.granted)
        # Nor more than is left, as far as this node knows.
        left = max(0, min(share, ask.limit - elsewhere) - kept)
        granted = min(left, max(ask.need, block)) if ask.need and left >= ask.least else 0
        counted = elsewhere + kept + granted
        return self._answer(ask, granted, counted, left - granted, block, "share")

    def _answer(
        self, ask: Ask, granted: int, counted: int, left: int, block: int, state: str
    ) -> BlockGrant:
        measures.asked_for_budget(state, granted=granted > 0, looked=not ask.need)
        return BlockGrant(
            granted=granted,
            counted=counted,
            left=left,
            low=block // QUARTER if block >= FETCHED_IN_ADVANCE else 0,
            store=STORE_STATES[state],
        )


def _parts(window: str) -> tuple[int, int, int]:
    """Profile, seconds and start of a window; raises BadQuestion."""
    parts = window.split("/")
    if len(parts) != len(LIMIT_KEY) or parts[0] not in {"r", "q"}:
        raise BadQuestion
    try:
        profile, seconds, start = map(int, parts[1:])
    except ValueError:
        raise BadQuestion from None
    if (parts[0] == "r") != (seconds in _INTERVALS):
        raise BadQuestion
    return profile, seconds, start
