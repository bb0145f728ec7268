"""The store's scripts: a window never has more granted than its limit, and lost data is claimed again."""

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from tests.budgets.redis_server import StoreServer, store_server

from ostiary.budgets.store import WindowStore, counted, key_of
from ostiary.budgets.windows import AnotherLife, NeedsBase, StoreAway, TakenBlock, Taking

WINDOW = "r/1/60/1700000000"
_NODES = ("a/1", "b/1", "c/1")


@pytest.fixture(scope="module")
def server() -> Iterator[StoreServer]:
    with store_server() as started:
        yield started


@pytest.fixture
def empty(server: StoreServer) -> StoreServer:
    server.lose_data()
    return server


class Loop:
    """An event loop with a client of the store."""

    def __init__(self, url: str, owner: str = "tests") -> None:
        self._loop = asyncio.new_event_loop()
        self.store = WindowStore(url, owner=owner, seconds=30)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(coroutine)

    def close(self) -> None:
        self.run(self.store.close())
        self._loop.close()


@pytest.fixture
def loop(empty: StoreServer) -> Iterator[Loop]:
    made = Loop(empty.url)
    yield made
    made.close()


def a_taking(node: str = "a/1", **more: Any) -> Taking:
    usual = {"limit": 10, "need": 1, "least": 1, "block": 0, "claimed": 0, "returned": 0}
    return Taking(window=WINDOW, node=node, seconds=60, **{**usual, **more})


class Granting(RuleBasedStateMachine):
    """Nodes that take, give back and spend, against a store whose data may be lost."""

    loop: Loop
    server: StoreServer

    @initialize(
        limit=st.sampled_from([1, 2, 5, 30, 1000]),
        base=st.integers(0, 3),
        live=st.integers(1, 3),
    )
    def begin(self, limit: int, base: int, live: int) -> None:
        self.server.lose_data()
        self.limit, self.base = limit, min(base, limit)
        self.nodes = _NODES[:live]
        #: What each node has been granted, as the node knows it.
        self.granted: Counter[str] = Counter()
        self.highest = limit
        self.enter()

    def enter(self) -> None:
        """Every node claims: only then is anything granted in the store's life."""
        life = self.loop.run(self.loop.store.enter("x", live=9, anew=True))
        self.born = life.born
        for node in self.nodes:
            claim = a_taking(node, need=0, claimed=self.granted[node], limit=0)
            # Whether it needs to know what was counted before does not matter for a claim.
            try:
                self.loop.run(self.loop.store.take(claim, self.born))
            except NeedsBase:
                continue

    def take(self, node: str, **more: Any) -> TakenBlock:
        """What the authority does: it brings the base where the store lacks it."""
        taking = a_taking(node, limit=self.limit, claimed=self.granted[node], **more)
        try:
            taken: TakenBlock = self.loop.run(self.loop.store.take(taking, self.born))
        except NeedsBase:
            # The database has what was counted, at least before the nodes came.
            taken = self.loop.run(self.loop.store.take(taking, self.born, self.base))
        return taken

    @rule(
        number=st.integers(0, 2),
        need=st.integers(1, 8),
        least=st.integers(1, 3),
        block=st.integers(0, 8),
    )
    def ask(self, number: int, need: int, least: int, block: int) -> None:
        node = self.nodes[number % len(self.nodes)]
        before = self.total
        taken = self.take(node, need=max(need, least), least=least, block=block)
        left = max(0, self.limit - before)
        expected = min(left, max(need, least, block)) if left >= least else 0
        assert taken.granted == expected
        self.granted[node] += taken.granted
        assert taken.counted == self.total

    @property
    def total(self) -> int:
        return self.base + sum(self.granted.values())

    @rule(number=st.integers(0, 2))
    def look(self, number: int) -> None:
        node = self.nodes[number % len(self.nodes)]
        assert self.take(node, need=0) == TakenBlock(granted=0, counted=self.total)

    @rule(number=st.integers(0, 2), returned=st.integers(0, 5), limit=st.integers(1, 1000))
    def change_the_limit(self, number: int, returned: int, limit: int) -> None:
        node = self.nodes[number % len(self.nodes)]
        back = min(returned, self.granted[node])
        self.limit = limit
        self.highest = max(self.highest, limit)
        self.take(node, need=0, returned=back)
        self.granted[node] -= back

    @rule()
    def lose_data(self) -> None:
        self.server.lose_data()
        with pytest.raises(AnotherLife):
            self.loop.run(self.loop.store.take(a_taking(), self.born))
        # The database counts what the nodes have counted: nothing of it may count twice.
        self.base += sum(self.granted.values())
        claimed = sum(self.granted.values())
        self.enter()
        # From here the store knows of both, and the claims explain their part of the base.
        self.take(self.nodes[0], need=0)
        self.base -= claimed

    @invariant()
    def no_more_than_the_limit_is_granted(self) -> None:
        assert self.total <= max(self.highest, self.base)


def test_grants_are_exact_whatever_is_taken_given_back_changed_and_lost(
    empty: StoreServer,
) -> None:
    Granting.loop, Granting.server = Loop(empty.url), empty
    try:
        run_state_machine_as_test(
            Granting,
            settings=settings(
                max_examples=30, stateful_step_count=25, deadline=None, database=None
            ),
        )
    finally:
        Granting.loop.close()


def test_a_window_is_forgotten_a_minute_after_its_end(empty: StoreServer, loop: Loop) -> None:
    life = loop.run(loop.store.enter("a", live=1))
    loop.run(loop.store.take(a_taking(), life.born, 0))
    with empty.client() as client:
        assert 110 < client.ttl(key_of("tests", WINDOW)) <= 120


def test_two_workspaces_in_one_store_count_nothing_of_each_other(
    empty: StoreServer, loop: Loop
) -> None:
    """Ids of profiles, and often names of nodes, are the same in both."""
    other = Loop(empty.url, owner="others")
    try:
        life = loop.run(loop.store.enter("a", live=1))
        theirs = other.run(other.store.enter("a", live=1))
        assert life.born != theirs.born
        whole = a_taking(need=10)
        assert loop.run(loop.store.take(whole, life.born, 0)).granted == 10
        assert other.run(other.store.take(whole, theirs.born, 0)).granted == 10
    finally:
        other.close()


def test_the_counts_of_all_nodes_can_be_read(empty: StoreServer, loop: Loop) -> None:
    life = loop.run(loop.store.enter("a", live=1))
    loop.run(loop.store.take(a_taking("a/1", need=3), life.born, 2))
    loop.run(loop.store.take(a_taking("b/1", need=4), life.born))
    assert counted(empty.url, [WINDOW, "r/2/60/0"], owner="tests", seconds=10) == {WINDOW: 9}


def test_a_life_is_whole_once_every_live_node_has_claimed_in_it(loop: Loop) -> None:
    first = loop.run(loop.store.enter("a", live=2))
    assert not first.whole
    assert not loop.run(loop.store.enter("a", live=2, claimed=first.born)).whole
    # A claim that was made in another life does not count.
    assert not loop.run(loop.store.enter("b", live=2, claimed="another")).whole
    assert loop.run(loop.store.enter("b", live=2, claimed=first.born)).whole
    # Nodes that come later find it so.
    assert loop.run(loop.store.enter("c", live=3)).whole


def test_a_server_that_was_started_again_begins_another_life() -> None:
    with store_server() as server:
        loop = Loop(server.url)
        try:
            life = loop.run(loop.store.enter("a", live=1))
            loop.run(loop.store.take(a_taking(), life.born, 0))
            with server.client() as client:
                stored = client.hgetall(key_of("tests", "store"))
            server.kill()
            server.start()
            with server.client() as client:
                # As a server restores it that writes its data to disk now and then.
                client.hset(key_of("tests", "store"), mapping=stored)
            with pytest.raises(StoreAway):
                loop.run(loop.store.take(a_taking(), life.born, 0))
            again = loop.run(loop.store.enter("a", live=1, anew=True))
            assert again.born != life.born
        finally:
            loop.close()


def test_what_is_said_of_a_store_that_is_away_has_no_password(empty: StoreServer) -> None:
    url = "redis://someone:very-secret@127.0.0.1:1/0"
    loop = Loop(url)
    try:
        with pytest.raises(StoreAway) as caught:
            loop.run(loop.store.enter("a", live=1, anew=True))
        assert "secret" not in str(caught.value)
        with pytest.raises(StoreAway) as read:
            counted(url, [WINDOW], owner="tests", seconds=1)
        assert "secret" not in str(read.value)
    finally:
        loop.close()


def test_a_store_that_does_not_answer_is_given_up_in_time() -> None:
    async def ask() -> float:
        def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)

        writers: list[asyncio.StreamWriter] = []
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        store = WindowStore(f"redis://127.0.0.1:{port}", owner="tests", seconds=0.1)
        began = time.monotonic()
        with pytest.raises(StoreAway):
            await store.enter("a", live=1, anew=True)
        took = time.monotonic() - began
        await store.close()
        for writer in writers:
            writer.close()
        server.close()
        return took

    assert asyncio.run(ask()) >= 0.09
