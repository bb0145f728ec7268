"""Lists of addresses that may or may not call: read from what owners type, and matched.

An entry is an IPv4 or IPv6 address or CIDR range. Host bits are accepted and mean the network that
contains them; an IPv4-mapped IPv6 address is its IPv4 address. What could be read in two ways is
refused: leading zeros, zone ids, ports, names.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MOST_ENTRIES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry as typed, the network it means, and what an owner should know of it."""

    text: str
    network: Network
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def addresses(self) -> int:
        return self.network.num_addresses


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressList:
    """A list that was read; `problems` has one sentence for each entry that was not."""

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


def parse_list(value: str | Iterable[str]) -> AddressList:
    """Read a list: text with commas or one entry a line, or the entries themselves."""
    if isinstance(value, str):
        texts = [part.strip() for part in re.split(r"[,\n]", value)]
        texts = [text for text in texts if text]
    else:
        texts = [text.strip() for text in value]
    if len(texts) > MOST_ENTRIES:
        return AddressList(problems=(f"has {len(texts)} entries; at most {MOST_ENTRIES} fit",))
    entries: list[Entry] = []
    problems: list[str] = []
    for text in texts:
        try:
            entries.append(_entry(text, entries))
        except _BadEntry as error:
            problems.append(f"{text[:60]!r}: {error}")
    return AddressList(entries=tuple(entries), problems=tuple(problems))


def parse_address(text: str) -> Address | None:
    """A caller's address; IPv4-mapped ones become IPv4."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return None
        return address.ipv4_mapped or address
    return address


def contains(networks: Iterable[Network], address: Address) -> bool:
    """Whether any of `networks` holds `address`; versions never mix."""
    return any(address.version == net.version and address in net for net in networks)


def _entry(text: str, earlier: list[Entry]) -> Entry:
    network, notes = _network(text)
    warnings: list[str] = []
    if network.prefixlen == 0:
        warnings.append(f"{text} is every IPv{network.version} address")
    elif network.is_private or network.is_loopback or network.is_link_local:
        warnings.append(f"{text} is a private range: no caller on the internet has it")
    warnings += [
        f"{text} overlaps {other.text}"
        for other in earlier
        if other.network.version == network.version and other.network.overlaps(network)
    ]
    return Entry(text=text, network=network, notes=notes, warnings=tuple(warnings))


def _network(text: str) -> tuple[Network, tuple[str, ...]]:
    _refuse_by_sight(text)
    host, slash, prefix = text.partition("/")
    address = _address(host)
    bits = address.max_prefixlen
    if slash and not (prefix.isascii() and prefix.isdigit() and len(prefix) <= 3):
        raise _BadEntry(f"the part after the slash must be a number from 0 to {bits}")
    if slash and len(prefix) > 1 and prefix.startswith("0"):
        raise _BadEntry("the number after the slash must not begin with a zero")
    length = int(prefix) if slash else bits
    if length > bits:
        raise _BadEntry(f"the number after the slash must be at most {bits}")
    address, length, notes = _unmapped(address, length)
    network = ipaddress.ip_network((address, length), strict=False)
    if network.network_address != address:
        notes += (f"means {network} ({network.num_addresses:,} addresses)",)
    return network, notes


def _unmapped(address: Address, length: int) -> tuple[Address, int, tuple[str, ...]]:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    if mapped is None:
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
        raise _BadEntry("is no IP address or CIDR range; names are not accepted")


def _address(host: str) -> Address:
    if "." in host and any(
        len(part) > 1 and part.startswith("0") for part in host.rpartition(":")[2].split(".")
    ):
        raise _BadEntry("a number must not begin with a zero")
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        raise _BadEntry("is no IPv4 or IPv6 address") from None
