"""Log lines of the gateway (`contract.LINE`), read in bulk into rows of the request log.

Up to a rate every line is stored; above it one of 2, 4, 8 … is, and says for how many it stands. A
line may stand for more than one call when it comes: `weight` in `contract.SUBJECT`.
"""

import ipaddress
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from ostiary.access.addresses import unmapped
from ostiary.collector.owners import Owners
from ostiary.gateway.contract import LINE, SUBJECT
from ostiary.usage.bulk import Row
from ostiary.usage.latency import bucket_of
from ostiary.usage.recording import LatencyKey, What

#: Lines a second up to which all are stored: of calls, and of those with a reason.
CALLS, REFUSALS = 1000, 500
#: Statuses of a call whose caller went away before it was answered.
_UNANSWERED = frozenset({0, 499})
#: Subjects that are remembered, and seconds of which it is known how many lines they had.
_MOST_SUBJECTS, _MOST_SECONDS = 50_000, 600
#: Bounds of what the database holds.
_LARGEST_ID, _LARGEST_CODE, _LARGEST_MS, _LARGEST_BYTES = 2**31, 2**15, 2**50, 2**62
#: Characters of a word in the details; a path has fewer.
_LONGEST_DETAIL = 16_384
_FIELDS, _SUBJECT_AT = len(LINE), list(LINE).index("subject")
#: Buckets of short latencies, by milliseconds.
_BUCKETS = tuple(bucket_of(ms) for ms in range(2048))


class _Subject(NamedTuple):
    """What a line is about, with what the directory adds to it."""

    #: Profile, client, collection and endpoint.
    who: tuple[int, int, int, int]
    #: Whether it tells something of an endpoint's latency.
    is_timed: bool
    credential: int
    would: int
    reason: int
    weight: int
    method: str


@dataclass(slots=True)
class Batch:
    """Lines that were read, as they are stored."""

    calls: list[Row] = field(default_factory=list)
    latencies: dict[LatencyKey, int] = field(default_factory=dict)
    #: Lines that were read, calls that they stand for, and lines that could not be read.
    read: int = 0
    stood_for: int = 0
    strange: int = 0


class Reader:
    """Reads the lines of one gateway. Counts them by second, to store a share where they are many."""

    def __init__(
        self, node: str, owners: Owners, *, calls: int = CALLS, refusals: int = REFUSALS
    ) -> None:
        self._node, self._owners = node, owners
        self._calls, self._refusals = _Sampler(calls), _Sampler(refusals)
        self._subjects: dict[str, _Subject] = {}

    def read(self, lines: Sequence[str], *, timed: bool = True) -> Batch:
        """Take lines apart; raises DatabaseError, and then none was counted.

        `timed`: they tell how long their calls took.
        """
        split = [line.split("\t") for line in lines]
        self._learn(words[_SUBJECT_AT] for words in split if len(words) == _FIELDS)
        batch = Batch()
        subjects, node, append = self._subjects, self._node, batch.calls.append
        # Who, minute and bucket → calls; a tuple is made in a third of the time of its named kind.
        took: dict[tuple[tuple[int, int, int, int], int, int], int] = {}
        take_call, take_refusal = self._calls.take, self._refusals.take
        stood_for = 0
        for words in split:
            try:
                at, request_id, status_, subject, address, seconds, in_, out_, more = words
                who, is_timed, credential, would, reason, weight, method = subjects[subject]
                # Whole seconds, a point, three digits.
                at_ms, ms = int(at[:-4] + at[-3:]), int(seconds[:-4] + seconds[-3:])
                status, bytes_in, bytes_out = int(status_), int(in_), int(out_)
                if not (
                    0 < at_ms < _LARGEST_MS
                    and 0 <= ms < _LARGEST_ID
                    and 0 <= status < 1000
                    and 0 <= bytes_in < _LARGEST_BYTES
                    and 0 <= bytes_out < _LARGEST_BYTES
                ):
                    raise ValueError(at)
                details = "{}" if more == "-" else _details(more)
                if ":" in address:
                    address = _address(address)
            except (ValueError, KeyError):
                batch.strange += 1
                continue
            stood_for += weight
            if is_timed and timed:
                key = who, at_ms // 60_000, _BUCKETS[ms] if ms < 2048 else bucket_of(ms)
                took[key] = took.get(key, 0) + weight
            share = (take_refusal if reason else take_call)(at_ms // 1000)
            if share:
                profile, client, collection, endpoint = who
                append(
                    (
                        at_ms,
                        request_id[:40],
                        node,
                        status if status not in _UNANSWERED else -1,
                        reason,
                        would,
                        method,
                        collection,
                        endpoint,
                        client,
                        profile,
                        credential,
                        address[:45] if address != "-" else "",
                        ms,
                        bytes_in,
                        bytes_out,
                        weight if share == 1 else min(weight * share, _LARGEST_ID - 1),
                        details,
                    )
                )
        batch.read, batch.stood_for = len(split) - batch.strange, stood_for
        batch.latencies = {
            (What(minute * 60, *who), bucket): calls
            for (who, minute, bucket), calls in took.items()
        }
        return batch

    def _learn(self, subjects: Iterable[str]) -> None:
        """Take new subjects apart; those that cannot be read stay unknown."""
        fresh = set(subjects).difference(self._subjects)
        if not fresh:
            return
        if len(self._subjects) > _MOST_SUBJECTS:
            self._subjects.clear()
        parsed = {text: numbers for text in fresh if (numbers := _subject(text)) is not None}
        self._owners.learn(
            credentials=[each.credential for each in parsed.values()],
            profiles=[each.who[0] for each in parsed.values()],
            endpoints=[each.who[3] for each in parsed.values()],
        )
        self._subjects |= {text: self._with_owners(each) for text, each in parsed.items()}

    def _with_owners(self, subject: _Subject) -> _Subject:
        profile, client, collection, endpoint = subject.who
        of_credential = self._owners.of_credential(subject.credential)
        profile = profile or of_credential[0]
        client = client or of_credential[1] or self._owners.client_of(profile)
        method = subject.method
        if method == "-":
            method = self._owners.method_of(endpoint)
        return subject._replace(
            who=(profile, client, collection, endpoint),
            is_timed=bool(endpoint and subject.credential),
            method=method[:16],
        )


class _Sampler:
    """Samples lines: all up to `most` in a second, then fewer and fewer.

    Lines of several workers come a buffer at a time, so seconds do not come in order.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: dict[int, int] = {}

    def take(self, second: int) -> int:
        """How many lines this one stands for; 0: it is not stored."""
        number = self._seen.get(second, 0) + 1
        self._seen[second] = number
        if number <= self._most:
            if number == 1 and len(self._seen) > _MOST_SECONDS:
                self._forget()
            return 1
        step = 1 << ((number - 1) // self._most).bit_length()
        return 0 if number % step else step

    def _forget(self) -> None:
        for second in sorted(self._seen)[: _MOST_SECONDS // 2]:
            del self._seen[second]


def _subject(text: str) -> _Subject | None:
    """A subject taken apart; nothing if it cannot be."""
    words = text.split("/", len(SUBJECT) - 1)
    try:
        endpoint, collection, profile, client, credential, would, reason, weight = map(
            int, words[:-1]
        )
    except ValueError:
        return None
    ids = (endpoint, collection, profile, client, credential, weight)
    if not (all(0 <= n < _LARGEST_ID for n in ids) and weight):
        return None
    if not (0 <= would < _LARGEST_CODE and 0 <= reason < _LARGEST_CODE):
        return None
    return _Subject(
        who=(profile, client, collection, endpoint),
        is_timed=False,
        credential=credential,
        would=would,
        reason=reason,
        weight=weight,
        method=words[-1],
    )


def _details(text: str) -> str:
    """The details as they are stored; raises ValueError unless they are a JSON object."""
    try:
        details = json.loads(text)
    except RecursionError:
        raise ValueError("too deep") from None
    if not isinstance(details, dict):
        raise ValueError("no object")  # noqa: TRY004 - as of other lines that cannot be read
    words = {
        name: str(value)
        for name, value in details.items()
        if value is not None and str(value) not in {"", "-"}
    }
    return json.dumps({_storable(name): _storable(word) for name, word in words.items()})


def _storable(text: str) -> str:
    """Text without what PostgreSQL does not take: NUL and halves of characters."""
    whole = text[:_LONGEST_DETAIL].replace("\0", "\ufffd")
    return whole.encode("utf-8", "replace").decode()


@lru_cache(maxsize=4096)
def _address(text: str) -> str:
    """An IPv6 address in its usual form; one of IPv4 inside of it as that."""
    return str(unmapped(ipaddress.ip_address(text)))
