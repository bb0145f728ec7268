"""Places: where a call may carry its credential, besides `API-TOKEN` and `Authorization` with Bearer
or Basic. Consumers of another gateway keep the header that they send.

A place is written as consumers know it: `X-API-Key` is a header, `Authorization: ApiKey` a scheme,
`Authorization` the bare credential without one, `?api_key` a query parameter, and
`Sec-WebSocket-Protocol: ostiary.token.` a subprotocol of that prefix. Knows no ORM.
"""

import enum
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

#: Places of one workspace or collection.
MOST = 20
AUTHORIZATION, SUBPROTOCOL = "Authorization", "Sec-WebSocket-Protocol"

_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,31}")
_QUERY = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
#: RFC 6455, section 4.1: subprotocols are tokens of RFC 9110.
_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,62}[._-]")
#: Headers that frame or route a message, tell who calls, or are set by us, by proxies or by browsers.
_TAKEN = re.compile(
    r"(?i)(host|cdn-loop|cookie|set-cookie|content-.*|transfer-encoding|te|trailer|upgrade|connection|keep-alive"
    r"|proxy.*|x-ostiary.*|x-forwarded.*|forwarded|via|x-real-ip|.*client-?ip|x-original-.*|x-rewrite-url"
    r"|x-http-method.*|x-method-override|x-request-id|traceparent|tracestate|baggage|expect|range|if-.*"
    r"|accept.*|origin|referer|user-agent|date|max-forwards|http2-settings|access-control-.*|sec-.*|age"
    r"|cache-control|pragma|dnt|link|location|vary|warning|www-authenticate|allow|server"
    r"|x-consumer-.*|remote-user|x-remote-.*|x-authenticated-.*|x-credential-.*)"
)


class PlaceKind(enum.StrEnum):
    HEADER = "header"
    SCHEME = "scheme"
    BARE = "bare"
    QUERY = "query"
    SUBPROTOCOL = "subprotocol"


class BadPlace(ValueError):
    """The text isn't a place; the message is a sentence without a subject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    kind: PlaceKind
    #: Header, scheme, parameter or prefix; empty for a bare credential.
    name: str = ""

    def __str__(self) -> str:
        match self.kind:
            case PlaceKind.HEADER:
                return self.name
            case PlaceKind.SCHEME:
                return f"{AUTHORIZATION}: {self.name}"
            case PlaceKind.BARE:
                return AUTHORIZATION
            case PlaceKind.QUERY:
                return f"?{self.name}"
            case PlaceKind.SUBPROTOCOL:
                return f"{SUBPROTOCOL}: {self.name}"

    @property
    def key(self) -> tuple[PlaceKind, str]:
        """Two places with the same key are one: names of headers and schemes have no case."""
        cased = self.kind in {PlaceKind.QUERY, PlaceKind.SUBPROTOCOL}
        return self.kind, self.name if cased else self.name.lower()


def parse(text: str) -> Place:
    """Read a place; raises BadPlace."""
    text = text.strip()
    if text.startswith("?"):
        return _query(text[1:].removesuffix("="))
    name, colon, rest = (part.strip() for part in text.partition(":"))
    if name.lower() == AUTHORIZATION.lower():
        return _scheme(rest) if rest else Place(kind=PlaceKind.BARE)
    if name.lower() == SUBPROTOCOL.lower():
        return _subprotocol(rest)
    if rest:
        raise BadPlace("has a colon; only Authorization and Sec-WebSocket-Protocol take more")
    return _header(name) if not colon else _header(f"{name}:")


def _header(name: str) -> Place:
    if "_" in name:
        raise BadPlace("has an underscore, and nginx drops such headers; use hyphens")
    if not _HEADER.fullmatch(name):
        raise BadPlace("is not a header of letters, digits and hyphens such as X-API-Key")
    if name.lower() == "api-token":
        raise BadPlace("is always accepted; leave it out")
    if _TAKEN.fullmatch(name):
        raise BadPlace("has a meaning of its own in HTTP or for proxies; a key cannot come in it")
    return Place(kind=PlaceKind.HEADER, name=name)


def _scheme(name: str) -> Place:
    if name.lower() in {"bearer", "basic"}:
        raise BadPlace("is always accepted; leave it out")
    if name.lower() in {"digest", "negotiate", "ntlm"} or not _SCHEME.fullmatch(name):
        raise BadPlace("has no scheme such as ApiKey, Token or Key")
    return Place(kind=PlaceKind.SCHEME, name=name)


def _query(name: str) -> Place:
    if not _QUERY.fullmatch(name):
        raise BadPlace("is not a query parameter of letters, digits, dots, hyphens and underscores")
    return Place(kind=PlaceKind.QUERY, name=name)


def _subprotocol(prefix: str) -> Place:
    if not _PREFIX.fullmatch(prefix):
        raise BadPlace("needs a prefix that ends in a dot or hyphen, such as ostiary.token.")
    return Place(kind=PlaceKind.SUBPROTOCOL, name=prefix)


def parse_all(texts: Sequence[object]) -> tuple[Place, ...]:
    """Read a list of places, each once; raises BadPlace with all that is wrong."""
    if len(texts) > MOST:
        raise BadPlace(f"must be at most {MOST} places")
    found: dict[tuple[PlaceKind, str], Place] = {}
    problems = []
    for text in texts:
        try:
            place = parse(text if isinstance(text, str) else "")
        except BadPlace as error:
            problems.append(f"{str(text)[:80]!r} {error}")
        else:
            found.setdefault(place.key, place)
    if problems:
        raise BadPlace("; ".join(problems))
    return tuple(found.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Places as they are looked up; names of headers and schemes in lower case."""

    headers: frozenset[str] = frozenset()
    schemes: frozenset[str] = frozenset()
    bare: bool = False
    query: frozenset[str] = frozenset()
    subprotocols: tuple[str, ...] = field(default=())

    def published(self) -> Mapping[str, object]:
        """As the gateway reads it."""
        return {
            "headers": sorted(self.headers),
            "schemes": sorted(self.schemes),
            "bare": self.bare,
            "query": sorted(self.query),
            "subprotocols": list(self.subprotocols),
        }


def gathered(places: Iterable[Place]) -> Places:
    """The places of a list, by kind."""
    by_kind: dict[PlaceKind, list[str]] = {kind: [] for kind in PlaceKind}
    for place in places:
        by_kind[place.kind].append(place.key[1])
    return Places(
        headers=frozenset(by_kind[PlaceKind.HEADER]),
        schemes=frozenset(by_kind[PlaceKind.SCHEME]),
        bare=bool(by_kind[PlaceKind.BARE]),
        query=frozenset(by_kind[PlaceKind.QUERY]),
        subprotocols=tuple(by_kind[PlaceKind.SUBPROTOCOL]),
    )


#: No places besides those that are always accepted.
NONE = Places()


def in_urls(texts: Iterable[str]) -> tuple[str, ...]:
    """The query parameters among places: URLs are in logs, histories and Referer headers."""
    return tuple(text for text in texts if text.startswith("?"))


URL_WARNING = (
    "A key in a query parameter is in every URL: logs of proxies, histories of browsers and Referer "
    "headers keep it. Use it only where a header cannot be set."
)
