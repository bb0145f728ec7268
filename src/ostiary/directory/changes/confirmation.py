"""The one port through which API and console wait until a change is in force.

The directory does not know gateways; whoever starts the process installs the confirmer.
"""

from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from ostiary.directory.changes.errors import NotInForce

T = TypeVar("T")

#: Shown beside what was added, where the gateway has not confirmed it in time.
UNCONFIRMED = "Saved; the gateway has not confirmed it yet, and takes it over as soon as it can"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReceipt:
    """One gateway's part of a receipt.

    `state` is "confirmed", or "fenced": it has not been heard of for so long that it honours no earlier
    decision any more.
    """

    name: str
    state: Literal["confirmed", "fenced"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """How many gateways confirmed, of how many, after how many milliseconds."""

    confirmed: int
    of: int
    ms: float
    #: Open streams (WebSockets, event streams, long downloads) of what was revoked, which end now.
    streams: int = 0
    #: Every gateway; empty where one machine has the only one.
    nodes: tuple[NodeReceipt, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved(Generic[T]):
    """What a use case saved, the feed sequence to wait for, and sentences to show beside it."""

    value: T
    sequence: int
    warnings: tuple[str, ...] = ()
    #: It takes nothing away, so it is done once it is saved; the gateway may follow later.
    adds: bool = False
    #: Nothing was changed: `sequence` is that of the change before, which may not be in force yet.
    repeats: bool = False
    #: What to say if it is not confirmed in time, where "try again" would not be right.
    unconfirmed: str = ""


class Unfinished(Exception):
    """A change of many stopped after a part of them: what it did until then, and why, in a sentence."""

    def __init__(self, saved: Saved[list[int]], why: str) -> None:
        super().__init__(why)
        self.saved, self.why = saved, why


class Confirmer(Protocol):
    def confirm(self, sequence: int) -> Receipt:
        """Wait until every gateway follows `sequence`; raises NotInForce."""


class _NoConfirmer:
    def confirm(self, sequence: int) -> Receipt:
        raise NotInForce


_installed: Confirmer = _NoConfirmer()
#: The latest sequence that this process knows to be in force.
_in_force = 0


def install(confirmer: Confirmer) -> None:
    """Set the process's confirmer; done once, where the process is put together."""
    global _installed, _in_force
    _installed, _in_force = confirmer, 0


def unchanged(value: T, sequence: int, warnings: tuple[str, ...] = ()) -> Saved[T]:
    """What a use case found as it was asked to be. `sequence`: of the change that made it so.

    Whoever repeats a change that was not confirmed in time must still wait for it.
    """
    return Saved(value=value, sequence=sequence, warnings=warnings, repeats=True)


def confirm(saved: Saved[T]) -> Receipt:
    """Wait until `saved` is in force everywhere; raises NotInForce. Nothing to wait for: at once."""
    global _in_force
    if saved.sequence == 0 or (saved.repeats and saved.sequence <= _in_force):
        return Receipt(confirmed=0, of=0, ms=0.0)
    try:
        receipt = _installed.confirm(saved.sequence)
    except NotInForce as error:
        if saved.unconfirmed:
            raise NotInForce(saved.unconfirmed) from error
        raise
    _in_force = max(_in_force, saved.sequence)
    return receipt


def warnings_when_added(saved: Saved[T]) -> tuple[str, ...]:
    """Wait for what only adds; the sentences to show beside it, whether it was confirmed or not."""
    assert saved.adds  # noqa: S101 - a programming error, not input
    try:
        confirm(saved)
    except NotInForce:
        return (*saved.warnings, UNCONFIRMED)
    return saved.warnings
