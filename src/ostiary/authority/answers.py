"""The upcall's wire: what the gateway asks, and the words and numbers it gets back."""

from dataclasses import astuple, dataclass


class BadQuestion(ValueError):
    """The gateway's side sent something that is no question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A call without a lease. What is called is 0 where it is unknown."""

    form: str
    endpoint: int
    collection: int
    address: str
    credential: str


@dataclass(frozen=True, slots=True)
class Lease:
    """What a lease row is made of, in the order in which `upcall.lua` names them."""

    bound: int
    profile: int
    client: int
    seq: int
    exp: int
    rate_limit: int
    rate_interval: int
    quota_limit: int
    quota_start: int
    quota_base: int
    quota_end: int
    credential: int
    #: Whose words are told to the caller; 0: nothing is.
    policy: int
    method: int
    #: Code of the reason for which address lists that are only watched would have refused; 0: none.
    would: int
    #: 1: the limits are counted, and refuse nothing.
    watched: int
    endpoint: int
    collection: int
    #: 1: a rate limit is counted for, 2: a quota, 3: both; 0: nothing is.
    limited: int
    #: Tells the row from others that have the same key before or after it.
    serial: int
    #: Calls that passed in the rate limit's window, as far as that is kept.
    rate_used: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal, held until `exp` (0: not at all) unless what it rests on changes."""

    bound: int
    profile: int
    seq: int
    exp: int
    code: int
    #: Number of the trace that tells why; 0: none was kept.
    trace: int


def read_question(body: bytes) -> Question:
    """Take a question's lines apart; raises BadQuestion."""
    try:
        form, scope, address, credential = body.decode("latin-1").split("\n", 3)
        endpoint, collection = _scope(scope)
        return Question(
            form=form,
            endpoint=endpoint,
            collection=collection,
            address=address,
            credential=credential,
        )
    except ValueError:
        raise BadQuestion from None


def _scope(scope: str) -> tuple[int, int]:
    """Endpoint and collection of `e12;c3;…` (a route), `c3` or `0`."""
    words = scope.split(";")
    numbers = {word[0]: int(word[1:]) for word in words[:2] if word[:1] in {"e", "c"}}
    return numbers.get("e", 0), numbers.get("c", 0)


def write_answer(answer: Lease | Refused) -> bytes:
    """An answer as `upcall.lua` reads it."""
    letter = "A" if isinstance(answer, Lease) else "D"
    return f"{letter} {' '.join(map(str, astuple(answer)))}".encode()
