"""Allow and deny lists of addresses: parses what owners type, and matches addresses.

An entry is an IPv4 or IPv6 address or CIDR range, whose length may be a netmask, with a comment after
`#` if it has one. Host bits are accepted and mean the network that
contains them; an IPv4-mapped IPv6 address is its IPv4 address. What could be read in two ways is
refused: leading zeros, zone ids, ports, names.
"""

import ipaddress
import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MOST_ENTRIES = 1000
#: The same of a list that profiles share.
MOST_NAMED = 20_000
LONGEST_COMMENT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry as typed, the network it means, and what an owner should know of it."""

    text: str
    network: Network
    #: How the entry was understood, where that is not obvious.
    notes: tuple[str, ...] = ()
    #: Warning: the entry is valid, but rarely intended.
    warnings: tuple[str, ...] = ()

    @property
    def addresses(self) -> int:
        return self.network.num_addresses


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedAddressList:
    """A parsed list; `problems` has one sentence for each entry that could not be parsed."""

    entries: tuple[Entry, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def networks(self) -> tuple[Network, ...]:
        return tuple(entry.network for entry in self.entries)

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(warning for entry in self.entries for warning in entry.warnings)


class _BadEntry(ValueError):
    pass


def parse_list(value: str | Iterable[str], *, most: int = MOST_ENTRIES) -> ParsedAddressList:
    """Read a list: text with commas or one entry a line, or the entries themselves.

    Whoever enforces a list must look at `problems` first: what is left of a half-read list may be
    empty, and an empty list is everybody.
    """
    texts = _split(value) if isinstance(value, str) else [text.strip() for text in value]
    if len(texts) > most:
        return ParsedAddressList(problems=(f"has {len(texts):,} entries; at most {most:,} fit",))
    if not texts and isinstance(value, str) and value.strip():
        return ParsedAddressList(problems=("holds comments, and no address",))
    entries: list[Entry] = []
    problems: list[str] = []
    for number, text in enumerate(texts, start=1):
        try:
            entries.append(_entry(text))
        except _BadEntry as error:
            problems.append(f"entry {number}, {text[:60]!r}: {error}")
    return ParsedAddressList(entries=_with_overlaps(entries), problems=tuple(problems))


def _split(text: str) -> list[str]:
    """The entries of a text. Blank lines and a comma at the end of a line are nothing.

    Any other comma without an entry is kept as an empty one, to be refused: a list that holds
    commas alone would otherwise be empty, and let everybody in. A comment belongs to the last entry
    of its line; in a line of its own it is nothing.
    """
    texts: list[str] = []
    for line in re.split(r"\r\n|\n|\r", text):
        listed, _, comment = (part.strip() for part in line.partition("#"))
        parts = [part.strip() for part in listed.split(",")]
        if not parts[-1] and (len(parts) == 1 or parts[-2]):
            parts.pop()
        if parts and comment:
            parts[-1] = f"{parts[-1]} # {comment}"
        texts += parts
    return texts


class BrokenList(ValueError):
    """A stored address list that cannot be read: half a rule must refuse, not vanish."""


def stored_networks(entries: object) -> tuple[Network, ...]:
    """The networks of a stored list; raises BrokenList."""
    if not isinstance(entries, list | tuple):
        # An empty object, or nothing, must not be read as an empty list, which admits every address.
        raise BrokenList("it is not a list")
    parsed = parse_list(entries)
    if parsed.problems:
        raise BrokenList(parsed.problems[0])
    return parsed.networks


def unmapped(address: Address) -> Address:
    """An IPv4-mapped address (RFC 4291, section 2.5.5.2) as IPv4, and any other as it is.

    Both spellings are one host to the operating system.
    """
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or address
    return address


def group(address: str) -> str:
    """What an address is counted as: IPv6 by its /64, which one caller commonly has whole."""
    try:
        parsed = unmapped(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


#: Translators to IPv4 (RFC 6052 and 8215): the last four bytes are an address behind them.
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
_TRANSLATED_LOCALLY = ipaddress.ip_network("64:ff9b:1::/48")


#: Where clouds keep metadata and secrets of a machine, beside the link-local addresses: AWS over IPv6,
#: Alibaba, Azure's wire server, and Oracle.
METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    )
)


def destinations(address: Address) -> tuple[Address, ...]:
    """Every address at which packets to this one can arrive: who refuses one must ask about all.

    IPv6 carries IPv4 addresses as IPv4-mapped and IPv4-compatible ones, in 6to4 (RFC 3056), behind
    translators, and in Teredo (RFC 4380; the server's and the client's).
    """
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    inner = address.ipv4_mapped or address.sixtofour
    if inner is not None:
        return (inner,)
    if address.teredo is not None:
        return (address, *address.teredo)
    last = ipaddress.IPv4Address(address.packed[-4:])
    if address in _TRANSLATED:
        return (last,)
    if address in _TRANSLATED_LOCALLY or _is_compatible(address):
        return (address, last)
    return (address,)


def _is_compatible(address: ipaddress.IPv6Address) -> bool:
    """Whether it is IPv4-compatible (RFC 4291, section 2.5.5.1); `::` and `::1` are not."""
    return 1 < int(address) < 2**32


def parse_address(text: str) -> Address | None:
    """A caller's address; IPv4-mapped ones become IPv4."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return None
    return unmapped(address)


#: An address with a port behind it, as Azure's and other proxies write it into X-Forwarded-For.
_WITH_PORT = re.compile(r"(?:([0-9.]+)|\[([^\[\]]*)\]):[0-9]{1,5}|\[([^\[\]]*)\]", re.ASCII)


def hops(forwarded: str) -> list[str]:
    """The entries of X-Forwarded-For; empty ones are nothing (RFC 9110, section 5.6.1.2)."""
    return [hop for entry in forwarded.split(",") if (hop := entry.strip(" \t"))]


def parse_hop(text: str) -> Address | None:
    """The address of an entry of X-Forwarded-For, which may have brackets, and a port behind it."""
    match = _WITH_PORT.fullmatch(text)
    if match is None:
        return parse_address(text)
    inner = match[2] or match[3]
    if inner is None:
        return parse_address(match[1] or "")
    # Between brackets stands an IPv6 address (RFC 3986, section 3.2.2).
    return parse_address(inner) if ":" in inner else None


def contains(networks: Iterable[Network], address: Address) -> bool:
    """Whether any of `networks` holds `address`; versions never mix."""
    return any(address.version == net.version and address in net for net in networks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """A range that an address is not in, and how many bits of its prefix are missing."""

    network: Network
    missed: int

    def __str__(self) -> str:
        return f"{self.network}, missed by {self.missed} bit{'s' * (self.missed > 1)}"


def nearest(networks: Iterable[Network], address: Address) -> Near | None:
    """Of the ranges that do not hold `address`, the one that shares most leading bits with it."""
    apart = [
        (_shared(net, address), Near(network=net, missed=net.prefixlen - _shared(net, address)))
        for net in networks
        if net.version == address.version and address not in net
    ]
    return max(apart, key=lambda each: (each[0], -each[1].missed))[1] if apart else None


def _shared(network: Network, address: Address) -> int:
    """How many leading bits two addresses have in common."""
    difference = int(network.network_address) ^ int(address)
    return network.max_prefixlen - difference.bit_length()


class NamedList:
    """A list that profiles share, of up to MOST_NAMED networks, in which an address is found by bisection."""

    __slots__ = ("_lengths", "_starts", "id", "name", "packed")

    def __init__(self, *, id: int, name: str, packed: str) -> None:  # noqa: A002 - the table's name
        """`packed` is what `pack` makes; raises ValueError for anything else."""
        self.id, self.name, self.packed = id, name, packed
        self._starts: dict[int, list[int] | array[int]] = {4: array("L"), 6: []}
        self._lengths = {4: array("B"), 6: array("B")}
        for word in packed.split():
            start, _, length = word.partition("/")
            version = {8: 4, 32: 6}[len(start)] if len(start) in {8, 32} else 0
            if not version or int(length) > (32 if version == 4 else 128):
                raise ValueError("the list of addresses cannot be decoded")
            self._starts[version].append(int(start, 16))
            self._lengths[version].append(int(length))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NamedList) and (self.id, self.name, self.packed) == (
            other.id, other.name, other.packed,
        )  # fmt: skip

    def __hash__(self) -> int:
        return hash((self.id, self.packed))

    def __str__(self) -> str:
        return f"{self.name} ({len(self):,} ranges)"

    def __len__(self) -> int:
        return sum(map(len, self._lengths.values()))

    def __contains__(self, address: Address) -> bool:
        return self.holding(address) is not None

    def holding(self, address: Address) -> Network | None:
        """The network of the list that holds an address."""
        return next((each for each in self._beside(address)[:1] if address in each), None)

    def nearest(self, address: Address) -> Near | None:
        """As `nearest` has it: the networks beside an address share most bits with it."""
        return nearest(self._beside(address), address)

    def _beside(self, address: Address) -> list[Network]:
        """The network that begins last at or before an address, and the following one."""
        starts, lengths = self._starts[address.version], self._lengths[address.version]
        place = bisect_right(starts, int(address))
        make = ipaddress.IPv4Network if address.version == 4 else ipaddress.IPv6Network
        return [
            make((starts[at], lengths[at])) for at in (place - 1, place) if 0 <= at < len(starts)
        ]


def pack(networks: Iterable[Network]) -> str:
    """Networks as a `NamedList` reads them: sorted, and without those that another one holds."""
    words: list[str] = []
    last: Network | None = None
    for network in sorted(networks, key=lambda each: _position(each, 0)):
        if last is not None and _holds(last, network):
            continue
        last = network
        digits = 8 if network.version == 4 else 32
        words.append(f"{int(network.network_address):0{digits}x}/{network.prefixlen}")
    return " ".join(words)


def _entry(text: str) -> Entry:
    listed, _, comment = text.partition("#")
    if len(comment) > LONGEST_COMMENT or not comment.strip().isprintable():
        raise _BadEntry(f"its comment must be printable, of at most {LONGEST_COMMENT} characters")
    network, notes = _network(listed.strip())
    warnings: tuple[str, ...] = ()
    if network.prefixlen == 0:
        warnings = (f"{text} is every IPv{network.version} address",)
    elif network.is_private or network.is_link_local:
        warnings = (f"{text} is a private range: no caller on the internet has it",)
    return Entry(text=text, network=network, notes=notes, warnings=warnings)


def _with_overlaps(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The entries, with a warning at each that another one holds.

    Two networks are apart or one holds the other, so in the order of their first address, wide
    before narrow, all that hold an entry lie on a stack: this stays cheap for the longest list,
    and there is at most one warning for each entry.
    """
    order = sorted(range(len(entries)), key=lambda i: _position(entries[i].network, i))
    told = list(entries)
    around: list[Entry] = []
    for index in order:
        entry = entries[index]
        while around and not _holds(around[-1].network, entry.network):
            around.pop()
        if around:
            told[index] = replace(entry, warnings=(*entry.warnings, _overlap(entry, around[-1])))
        around.append(entry)
    return tuple(told)


def _position(network: Network, index: int) -> tuple[int, int, int, int]:
    return network.version, int(network.network_address), network.prefixlen, index


def _holds(outer: Network, inner: Network) -> bool:
    return outer.version == inner.version and inner.network_address in outer


def _overlap(entry: Entry, holder: Entry) -> str:
    if entry.network == holder.network:
        return f"{entry.text} repeats {holder.text}"
    return f"{entry.text} overlaps {holder.text}, which holds all of it"


def _network(text: str) -> tuple[Network, tuple[str, ...]]:
    _refuse_by_sight(text)
    host, slash, prefix = text.partition("/")
    address = _address(host)
    bits = address.max_prefixlen
    if slash and "." in prefix and address.version == 4:
        prefix = str(_mask_length(prefix))
    if slash and not (prefix.isascii() and prefix.isdigit() and len(prefix) <= 3):
        raise _BadEntry(f"the part after the slash must be a number from 0 to {bits}")
    if slash and len(prefix) > 1 and prefix.startswith("0"):
        raise _BadEntry("the number after the slash must not begin with a zero")
    length = int(prefix) if slash else bits
    if length > bits:
        raise _BadEntry(f"the number after the slash must be at most {bits}")
    address, length, notes = _unmapped_range(address, length)
    network = ipaddress.ip_network((address, length), strict=False)
    if network.network_address != address:
        notes += (f"means {network} ({network.num_addresses:,} addresses)",)
    return network, notes


def _mask_length(text: str) -> int:
    """The length of a netmask such as 255.255.0.0."""
    mask = int(_address(text))
    length = mask.bit_count()
    if mask != (2**32 - 1) ^ (2 ** (32 - length) - 1):
        raise _BadEntry(f"{text} isn't a netmask: its ones must all come first")
    return length


def _unmapped_range(address: Address, length: int) -> tuple[Address, int, tuple[str, ...]]:
    mapped = unmapped(address)
    if mapped is address:
        return address, length, ()
    if length < 96:
        raise _BadEntry("a range wider than IPv4 cannot be written with an IPv4-mapped address")
    return mapped, length - 96, (f"is the IPv4 address {mapped}",)


def _refuse_by_sight(text: str) -> None:
    if not text:
        raise _BadEntry("is empty")
    if "%" in text:
        raise _BadEntry("zone ids are not accepted")
    if text.startswith("["):
        raise _BadEntry("write the address without brackets and port")
    if re.fullmatch(r"[0-9.]+:[0-9]+", text):
        raise _BadEntry("ports are not accepted")
    if not re.fullmatch(r"[0-9A-Fa-f:./]+", text):
        raise _BadEntry("isn't an IP address or CIDR range; names are not accepted")


def _address(host: str) -> Address:
    if "." in host and any(
        len(part) > 1 and part.startswith("0") for part in host.rpartition(":")[2].split(".")
    ):
        raise _BadEntry("a number must not begin with a zero")
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        raise _BadEntry("isn't an IPv4 or IPv6 address") from None
