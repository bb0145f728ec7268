"""What is asked of the store of windows, and what it answers; without its client."""

from dataclasses import dataclass


class StoreAway(Exception):
    """The store did not answer in time, or not as it should."""


class AnotherLife(StoreAway):
    """The store may have lost its data since it was entered: it must be entered again."""


class NeedsBase(Exception):
    """The store does not know what was counted in a window before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One life of the store's data, as a node entered it."""

    born: str
    #: When it began, Unix seconds.
    at: int
    #: Every live node has claimed what it was granted before.
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """What a node asks of a window; see grant.lua."""

    #: As in `gateway.contract.LIMIT_KEY`.
    window: str
    node: str
    limit: int
    need: int
    least: int
    block: int
    claimed: int
    returned: int
    #: Seconds until the window ends.
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenBlock:
    """What was granted, and what is counted over all nodes with it."""

    granted: int
    counted: int
