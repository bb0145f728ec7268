"""Lines of the gateway's log, as `gateway.configuration.LOG_FORMAT` writes them, and their frames."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from ostiary.access.reasons import Reason, refusal
from ostiary.gateway.leases import ONE_OF

#: The longest frame; what claims to be longer is none of ours.
LONGEST = 65_536


class BadFrame(ValueError):
    """What came is not framed as it must be; the connection that it came on is given up."""


class Frames:
    """Takes octet-counted messages (RFC 6587, section 3.4.1) out of a stream."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that are complete now; raises BadFrame."""
        data, at = self._rest + data, 0
        while True:
            space = data.find(b" ", at, at + 7)
            if space < 0:
                if len(data) - at >= 7:
                    raise BadFrame
                break
            length = data[at:space]
            if not length.isdigit() or int(length) > LONGEST:
                raise BadFrame
            end = space + 1 + int(length)
            if end > len(data):
                break
            yield data[space + 1 : end]
            at = end
        self._rest = data[at:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One call. Ids are 0 where unknown; `reason` is a refusal's number, 0 for an admitted call."""

    at_ms: int
    request_id: str
    #: -1: no answer was sent.
    status: int
    reason: int
    would: int
    method: str
    endpoint: int
    collection: int
    profile: int
    credential: int
    address: str
    milliseconds: int
    bytes_in: int
    bytes_out: int
    #: Calls for which the gateway wrote this line.
    stands_for: int
    details: dict[str, str]


def _number(word: str) -> int:
    return 0 if word == "-" else int(word)


def _moment(request_id: str) -> int:
    """When the call came, in ms since 1970; one that was no request of HTTP has no id, and is now."""
    if request_id == "-":
        return int(time.time() * 1000)
    seconds, ms, _ = request_id.split("-", 2)
    return int(seconds) * 1000 + int(ms)


def _address(digits: str) -> str:
    if digits == "-":
        return ""
    address = ip_address(bytes.fromhex(digits))
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


_OWN_FAILURES = {
    "502": Reason.UPSTREAM_FAILED,
    "503": Reason.UPSTREAM_UNAVAILABLE,
    "504": Reason.UPSTREAM_TIMEOUT,
}


def read(message: bytes) -> Line | None:
    """Take a line apart; nothing if it is none of ours."""
    words = message.decode(errors="replace").split(None, 10)
    if len(words) != 11:
        return None
    request_id, status, route, credential, would, one, address, took, *sizes, more = words
    size_in, size_out = sizes
    try:
        details = _details(more.rstrip("\n\0"))
        endpoint, collection = _scope(details.pop("s", "") or route)
        milliseconds = max(0, int(took.lstrip("+")))
        return Line(
            at_ms=_moment(request_id) + milliseconds,
            request_id="" if request_id == "-" else request_id,
            status=int(status),
            reason=_reason(details),
            would=int(details.pop("w", "0")) or _number(would),
            method=details.pop("m", ""),
            endpoint=endpoint,
            collection=collection,
            profile=int(details.pop("o", "") or 0),
            credential=_number(credential),
            address=_address(address),
            milliseconds=milliseconds,
            bytes_in=int(size_in.lstrip("+")),
            bytes_out=int(size_out.lstrip("+")),
            stands_for=1 if one == "-" else ONE_OF,
            details={
                _NAMES.get(name, name): v for name, v in details.items() if v not in {"", "-"}
            },
        )
    except ValueError:
        return None


#: Letters of a line's last word, as an owner reads them.
_NAMES = {
    "t": "trace",
    "p": "path",
    "k": "credentials",
    "f": "forwarded",
    "l": "rate_limit",
    "i": "rate_interval",
    "q": "quota_left_at_lease",
    "e": "quota_end",
    "u": "quota_counted",
    "b": "quota_given_back",
    "g": "quota_base",
}


def _reason(details: dict[str, str]) -> int:
    """The number of a refusal, or of why an admitted call failed (`r`: a recipe says so)."""
    number = int(details.pop("c", "0")) or int(details.pop("r", "0"))
    # `u` is HAProxy's own answer to an admitted call; of a refused one, it is a count.
    told = None if number else _OWN_FAILURES.get(details.pop("u", ""))
    details.pop("n", None)
    return refusal(told).code if told else number


def _details(text: str) -> dict[str, str]:
    """`c=13;s=e1;c1;…;p=/a` taken apart. The path is last, and holds what it holds."""
    if text == "-":
        return {}
    head, mark, path = text.partition(";p=")
    found: dict[str, str] = {}
    last = ""
    for part in head.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            found[name], last = value, name
        elif last:
            # The value of a route has semicolons of its own.
            found[last] += f";{part}"
    if mark:
        found["p"] = path
    return found


def _scope(text: str) -> tuple[int, int]:
    """Endpoint and collection of `e12;c3;…` or `c3`; 0 where there is none."""
    numbers = {word[:1]: word[1:] for word in text.split(";")[:2]}
    return (
        int(numbers["e"]) if numbers.get("e", "").isdigit() else 0,
        int(numbers["c"]) if numbers.get("c", "").isdigit() else 0,
    )
