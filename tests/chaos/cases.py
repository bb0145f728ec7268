"""What is done to a fleet under load, and what callers, receipts and counts say of it."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from tests.chaos.fleet import Fleet
from tests.chaos.load import NONE, Call, waited
from tests.chaos.parts import Role, Server, send
from tests.stage import pids_of, wait_for

#: Seconds for which all calls must be well before a fault, and after it.
WELL = 2.0
#: Seconds within which everything must have recovered.
LONGEST = 60.0

Deed = Callable[[Fleet], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A fault: `deed` does it and, when left, heals what does not heal by itself."""

    name: str
    text: str
    deed: Deed
    #: Seconds that the fault lasts; something that is only killed comes back by itself.
    lasts: float = 0.0
    #: Calls that may stay uncounted: (a part of a second's) calls of one gateway.
    lost_seconds: float = 0.0
    #: It needs networks, or disks, of its own.
    isolated: bool = False
    recipe: bool = False


@dataclass(slots=True, kw_only=True)
class Result:
    case: Case
    calls: int
    failed: int
    longest: float
    admitted: int
    receipt: str
    lost: int
    bound: int
    calls_well: float
    changes_well: float
    more: list[str] = field(default_factory=list)

    def line(self) -> str:
        """The row of the table."""
        return (
            f"| {self.case.text} | {self.calls:,} | {self.failed:,} | {self.longest:.1f} |"
            f" {self.admitted} | {self.receipt} | {self.lost} | {self.calls_well:.1f} |"
            f" {self.changes_well:.1f} |"
        )

    def faults(self) -> list[str]:
        """What may not be."""
        found = list(self.more)
        if self.admitted:
            found.append(f"{self.admitted} calls were admitted after a receipt")
        if self.lost > self.bound:
            found.append(f"{self.lost} calls were not counted; the bound is {self.bound}")
        if max(self.calls_well, self.changes_well) >= LONGEST:
            found.append("it did not recover")
        return found


HEAD = (
    "| fault | calls | failed | longest wait, s | admitted after receipt | receipt during the fault |"
    " counts lost | calls well after, s | changes well after, s |\n"
    "|---|--:|--:|--:|--:|---|--:|--:|--:|"
)


def _failed(calls: Sequence[Call], name: str) -> list[Call]:
    return [each for each in calls if each.caller == name and each.status != 200]


def run(fleet: Fleet, case: Case) -> Result:
    """Do it under load, and look; raises AssertionError if calls do not become well again."""
    steady = fleet.profile("steady")
    victim = fleet.profile("victim")
    recipe = fleet.profile("recipe", recipe=True) if case.recipe else None
    callers = [*[steady.caller] * 7, victim.caller, *([recipe.caller] if recipe else [])]
    load = fleet.load
    load.begin(callers)
    wait_for(lambda: _is_well(load.calls, fleet, load.began), what="calls before the fault")
    with ThreadPoolExecutor(max_workers=1) as pool:
        with case.deed(fleet):
            began = time.monotonic()
            time.sleep(min(0.5, case.lasts / 2))
            revoking = pool.submit(fleet.revoke, victim)
            time.sleep(max(0.0, case.lasts - (time.monotonic() - began)))
        healed = time.monotonic() if case.lasts else began
        receipt_at, receipt = revoking.result()
    changes = _changes_well(fleet, healed)
    wait_for(
        lambda: _is_well(load.calls, fleet, healed), seconds=LONGEST, what="calls after the fault"
    )
    calls = list(load.end())
    names = [steady.caller.name, *([recipe.caller.name] if recipe else [])]
    failed = [each for name in names for each in _failed(calls, name)]
    mine = [each for each in calls if each.caller in names]
    admitted = [
        each for each in calls
        if each.caller == victim.caller.name and each.sent > receipt_at and each.status == 200
    ]  # fmt: skip
    answered = sum(each.status == 200 for each in calls if each.caller == steady.caller.name)
    lost = _lost(fleet, lambda: answered - fleet.counted(steady))
    unsure = sum(
        each.times - (each.status != NONE) for each in calls if each.caller == steady.caller.name
    )
    return Result(
        case=case,
        calls=len(mine),
        failed=len(failed),
        longest=waited(mine),
        admitted=len(admitted),
        receipt=_told(receipt),
        lost=max(0, lost),
        bound=round(case.lost_seconds * fleet.rate / len(fleet.gateways)),
        calls_well=max(0.0, max((each.done for each in failed), default=0.0) - healed),
        changes_well=changes,
        more=[f"{-lost} calls too many were counted"] if -lost > unsure else [],
    )


def _is_well(calls: Sequence[Call], fleet: Fleet, since: float) -> bool:
    """Whether the last seconds had calls of each gateway, and no failed one."""
    now = time.monotonic()
    if now - since < WELL:
        return False
    recent = [
        each for each in calls[-round(20 * fleet.rate * WELL):]
        if each.done > now - WELL and each.caller == "steady"
    ]  # fmt: skip
    reached = {each.gateway for each in recent if each.status == 200}
    return len(reached) == len(fleet.load.gateways) and all(each.status == 200 for each in recent)


def _changes_well(fleet: Fleet, healed: float) -> float:
    """Seconds until every gateway confirms a revocation."""
    while time.monotonic() - healed < LONGEST:
        another = fleet.profile("another")
        _, receipt = fleet.revoke(another)
        if receipt.get("confirmed") == receipt.get("of") == len(fleet.gateways):
            return max(0.0, time.monotonic() - healed)
        time.sleep(0.1)
    return LONGEST


def _lost(fleet: Fleet, lost: Callable[[], int]) -> int:
    """How many calls are not counted, once that changes no more."""
    last, since = lost(), time.monotonic()
    while last > 0 and time.monotonic() - since < 12:
        time.sleep(0.3)
        now = lost()
        if now != last:
            last, since = now, time.monotonic()
    return last


def _told(receipt: dict[str, object]) -> str:
    if not receipt:
        return "none"
    nodes = receipt.get("nodes")
    assert isinstance(nodes, list)
    others = [each["state"] for each in nodes if each["state"] != "confirmed"]
    milliseconds = receipt.get("ms")
    assert isinstance(milliseconds, int | float)
    return (
        f"{receipt['confirmed']} of {receipt['of']}"
        + "".join(f", 1 {state}" for state in sorted(others))
        + f", {milliseconds / 1000:.1f} s"
    )


# Deeds.


def _gateway(fleet: Fleet) -> Role:
    return fleet.gateways["a"]


def _signal(number: int, find: Callable[[Fleet], list[int]]) -> Deed:
    @contextmanager
    def deed(fleet: Fleet) -> Iterator[None]:
        send(find(fleet), number)
        yield

    return deed


def _part(name: str) -> Callable[[Fleet], list[int]]:
    return lambda fleet: _gateway(fleet).part(name)


def _worker(fleet: Fleet) -> list[int]:
    """One worker of nginx: a child of another process of nginx."""
    found = _gateway(fleet).part("gateway")
    master = [pid for pid in found if set(pids_of(pid, "gateway")) & set(found)]
    return [min(set(found) - set(master))]


def _master(fleet: Fleet) -> list[int]:
    found = _gateway(fleet).part("gateway")
    return [pid for pid in found if set(pids_of(pid, "gateway")) & set(found)]


def _supervisor(fleet: Fleet) -> list[int]:
    return [_gateway(fleet).pid]


@contextmanager
def _supervisor_frozen(fleet: Fleet) -> Iterator[None]:
    pid = _gateway(fleet).pid
    send([pid], signal.SIGSTOP)
    yield
    send([pid], signal.SIGCONT)


def _dies(*find: Callable[[Fleet], Server]) -> Deed:
    """Servers that die, and start again when the fault ends."""

    @contextmanager
    def deed(fleet: Fleet) -> Iterator[None]:
        servers = [each(fleet) for each in find]
        for each in servers:
            each.kill()
        yield
        for each in servers:
            each.start()

    return deed


def _freezes(*find: Callable[[Fleet], Server]) -> Deed:
    @contextmanager
    def deed(fleet: Fleet) -> Iterator[None]:
        servers = [each(fleet) for each in find]
        for each in servers:
            each.freeze()
        yield
        for each in servers:
            each.thaw()

    return deed


def _cut(one: str, *others: str) -> Deed:
    @contextmanager
    def deed(fleet: Fleet) -> Iterator[None]:
        fleet.network.cut(one, *others)
        yield
        fleet.network.mend(one)

    return deed


def _full(name: str) -> Deed:
    """The small disk of a machine, filled to the last byte."""

    @contextmanager
    def deed(fleet: Fleet) -> Iterator[None]:
        path = fleet.folder / name / "filler"
        with path.open("wb") as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(65536))
        yield
        path.unlink()

    return deed


@contextmanager
def _locked(fleet: Fleet) -> Iterator[None]:
    with fleet.database.session() as session, session.transaction():
        session.execute("LOCK TABLE directory_change IN ACCESS EXCLUSIVE MODE")
        yield


def _both(*deeds: Deed) -> Deed:
    @contextmanager
    def deed(fleet: Fleet) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for each in deeds:
                stack.enter_context(each(fleet))
            yield

    return deed


def _killed(
    name: str, text: str, find: Callable[[Fleet], list[int]], lost: float = 0.0
) -> list[Case]:
    """Ended and held, which the supervisor mends."""
    return [
        Case(name=f"{name}-kill", text=f"{text} killed", deed=_signal(signal.SIGKILL, find), lost_seconds=lost),
        Case(name=f"{name}-stop", text=f"{text} stopped", deed=_signal(signal.SIGSTOP, find), lost_seconds=lost),
    ]  # fmt: skip


CASES: tuple[Case, ...] = (
    *_killed("worker", "one worker of nginx", _worker),
    *_killed("nginx", "nginx", _part("gateway"), lost=1.5),
    *_killed("master", "nginx's master alone", _master, lost=1.5),
    *_killed("authority", "authority", _part("authority")),
    *_killed("publisher", "publisher", _part("publisher")),
    *_killed("collector", "collector", _part("collector")),
    Case(name="recipes-kill", text="recipe runner killed", recipe=True,
         deed=_signal(signal.SIGKILL, lambda fleet: fleet.recipes["a"].pids()[1:])),
    Case(name="recipes-stop", text="recipe runner stopped", recipe=True,
         deed=_signal(signal.SIGSTOP, lambda fleet: fleet.recipes["a"].pids()[1:])),
    Case(name="control-kill", text="control killed",
         deed=_signal(signal.SIGKILL, lambda fleet: fleet.control.pids()[1:])),
    Case(name="control-stop", text="control stopped",
         deed=_signal(signal.SIGSTOP, lambda fleet: fleet.control.pids()[1:])),
    Case(name="supervisor-kill", text="a gateway's supervisor killed", lost_seconds=1.5,
         deed=_signal(signal.SIGKILL, _supervisor)),
    Case(name="supervisor-stop", text="a gateway's supervisor stopped for 6 s", lasts=6,
         deed=_supervisor_frozen),
    Case(name="machine", text="a gateway's machine dead for 8 s", lasts=8, lost_seconds=1.5,
         deed=_dies(_gateway)),
    Case(name="database-kill", text="PostgreSQL dead for 6 s", lasts=6,
         deed=_dies(lambda fleet: fleet.database)),
    Case(name="database-stop", text="PostgreSQL stopped for 8 s", lasts=8,
         deed=_freezes(lambda fleet: fleet.database)),
    Case(name="database-locked", text="the change feed's table locked for 8 s", lasts=8,
         deed=_locked),
    Case(name="store-kill", text="store dead for 6 s, its data lost", lasts=6,
         deed=_dies(lambda fleet: fleet.store)),
    Case(name="store-stop", text="store stopped for 6 s", lasts=6,
         deed=_freezes(lambda fleet: fleet.store)),
    Case(name="disk-gateway", text="a gateway's disk full for 8 s", lasts=8, isolated=True,
         deed=_full("a")),
    Case(name="disk-database", text="PostgreSQL's disk full for 8 s", lasts=8, isolated=True,
         deed=_full("database")),
    Case(name="cut-gateway-database", text="a gateway cut off from PostgreSQL for 8 s", lasts=8,
         isolated=True, deed=_cut("a", "database")),
    Case(name="cut-gateway-store", text="a gateway cut off from the store for 8 s", lasts=8,
         isolated=True, deed=_cut("a", "store")),
    Case(name="cut-gateway-both", text="a gateway cut off from both for 8 s", lasts=8,
         isolated=True, deed=_cut("a", "database", "store")),
    Case(name="cut-control-database", text="control cut off from PostgreSQL for 8 s", lasts=8,
         isolated=True, deed=_cut("control", "database")),
    Case(name="cut-store-all", text="the store cut off from all gateways for 8 s", lasts=8,
         isolated=True, deed=_cut("store", "a", "b", "c")),
    Case(name="cut-database-all", text="PostgreSQL cut off from everybody for 8 s", lasts=8,
         isolated=True, deed=_cut("database", "control", "a", "b", "c")),
    Case(name="pair-servers", text="PostgreSQL and the store dead for 6 s", lasts=6,
         deed=_dies(lambda fleet: fleet.database, lambda fleet: fleet.store)),
    Case(name="pair-authority-cut", text="a gateway cut off from PostgreSQL, its authority killed",
         lasts=8, isolated=True,
         deed=_both(_cut("a", "database"), _signal(signal.SIGKILL, _part("authority")))),
    Case(name="pair-nginx-database", text="PostgreSQL dead for 6 s, a gateway's nginx killed",
         lasts=6, lost_seconds=1.5,
         deed=_both(_dies(lambda fleet: fleet.database),
                    _signal(signal.SIGKILL, _part("gateway")))),
    Case(name="pair-collector-disk", text="a gateway's disk full for 8 s, its collector killed",
         lasts=8, isolated=True,
         deed=_both(_full("a"), _signal(signal.SIGKILL, _part("collector")))),
    Case(name="pair-machine-store", text="a gateway's machine and the store dead for 8 s", lasts=8,
         lost_seconds=1.5, deed=_dies(_gateway, lambda fleet: fleet.store)),
)  # fmt: skip
