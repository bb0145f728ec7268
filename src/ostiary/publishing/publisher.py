"""Publishes the directory's objects to the gateway, object by object, by differences.

Each turn reads some objects, builds their texts, compares them with what the gateway holds, and sends
what differs. Turns do not overlap, so that no older text can overwrite a newer one, and they are
short, so that nobody waits for another's ten thousand endpoints.
"""

import asyncio
import functools
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import DatabaseError, InterfaceError, close_old_connections

from ostiary.directory.changes import feed
from ostiary.directory.workspace import public_urls
from ostiary.gateway import objects, snapshot
from ostiary.gateway.connection_objects import Upstream
from ostiary.gateway.objects import Unpublishable
from ostiary.gateway.snapshot import CollectionRow, ConnectionRow, EndpointRow
from ostiary.publishing import measures
from ostiary.publishing.agenda import Agenda, WorkKind
from ostiary.publishing.channel import Channel, GatewayGone, ObjectLine, WriteOutcome
from ostiary.publishing.connections import CertificatesNotReady, Connections
from ostiary.publishing.mirror import Mirror, StateWriter
from ostiary.publishing.unpublished_objects import Aside, SetAside

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

#: The database is asked for changes after so many seconds, and at once when somebody waits.
POLL_SECONDS = 0.25
#: The gateway is asked whether it is still the same one.
BIRTH_SECONDS = 1.0
#: Everything is compared again, and what was set aside is tried again.
COMPARE_SECONDS, ASIDE_SECONDS = 600.0, 60.0
#: After a failure it is tried again after so many seconds, then after twice as many, at most.
RETRY_SECONDS, LONGEST_RETRY = 0.1, 1.0
#: Objects of one turn.
SLICE = 200
#: Changes whose objects are remembered, to tell who asks about them.
MOST_REMEMBERED = 1000

QUICK = (
    WorkKind.SETTINGS,
    WorkKind.CONNECTION,
    WorkKind.COLLECTION,
    WorkKind.ENDPOINT,
    WorkKind.PROFILE,
)
#: A text, why there is none, or nothing: the object is gone.
Built = str | Unpublishable | None
#: What a kind of change asks for, beside the object's own id.
_PARTS: Mapping[str, tuple[WorkKind, ...]] = {
    "endpoint": (WorkKind.ENDPOINT,),
    "collection": (WorkKind.COLLECTION, WorkKind.ENDPOINTS),
    "connection": (WorkKind.PREPARED,),
    "recipe": (WorkKind.RECIPE,),
    "settings": (WorkKind.SETTINGS,),
    "profile": (WorkKind.PROFILE,),
}


class Publisher:
    """Keeps one gateway's published objects as the directory has them."""

    def __init__(
        self,
        *,
        channel: Channel,
        connections: Callable[[Callable[[Collection[int]], None]], Connections],
        saved: StateWriter,
    ) -> None:
        self._channel, self._saved = channel, saved
        self.agenda = Agenda()
        self.mirror = Mirror()
        self.aside = SetAside()
        self.connections = connections(self.refresh)
        self.compared = asyncio.Event()
        self._database = ThreadPoolExecutor(max_workers=1, thread_name_prefix="directory")
        self._turn = asyncio.Lock()
        self._feed_wanted, self._work_wanted = asyncio.Event(), asyncio.Event()
        self._slow_wanted, self._moved = asyncio.Event(), asyncio.Condition()
        #: The gateway answers again.
        self._back = asyncio.Event()
        self._following = False
        self._preparing: set[asyncio.Task[None]] = set()
        #: Endpoints by collection, and imported digests by profile, as they were last read.
        self._collection_of: dict[int, int] = {}
        self._endpoints_of: defaultdict[int, set[int]] = defaultdict(set)
        self._imported_of: defaultdict[int, set[bytes]] = defaultdict(set)
        self._imported = 0
        self._changes: dict[int, tuple[str, int]] = {}
        self._troubles: dict[str, str] = {}

    async def run(self) -> None:
        """Publish until cancelled."""
        self.connections.names.seed(await asyncio.to_thread(self._saved.names))
        try:
            async with asyncio.TaskGroup() as group:
                for task in (
                    self._repeated("feed", self._follow),
                    self._repeated("changes", self._quick),
                    self._repeated("comparison", self._slow),
                    self._repeated("gateway", self._watch),
                    self._compare_again(),
                    self._try_aside_again(),
                    self._saved.run(self.mirror, self.connections.names.good),
                ):
                    group.create_task(task)
        finally:
            for preparing in self._preparing:
                preparing.cancel()
            self.connections.close()
            self._channel.close()
            self._database.shutdown(wait=False, cancel_futures=True)

    async def save(self) -> None:
        """Write the last good state now."""
        await self._saved.write(self.mirror, self.connections.names.good)

    async def confirm(self, sequence: int, *, seconds: float) -> bool:
        """Wait until a change's objects are at the gateway or set aside; says whether they are."""
        self._feed_wanted.set()
        try:
            async with asyncio.timeout(seconds), self._moved:
                await self._moved.wait_for(lambda: self.agenda.is_confirmed(sequence))
        except TimeoutError:
            return False
        return True

    def concerning(self, sequence: int) -> list[Aside]:
        """What of the objects of one change is set aside."""
        change = self._changes.get(sequence)
        if change is None:
            return []
        kind, object_id = change
        items = [change]
        if kind == "collection":
            items += [("endpoint", each) for each in sorted(self._endpoints_of[object_id])]
        return self.aside.of(items)

    def refresh(self, connections: Collection[int]) -> None:
        """Publish connections again: their names, health or token changed."""
        for connection in connections:
            self.agenda.add(WorkKind.CONNECTION, connection)
        self._work_wanted.set()

    @property
    def objects(self) -> int:
        """How many objects the gateway holds, as far as we know."""
        return len(self.mirror) + self._imported

    @property
    def troubles(self) -> list[str]:
        """What cannot be done at the moment and is tried again; sentences."""
        return sorted(set(self._troubles.values()))

    # --- loops -------------------------------------------------------------------------------------

    async def _repeated(self, name: str, step: Callable[[], Awaitable[None]]) -> None:
        """Take a step again and again. The only broad except: nothing of a change is lost by it."""
        pause = RETRY_SECONDS
        while True:
            try:
                await step()
            except Exception as error:
                self._trouble(name, error)
                await _wait(self._back, pause)
                pause = min(2 * pause, LONGEST_RETRY)
            else:
                if self._troubles.pop(name, None) is not None:
                    log.info("publishing goes on (%s)", name)
                pause = RETRY_SECONDS

    def _trouble(self, name: str, error: Exception) -> None:
        match error:
            case GatewayGone():
                cause, sentence = "gateway", str(error)
            case DatabaseError() | InterfaceError():
                cause, sentence = "database", "The database does not answer."
            case _:
                cause, sentence = "other", type(error).__name__
        measures.failed(cause)
        if self._troubles.get(name) != sentence:
            log.warning(
                "publishing waits (%s): %s", name, sentence,
                exc_info=error if cause == "other" else None,
            )  # fmt: skip
        self._troubles[name] = sentence

    async def _follow(self) -> None:
        """Read the feed once, and wait for the next time."""
        if not self._following:
            # What is compared after this was read has everything up to here.
            self.agenda.read = await self._read(feed.latest)
            self._following = True
            self._compare(known=False)
        while changes := await self._read(
            functools.partial(feed.after, most=1000), self.agenda.read
        ):
            for sequence, kind, object_id in changes:
                for part in _PARTS.get(kind, ()):
                    self.agenda.add(part, 0 if part == WorkKind.SETTINGS else object_id, sequence)
                self._changes[sequence] = (kind, object_id)
                self.agenda.read = sequence
            while len(self._changes) > MOST_REMEMBERED:
                del self._changes[next(iter(self._changes))]
            self._wake()
        await self._tell()
        self._feed_wanted.clear()
        await _wait(self._feed_wanted, POLL_SECONDS)

    async def _watch(self) -> None:
        """Notice a gateway that was started anew: its memory may lack something."""
        birth = await self._channel.birth()
        if "gateway" in self._troubles:
            # Whoever waits to try again does it now.
            self._back.set()
            self._back = asyncio.Event()
        self._seen(birth)
        await asyncio.sleep(BIRTH_SECONDS)

    def _seen(self, birth: str) -> None:
        if self._following and self.mirror.birth and birth != self.mirror.birth:
            self.mirror.complete = False
            self._compare(known=False)

    def _compare(self, *, known: bool) -> None:
        """Have everything compared; `known`: what the gateway holds is thought to be right."""
        if known:
            self.agenda.add(WorkKind.EVERYTHING)
        else:
            self.agenda.add_everything()
        self._wake()

    async def _compare_again(self) -> None:
        while True:
            await asyncio.sleep(COMPARE_SECONDS)
            self._compare(known=True)

    async def _try_aside_again(self) -> None:
        while True:
            await asyncio.sleep(ASIDE_SECONDS)
            for each in self.aside.all()[:MOST_REMEMBERED]:
                part = _PARTS[each.kind][0] if each.kind in _PARTS else WorkKind.PROFILE
                self.agenda.add(part, each.id)
            self._wake()

    def _wake(self) -> None:
        self._work_wanted.set()
        self._slow_wanted.set()

    async def _tell(self) -> None:
        async with self._moved:
            self._moved.notify_all()

    async def _quick(self) -> None:
        """Bring what is short, until nothing of it waits."""
        self._work_wanted.clear()
        trouble: Exception | None = None
        for part in QUICK:
            if ids := self.agenda.take(part, most=SLICE):
                try:
                    await self._bring(part, ids)
                except Exception as error:
                    # Another part may well get through.
                    self.agenda.again(part, ids)
                    trouble = error
        if ids := self.agenda.take(WorkKind.PREPARED, most=SLICE):
            task = asyncio.create_task(self._prepare(ids))
            self._preparing.add(task)
            task.add_done_callback(self._preparing.discard)
        await self._tell()
        if trouble is not None:
            raise trouble
        if not self.agenda.waits((*QUICK, WorkKind.PREPARED)):
            await self._work_wanted.wait()

    async def _slow(self) -> None:
        """Bring one thing of each kind that is long."""
        self._slow_wanted.clear()
        trouble: Exception | None = None
        for part, step in (
            (WorkKind.EVERYTHING, self._everything),
            (WorkKind.ENDPOINTS, self._endpoints),
            (WorkKind.RECIPE, self._recipe),
        ):
            for object_id in self.agenda.take(part, most=1):
                try:
                    await step(object_id)
                except Exception as error:
                    # Another one may well get through.
                    self.agenda.again(part, [object_id])
                    trouble = error
                else:
                    self.agenda.done(part, [object_id])
                await self._tell()
        if trouble is not None:
            raise trouble
        if not self.agenda.waits((WorkKind.EVERYTHING, WorkKind.ENDPOINTS, WorkKind.RECIPE)):
            await self._slow_wanted.wait()

    # --- reading and sending -----------------------------------------------------------------------

    async def _read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Ask the database, in the one thread that does."""

        def asked() -> T:
            close_old_connections()
            return function(*args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._database, asked)

    async def _bring(self, part: WorkKind, ids: list[int]) -> None:
        """One turn."""
        began = time.perf_counter()
        done: Collection[int] = ids
        async with self._turn:
            match part:
                case WorkKind.SETTINGS:
                    await self._put("settings", {0: await self._read(_settings)})
                case WorkKind.COLLECTION:
                    await self._put("collection", await self._read(_collections, ids))
                case WorkKind.ENDPOINT:
                    await self._put_endpoints(ids)
                case WorkKind.CONNECTION:
                    done = await self._put_connections(ids)
                case _:
                    await self._put_imported_of(ids)
        self.agenda.done(part, done)
        if self.agenda.waits(QUICK):
            # Of an object that was being brought, too: whoever looked meanwhile left it.
            self._work_wanted.set()
        measures.SECONDS.observe(time.perf_counter() - began)

    async def _put_endpoints(self, ids: list[int]) -> None:
        built, collections = await self._read(_endpoints, ids)
        for endpoint in ids:
            before = self._collection_of.pop(endpoint, None)
            if before is not None:
                self._endpoints_of[before].discard(endpoint)
            if (collection := collections.get(endpoint)) is not None:
                self._collection_of[endpoint] = collection
                self._endpoints_of[collection].add(endpoint)
        await self._put("endpoint", built)

    async def _put_connections(self, ids: list[int]) -> list[int]:
        """Returns those that are done; the others are to be prepared first."""
        rows, unreadable = await self._read(_each, snapshot.connection_rows, ids)
        built: dict[int, Built] = dict.fromkeys(ids) | unreadable
        done = list(ids)
        for connection, row in rows.items():
            try:
                built[connection] = self.connections.text(row)
            except CertificatesNotReady:
                del built[connection]
                done.remove(connection)
                self.agenda.again(WorkKind.CONNECTION, [connection], then=WorkKind.PREPARED)
            except Exception as error:
                built[connection] = _unpublishable(error)
        for connection in ids:
            if connection not in rows:
                self.connections.forget(connection)
        await self._put("connection", built)
        return done

    async def _put(self, kind: str, built: Mapping[int, Built]) -> None:
        """Compare and send; what is refused is set aside, and taken away if it was there."""
        lines, owners = [], {}
        for object_id, text in built.items():
            name = objects.key(kind, object_id if kind != "settings" else "")
            owners[name] = object_id
            if isinstance(text, Unpublishable):
                self.aside.add(kind, object_id, str(text))
            elif text is None or not self.mirror.differs(name, text):
                self.aside.remove(kind, object_id)
            if not isinstance(text, str):
                if name in self.mirror:
                    lines.append(ObjectLine(key=name))
            elif self.mirror.differs(name, text):
                lines.append(ObjectLine(key=name, text=text))
        outcome = await self._send(lines)
        for line in lines:
            if line.text is not None and line.key not in outcome.refused:
                self.aside.remove(kind, owners[line.key])
        for name, sentence in outcome.refused.items():
            if name in owners:
                self.aside.add(kind, owners[name], sentence)

    async def _send(self, lines: Sequence[ObjectLine]) -> WriteOutcome:
        """Send lines. Objects that were refused are deleted: an older text must not stay."""
        if not lines:
            return WriteOutcome()
        outcome = await self._exchange(lines)
        texts = {line.key: line.text for line in lines}
        stale = [ObjectLine(key=n) for n in outcome.refused if texts.get(n) and n in self.mirror]
        if stale:
            await self._exchange(stale)
        measures.sent("refused", len(outcome.refused))
        self._saved.want()
        return outcome

    async def _exchange(self, lines: Sequence[ObjectLine]) -> WriteOutcome:
        try:
            outcome = await self._channel.publish(lines)
        except BaseException:
            self.mirror.doubt(line.key for line in lines)
            raise
        for line in lines:
            if line.key in outcome.refused:
                continue
            if line.text is None:
                self.mirror.drop(line.key)
                measures.sent("deleted", 1)
            else:
                self.mirror.put(line.key, line.text)
                measures.sent("set", 1)
        for birth in outcome.births:
            self._seen(birth)
        return outcome

    # --- connections that are waited for -----------------------------------------------------------

    async def _prepare(self, ids: list[int]) -> None:
        """Read connections, and wait for what each of them needs, side by side."""
        try:
            rows, _ = await self._read(_each, snapshot.connection_rows, ids)
        except Exception as error:
            self._trouble("connections", error)
            await asyncio.sleep(POLL_SECONDS)
            self.agenda.again(WorkKind.PREPARED, ids)
            self._work_wanted.set()
            return
        self._troubles.pop("connections", None)
        async with asyncio.TaskGroup() as group:
            for connection in ids:
                group.create_task(self._prepare_one(connection, rows.get(connection)))

    async def _prepare_one(self, connection: int, row: ConnectionRow | None) -> None:
        pause = RETRY_SECONDS
        while row is not None:
            try:
                await self.connections.prepare([self.connections.learn(row)])
            except Unpublishable:
                break  # and it is set aside when it is built
            except ExceptionGroup as group:
                # Certificates could not be put in force, for no fault of theirs.
                self._trouble("certificates", group.exceptions[0])
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_RETRY)
            except Exception as error:
                log.warning("connection %s: %s", connection, type(error).__name__)
                break
            else:
                self._troubles.pop("certificates", None)
                break
        self.agenda.again(WorkKind.PREPARED, [connection], then=WorkKind.CONNECTION)
        self._work_wanted.set()

    # --- what takes long ---------------------------------------------------------------------------

    async def _endpoints(self, collection: int) -> None:
        ids = await self._read(snapshot.endpoint_ids, collection=collection)
        await self._slices(WorkKind.ENDPOINT, {*ids, *self._endpoints_of[collection]})

    async def _recipe(self, recipe: int) -> None:
        await self._slices(
            WorkKind.ENDPOINT, await self._read(snapshot.endpoint_ids, recipe=recipe)
        )

    async def _slices(self, part: WorkKind, ids: Iterable[int]) -> None:
        for some in _sliced(sorted(ids)):
            await self._bring_slice(part, some)
            # Whoever waits for a turn has one now.
            await asyncio.sleep(0)

    async def _bring_slice(self, part: WorkKind, ids: list[int]) -> None:
        """A turn for objects that the agenda does not list one by one."""
        async with self._turn:
            match part:
                case WorkKind.ENDPOINT:
                    await self._put_endpoints(ids)
                case WorkKind.COLLECTION:
                    await self._put("collection", await self._read(_collections, ids))
                case _:
                    await self._put_connections(ids)

    async def _everything(self, _: int) -> None:
        """Compare every object with what the gateway lists."""
        async with self._turn:
            birth, digests = await self._channel.published()
            self.mirror.reset(birth, digests)
            await self._send([ObjectLine(key=name) for name in self.mirror.strays()])
        await self._all_connections()
        await self._slices(
            WorkKind.COLLECTION,
            {*await self._read(snapshot.collection_ids), *self.mirror.ids("collection")},
        )
        await self._slices(
            WorkKind.ENDPOINT,
            {*await self._read(snapshot.endpoint_ids), *self.mirror.ids("endpoint")},
        )
        await self._bring(WorkKind.SETTINGS, [])
        await self._all_imported()
        if self.mirror.birth == birth and not self.agenda.waits([WorkKind.EVERYTHING]):
            self.mirror.complete = True
            self._saved.want()
        self.compared.set()

    async def _all_connections(self) -> None:
        ids = {*await self._read(snapshot.connection_ids), *self.mirror.ids("connection")}
        upstreams: list[Upstream] = []
        for some in _sliced(sorted(ids)):
            rows, _ = await self._read(_each, snapshot.connection_rows, some)
            for row in rows.values():
                try:
                    upstreams.append(self.connections.learn(row))
                except Exception:  # noqa: S112 - it is set aside when it is built
                    continue
            await asyncio.sleep(0)
        try:
            await self.connections.settle_certificates()
            await self.connections.prepare(upstreams)
            self._troubles.pop("certificates", None)
        except Exception as error:
            # Connections that need them are prepared one by one; the others go on.
            self._trouble("certificates", error)
        for some in _sliced(sorted(ids)):
            for connection in some:
                self.agenda.add(WorkKind.CONNECTION, connection)
            taken = self.agenda.take_these(WorkKind.CONNECTION, some)
            try:
                await self._bring(WorkKind.CONNECTION, taken)
            except BaseException:
                self.agenda.again(WorkKind.CONNECTION, taken)
                self._work_wanted.set()
                raise
            await asyncio.sleep(0)

    # --- imported credentials ----------------------------------------------------------------------

    async def _put_imported_of(self, profiles: list[int]) -> None:
        for profile in profiles:
            rows = await self._read(snapshot.imported_prints, profile=profile)
            prints = {fingerprint for fingerprint, _ in rows}
            before = self._imported_of[profile]
            await self._put_imported(prints - before, before - prints)
            # Not before: what failed is sent again.
            self._imported_of[profile] = prints
            if not prints:
                del self._imported_of[profile]

    async def _put_imported(self, added: Collection[bytes], gone: Collection[bytes]) -> None:
        lines = [ObjectLine(key=objects.key("imported", p.hex()), text="1") for p in sorted(added)]
        lines += [ObjectLine(key=objects.key("imported", p.hex())) for p in sorted(gone)]
        outcome = WriteOutcome()
        for some in _sliced(lines):
            part = await self._channel.publish(some)
            outcome.births |= part.births
            outcome.refused |= part.refused
        self._imported += len(added) - len(gone)
        for birth in outcome.births:
            self._seen(birth)
        if outcome.refused:
            sentence = next(iter(outcome.refused.values()))
            self.aside.add("imported", 0, f"{len(outcome.refused)} of them: {sentence}")

    async def _all_imported(self) -> None:
        """Compare imported credentials; in each slice the database says again what is so now."""
        async with self._turn:
            held = await self._channel.imported()
            rows = await self._read(snapshot.imported_prints)
            self._imported_of.clear()
            for fingerprint, profile in rows:
                self._imported_of[profile].add(fingerprint)
            self._imported = len(held)
        wanted = {fingerprint for fingerprint, _ in rows}
        for some in _sliced(sorted(wanted ^ held)):
            async with self._turn:
                good = await self._read(snapshot.still_imported, some)
                await self._put_imported(
                    [p for p in some if p in good and p not in held],
                    [p for p in some if p not in good and p in held],
                )
            await asyncio.sleep(0)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), timeout=seconds)
    except TimeoutError:
        return


S = TypeVar("S")


def _sliced(items: Sequence[S]) -> Iterator[list[S]]:
    for start in range(0, len(items), SLICE):
        yield list(items[start : start + SLICE])


# --- in the database's thread ------------------------------------------------------------------------

R = TypeVar("R", CollectionRow, EndpointRow, ConnectionRow)


def _each(
    read: Callable[[list[int]], list[R]], ids: list[int]
) -> tuple[dict[int, R], dict[int, Built]]:
    """Rows by id. One that cannot be read at all must not cost the others: then one by one."""
    try:
        return {row.id: row for row in read(ids)}, {}
    except (DatabaseError, InterfaceError):
        raise
    except Exception as error:
        if len(ids) == 1:
            return {}, {ids[0]: _unpublishable(error)}
    rows: dict[int, R] = {}
    unreadable: dict[int, Built] = {}
    for object_id in ids:
        some, bad = _each(read, [object_id])
        rows |= some
        unreadable |= bad
    return rows, unreadable


def _unpublishable(error: Exception) -> Unpublishable:
    if isinstance(error, Unpublishable):
        return error
    # Not its text: that may hold a secret.
    return Unpublishable(f"It cannot be made into what the gateway takes ({type(error).__name__}).")


def _built(row: R, build: Callable[[R], str]) -> Built:
    try:
        return build(row)
    except Exception as error:
        return _unpublishable(error)


def _collections(ids: list[int]) -> dict[int, Built]:
    rows, unreadable = _each(snapshot.collection_rows, ids)
    built = {i: _built(row, objects.collection) for i, row in rows.items()}
    return dict.fromkeys(ids) | unreadable | built


def _endpoints(ids: list[int]) -> tuple[dict[int, Built], dict[int, int]]:
    rows, unreadable = _each(snapshot.endpoint_rows, ids)
    built = {i: _built(row, objects.endpoint) for i, row in rows.items()}
    collections = {i: row.collection for i, row in rows.items()}
    return dict.fromkeys(ids) | unreadable | built, collections


def _settings() -> Built:
    try:
        return objects.settings(
            snapshot.trusted_proxies(),
            snapshot.credential_places(),
            public_url=public_urls.gateway_url(),
            configured=public_urls.is_configured(),
        )
    except (DatabaseError, InterfaceError):
        raise
    except Exception as error:
        return _unpublishable(error)
