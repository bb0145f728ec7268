"""Address lists mean what their owner typed, or are refused; and matching agrees with arithmetic."""

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.access.addresses import (
    MOST_ENTRIES,
    MOST_NAMED,
    BrokenList,
    NamedList,
    Network,
    contains,
    destinations,
    group,
    hops,
    nearest,
    pack,
    parse_address,
    parse_hop,
    parse_list,
    stored_networks,
    unmapped,
)


@pytest.mark.parametrize(
    ("text", "network", "count"),
    [
        pytest.param("192.0.2.1", "192.0.2.1/32", 1, id="ipv4"),
        pytest.param("2001:db8::1", "2001:db8::1/128", 1, id="ipv6"),
        pytest.param("2001:0DB8::0001", "2001:db8::1/128", 1, id="ipv6-spelled-otherwise"),
        pytest.param("198.51.100.0/24", "198.51.100.0/24", 256, id="range"),
        pytest.param("106.226.100.3/20", "106.226.96.0/20", 4096, id="host-bits"),
        pytest.param("2001:db8::ff/32", "2001:db8::/32", 2**96, id="ipv6-host-bits"),
        pytest.param("::ffff:192.0.2.1", "192.0.2.1/32", 1, id="mapped"),
        pytest.param("::ffff:c000:201", "192.0.2.1/32", 1, id="mapped-in-hex"),
        pytest.param("::ffff:192.0.2.9/120", "192.0.2.0/24", 256, id="mapped-range"),
        pytest.param("::ffff:0:0/96", "0.0.0.0/0", 2**32, id="all-mapped"),
        pytest.param("10.1.2.3/255.0.0.0", "10.0.0.0/8", 2**24, id="netmask"),
        pytest.param("10.1.2.3/255.255.255.255", "10.1.2.3/32", 1, id="netmask-of-one"),
        pytest.param("10.0.0.0/0.0.0.0", "0.0.0.0/0", 2**32, id="netmask-of-all"),
        pytest.param("192.0.2.1 # office, 2nd floor", "192.0.2.1/32", 1, id="comment"),
        pytest.param("::/0", "::/0", 2**128, id="every-ipv6"),
        pytest.param("9.9.9.9/0", "0.0.0.0/0", 2**32, id="every-ipv4"),
    ],
)
def test_an_entry_means_its_network(text: str, network: str, count: int) -> None:
    parsed = parse_list(text)
    assert not parsed.problems
    assert parsed.networks == (ip_network(network),)
    assert parsed.entries[0].text == text
    assert parsed.entries[0].addresses == count


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("10.0.0.01", "begin with a zero", id="leading-zero"),
        pytest.param("::ffff:010.0.0.1", "begin with a zero", id="leading-zero-in-mapped"),
        pytest.param("10.0.0.0/08", "begin with a zero", id="leading-zero-in-prefix"),
        pytest.param("10.0.0.0/033", "begin with a zero", id="long-prefix-with-zero"),
        pytest.param("10.0.0.0/33", "at most 32", id="prefix-too-long"),
        pytest.param("2001:db8::/129", "at most 128", id="ipv6-prefix-too-long"),
        pytest.param("10.0.0.0/", "number from 0 to 32", id="no-prefix"),
        pytest.param("10.0.0.0/1000", "number from 0 to 32", id="prefix-of-four-digits"),
        pytest.param("10.0.0.0/0.255.255.255", "isn't a netmask", id="wildcard-mask"),
        pytest.param("10.0.0.0/255.0.255.0", "isn't a netmask", id="mask-with-a-gap"),
        pytest.param("10.0.0.0/255.0.0", "an IPv4 or IPv6 address", id="half-a-mask"),
        pytest.param("2001:db8::/255.0.0.0", "number from 0 to 128", id="netmask-of-ipv6"),
        pytest.param("10.0.0.1 # \x07", "must be printable", id="control-character-in-a-comment"),
        pytest.param("# office", "holds comments", id="comment-alone"),
        pytest.param("10.0.0.0/8/8", "number from 0 to 32", id="two-prefixes"),
        pytest.param("fe80::1%eth0", "zone ids", id="zone"),
        pytest.param("10.0.0.1%1", "zone ids", id="ipv4-zone"),
        pytest.param("10.0.0.1:443", "ports", id="port"),
        pytest.param("[2001:db8::1]:443", "brackets", id="ipv6-port"),
        pytest.param("api.example.com", "names", id="name"),
        pytest.param("localhost", "names", id="local-name"),
        pytest.param("10.0.0.1-10.0.0.9", "names", id="dash-range"),
        pytest.param("10.0.0.*", "names", id="wildcard"),
        pytest.param("10.0.0.1 10.0.0.2", "names", id="space"),
        pytest.param("１０.0.0.1", "names", id="other-digits"),
        pytest.param("\x00", "names", id="nul"),
        pytest.param("10.0.0", "an IPv4 or IPv6", id="three-parts"),
        pytest.param("3232235777", "an IPv4 or IPv6", id="one-number"),
        pytest.param("10.0.0.256", "an IPv4 or IPv6", id="part-too-big"),
        pytest.param("2001:db8:::1", "an IPv4 or IPv6", id="three-colons"),
        pytest.param("/24", "an IPv4 or IPv6", id="prefix-alone"),
        pytest.param("::ffff:0:0/95", "wider than IPv4", id="mapped-prefix-too-short"),
        pytest.param(",", "empty", id="comma-alone"),
        pytest.param("10.0.0.1,,10.0.0.2", "empty", id="nothing-between-commas"),
        pytest.param("10.0.0.1,\n,", "empty", id="comma-on-a-line-of-its-own"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_with_its_reason(text: str, reason: str) -> None:
    parsed = parse_list(text)
    assert parsed.problems
    assert reason in parsed.problems[0]


def test_each_wrong_entry_is_named_with_its_place_and_good_ones_are_kept() -> None:
    parsed = parse_list("10.0.0.1, nonsense\n10.0.0.02, 10.0.0.3")
    assert [entry.text for entry in parsed.entries] == ["10.0.0.1", "10.0.0.3"]
    assert parsed.problems == (
        "entry 2, 'nonsense': isn't an IP address or CIDR range; names are not accepted",
        "entry 3, '10.0.0.02': a number must not begin with a zero",
    )


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.1,10.0.0.2",
        "10.0.0.1\n10.0.0.2",
        "10.0.0.1\r\n10.0.0.2\r\n",
        "10.0.0.1\r10.0.0.2",
        " 10.0.0.1 ,\t10.0.0.2 , ",
        "\n\n10.0.0.1,\n  \n10.0.0.2,\n",
    ],
)
def test_commas_and_lines_separate_entries(text: str) -> None:
    assert parse_list(text) == parse_list(["10.0.0.1", "10.0.0.2"])


@pytest.mark.parametrize("text", ["", " ", "\n", " \r\n\t"])
def test_nothing_typed_is_an_empty_list(text: str) -> None:
    assert parse_list(text) == parse_list([])
    assert not parse_list(text).entries


@pytest.mark.parametrize("entries", [[""], ["10.0.0.1", " "], ["10.0.0.1, 10.0.0.2"]])
def test_an_entry_of_a_list_is_one_entry(entries: list[str]) -> None:
    assert parse_list(entries).problems


def test_a_list_may_have_so_many_entries_and_no_more() -> None:
    entries = [f"10.{i // 250}.{i % 250}.1" for i in range(MOST_ENTRIES + 1)]
    assert len(parse_list(entries[:-1]).entries) == MOST_ENTRIES
    assert parse_list(entries).problems == ("has 1,001 entries; at most 1,000 fit",)
    assert not parse_list(entries).entries


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        ("106.226.100.3/20", ("means 106.226.96.0/20 (4,096 addresses)",)),
        ("106.226.96.0/20", ()),
        ("::ffff:192.0.2.1", ("is the IPv4 address 192.0.2.1",)),
        (
            "::ffff:192.0.2.1/120",
            ("is the IPv4 address 192.0.2.1", "means 192.0.2.0/24 (256 addresses)"),
        ),
    ],
)
def test_notes_say_how_an_entry_was_understood(text: str, notes: tuple[str, ...]) -> None:
    assert parse_list(text).entries[0].notes == notes


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        pytest.param("8.8.8.8", (), id="none"),
        pytest.param("0.0.0.0/0", ("0.0.0.0/0 is every IPv4 address",), id="every-ipv4"),
        pytest.param("::/0", ("::/0 is every IPv6 address",), id="every-ipv6"),
        pytest.param(
            "10.1.2.3",
            ("10.1.2.3 is a private range: no caller on the internet has it",),
            id="private",
        ),
        pytest.param(
            "::1", ("::1 is a private range: no caller on the internet has it",), id="loopback"
        ),
        pytest.param(
            "fe80::/10",
            ("fe80::/10 is a private range: no caller on the internet has it",),
            id="link-local",
        ),
        pytest.param("8.8.8.8, 8.8.8.8", ("8.8.8.8 repeats 8.8.8.8",), id="twice"),
        pytest.param(
            "8.8.8.8, ::ffff:8.8.8.8", ("::ffff:8.8.8.8 repeats 8.8.8.8",), id="twice-when-mapped"
        ),
        pytest.param(
            "8.8.8.8, 8.8.0.0/16",
            ("8.8.8.8 overlaps 8.8.0.0/16, which holds all of it",),
            id="narrow-before-wide",
        ),
        pytest.param(
            "8.8.0.0/16, 8.8.8.0/24, 8.8.8.8, 8.9.0.1",
            (
                "8.8.8.0/24 overlaps 8.8.0.0/16, which holds all of it",
                "8.8.8.8 overlaps 8.8.8.0/24, which holds all of it",
            ),
            id="nested",
        ),
        pytest.param(
            "0.0.0.0/0, 2001:4860::8888", ("0.0.0.0/0 is every IPv4 address",), id="versions-apart"
        ),
    ],
)
def test_what_is_seldom_meant_is_a_warning(text: str, warnings: tuple[str, ...]) -> None:
    parsed = parse_list(text)
    assert not parsed.problems
    assert parsed.warnings == warnings


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", IPv4Address("192.0.2.1")),
        ("2001:DB8::1", IPv6Address("2001:db8::1")),
        ("::ffff:192.0.2.1", IPv4Address("192.0.2.1")),
        ("::ffff:c000:0201", IPv4Address("192.0.2.1")),
        ("::192.0.2.1", IPv6Address("::c000:201")),
        ("fe80::1%eth0", None),
        ("192.0.2.01", None),
        ("192.0.2.1/32", None),
        ("192.0.2.1 ", None),
        ("192.0.2.1\n", None),
        ("unix", None),
        ("", None),
    ],
)
def test_a_callers_address_is_one_address_or_none(
    text: str, address: IPv4Address | IPv6Address | None
) -> None:
    assert parse_address(text) == address


def test_versions_never_mix() -> None:
    assert not contains([ip_network("::/0")], ip_address("0.0.0.0"))
    assert not contains([ip_network("0.0.0.0/0")], ip_address("::"))


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        (
            "106.226.96.0/20",
            ["106.226.96.0", "106.226.111.255"],
            ["106.226.95.255", "106.226.112.0"],
        ),
        ("2001:db8::/127", ["2001:db8::", "2001:db8::1"], ["2001:db7:ffff::", "2001:db8::2"]),
        ("192.0.2.1/32", ["192.0.2.1"], ["192.0.2.0", "192.0.2.2"]),
    ],
)
def test_a_range_ends_where_it_ends(network: str, inside: list[str], outside: list[str]) -> None:
    networks = [ip_network(network)]
    assert all(contains(networks, ip_address(text)) for text in inside)
    assert not any(contains(networks, ip_address(text)) for text in outside)


_NETWORKS = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)),
    st.tuples(st.ip_addresses(v=6), st.integers(0, 128)),
).map(lambda pair: ip_network(pair, strict=False))


@given(st.lists(_NETWORKS, max_size=8), st.ip_addresses())
def test_matching_agrees_with_comparing_leading_bits(
    networks: list[Network], address: IPv4Address | IPv6Address
) -> None:
    def leading(net: Network) -> bool:
        shift = net.max_prefixlen - net.prefixlen
        return int(net.network_address) >> shift == int(address) >> shift

    expected = any(net.version == address.version and leading(net) for net in networks)
    assert contains(networks, address) is expected


@given(_NETWORKS)
def test_a_network_reads_back_as_itself_and_its_mapped_spelling_too(network: Network) -> None:
    parsed = parse_list(str(network))
    if network.version == 6 and IPv6Address(int(network.network_address)).ipv4_mapped:
        return  # Another network, or refused: see the table.
    assert parsed.networks == (network,)
    if network.version == 4:
        mapped = parse_list(f"::ffff:{network.network_address}/{96 + network.prefixlen}")
        assert mapped.networks == (network,)


@given(st.lists(_NETWORKS, max_size=12))
def test_an_entry_is_warned_of_just_when_another_holds_it(networks: list[Network]) -> None:
    parsed = parse_list([str(network) for network in networks])
    if parsed.problems or parsed.networks != tuple(networks):
        return  # IPv4-mapped ones: see the table.
    told = sum(" overlaps " in text or " repeats " in text for text in parsed.warnings)
    distinct = set(networks)
    held = sum(
        any(n != o and n.version == o.version and n.network_address in o and
            n.prefixlen >= o.prefixlen for o in distinct)
        for n in distinct
    )  # fmt: skip
    repeats = len(networks) - len(distinct)
    assert told == held + repeats


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_and_never_becomes_everybody(text: str) -> None:
    parsed = parse_list(text)
    if not parsed.entries and not parsed.problems:
        assert not text.strip()


@pytest.mark.parametrize("entry", ["10.0.0.0/8", "10.0.{}.1", "10.0.0.0/{}"])
def test_the_longest_list_has_at_most_an_overlap_for_each_entry(entry: str) -> None:
    parsed = parse_list([entry.format(i % 9) for i in range(MOST_ENTRIES)])
    assert not parsed.problems
    assert len(parsed.warnings) <= 2 * MOST_ENTRIES


@given(
    st.lists(st.integers(0, 32).flatmap(lambda p: st.integers(0, 2**p - 1).map(
        lambda n: IPv4Network((n << (32 - p), p)))), max_size=6),
    st.integers(0, 2**32 - 1).map(IPv4Address),
)  # fmt: skip
def test_the_nearest_range_would_hold_the_address_if_it_were_so_much_wider(
    networks: list[IPv4Network], address: IPv4Address
) -> None:
    found = nearest(networks, address)
    apart = [net for net in networks if address not in net]
    if found is None:
        assert not apart
        return
    assert found.network in apart
    assert isinstance(found.network, IPv4Network)
    assert found.missed > 0
    assert address in found.network.supernet(found.missed)
    assert address not in found.network.supernet(found.missed - 1)
    shared = found.network.prefixlen - found.missed
    assert all(
        address not in net.supernet(new_prefix=shared + 1)
        for net in apart
        if net.prefixlen > shared
    )


@pytest.mark.parametrize(
    ("text", "address"),
    [
        pytest.param("203.0.113.7", "203.0.113.7", id="ipv4"),
        pytest.param("203.0.113.7:51234", "203.0.113.7", id="ipv4-with-port"),
        pytest.param("2001:db8::7", "2001:db8::7", id="ipv6"),
        pytest.param("[2001:db8::7]", "2001:db8::7", id="in-brackets"),
        pytest.param("[2001:db8::7]:443", "2001:db8::7", id="in-brackets-with-port"),
        pytest.param("[::ffff:203.0.113.7]:443", "203.0.113.7", id="mapped-with-port"),
        pytest.param("203.0.113.7:", None, id="no-port-after-colon"),
        pytest.param("203.0.113.7:123456", None, id="no-port-number"),
        pytest.param("300.0.0.1:80", None, id="no-address-before-port"),
        pytest.param("[203.0.113.7]:443", None, id="ipv4-in-brackets"),
        pytest.param("[]:443", None, id="empty-brackets"),
        pytest.param("[2001:db8::7]:443 ", None, id="blank-at-the-end"),
        pytest.param("[2001:db8::g]", None, id="no-address-in-brackets"),
        pytest.param("unknown", None, id="unknown"),
        pytest.param("", None, id="empty"),
    ],
)
def test_an_entry_of_a_proxy_may_have_brackets_and_a_port(text: str, address: str | None) -> None:
    assert parse_hop(text) == (None if address is None else ip_address(address))


def test_empty_entries_of_a_proxy_are_nothing() -> None:
    assert hops(" 1.1.1.1 ,, \t,2.2.2.2:80") == ["1.1.1.1", "2.2.2.2:80"]
    assert hops("") == hops(" , ") == []


def test_comments_and_lines_of_comments_are_no_entries() -> None:
    text = "# offices\n192.0.2.1, 192.0.2.2 # Berlin, Paris\n\n 198.51.100.0/255.255.255.0 # VPN"
    assert [entry.text for entry in parse_list(text).entries] == [
        "192.0.2.1", "192.0.2.2 # Berlin, Paris", "198.51.100.0/255.255.255.0 # VPN",
    ]  # fmt: skip


_SHARED = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 2**10).map(lambda n: n << 20), st.integers(8, 32)).map(
            lambda pair: IPv4Network(pair, strict=False)
        ),
        st.tuples(st.integers(0, 2**10).map(lambda n: n << 110), st.integers(8, 128)).map(
            lambda pair: IPv6Network(pair, strict=False)
        ),
    ),
    max_size=30,
)
_CALLERS = st.one_of(
    st.integers(0, 2**30).map(IPv4Address), st.integers(0, 2**120).map(IPv6Address)
)


@given(networks=_SHARED, address=_CALLERS, data=st.data())
def test_a_named_list_holds_what_its_networks_hold(
    networks: list[IPv4Network | IPv6Network],
    address: IPv4Address | IPv6Address,
    data: st.DataObject,
) -> None:
    named = NamedList(id=1, name="N", packed=pack(networks))
    if networks:
        within = data.draw(st.sampled_from(networks))
        offset = data.draw(st.integers(0, within.num_addresses - 1))
        address = data.draw(st.sampled_from([address, within[offset]]))
    assert (address in named) == contains(networks, address)
    near = nearest(networks, address) if not contains(networks, address) else None
    if near is not None:
        found = named.nearest(address)
        assert found is not None
        # Of several that share as many bits, it may be another one.
        shared = near.network.prefixlen - near.missed
        assert found.network.prefixlen - found.missed == shared


@pytest.mark.parametrize(
    "packed",
    ["c0000201", "c0000201/33", "f" * 32 + "/129", "c00002/24", "c000020g/24", "c0000201/x"],
)
def test_a_stored_list_that_does_not_read_is_none(packed: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        NamedList(id=1, name="N", packed=packed)


def test_a_named_list_takes_twenty_thousand_entries() -> None:
    text = "\n".join(f"10.{n // 256}.{n % 256}.0/24 # {n}" for n in range(MOST_NAMED))
    parsed = parse_list(text, most=MOST_NAMED)
    assert not parsed.problems
    assert len(NamedList(id=1, name="N", packed=pack(parsed.networks))) == MOST_NAMED
    assert parse_list(text).problems == ("has 20,000 entries; at most 1,000 fit",)


def test_a_named_list_is_its_id_its_name_and_its_networks() -> None:
    packed = pack(parse_list("203.0.113.0/24\n198.51.100.7").networks)
    named = NamedList(id=1, name="Office", packed=packed)
    assert named == NamedList(id=1, name="Office", packed=packed)
    assert hash(named) == hash(NamedList(id=1, name="Office", packed=packed))
    assert named != NamedList(id=2, name="Office", packed=packed)
    assert named != NamedList(id=1, name="Office", packed="")
    assert named != packed
    assert str(named) == "Office (2 ranges)"


@pytest.mark.parametrize(
    ("text", "reached"),
    [
        ("192.0.2.7", ["192.0.2.7"]),
        ("2001:db8::7", ["2001:db8::7"]),
        ("::1", ["::1"]),
        ("::2", ["::2", "0.0.0.2"]),
        ("::ffff:192.0.2.7", ["192.0.2.7"]),
        ("2002:c000:207::1", ["192.0.2.7"]),
        ("64:ff9b::192.0.2.7", ["192.0.2.7"]),
        ("64:ff9b:1::192.0.2.7", ["64:ff9b:1::c000:207", "192.0.2.7"]),
        ("::192.0.2.7", ["::c000:207", "192.0.2.7"]),
        (
            "2001:0:c633:6401::3fff:fdf8",
            ["2001:0:c633:6401::3fff:fdf8", "198.51.100.1", "192.0.2.7"],
        ),
    ],
)
def test_packets_arrive_at_every_address_that_another_carries(
    text: str, reached: list[str]
) -> None:
    found = destinations(ipaddress.ip_address(text))
    assert list(found) == [ipaddress.ip_address(each) for each in reached]


def test_only_an_ipv4_mapped_address_is_another_spelling() -> None:
    assert str(unmapped(ipaddress.ip_address("::ffff:192.0.2.7"))) == "192.0.2.7"
    for text in ("192.0.2.7", "2002:c000:207::1"):
        assert str(unmapped(ipaddress.ip_address(text))) == text


@pytest.mark.parametrize("stored", [None, {}, "10.0.0.0/8", 7, ["10.0.0.0/8", "nowhere"]], ids=repr)
def test_a_stored_list_that_cannot_be_read_whole_is_refused(stored: object) -> None:
    with pytest.raises(BrokenList):
        stored_networks(stored)


def test_a_stored_list_is_its_networks() -> None:
    assert stored_networks([]) == ()
    assert list(map(str, stored_networks(["10.0.0.0/8"]))) == ["10.0.0.0/8"]


@pytest.mark.parametrize(
    ("address", "missed"),
    [("192.0.3.1", "1 bit"), ("192.0.0.1", "2 bits"), ("192.0.6.1", "3 bits")],
)
def test_what_is_missing_to_a_range_reads_as_one_bit_or_several(address: str, missed: str) -> None:
    found = nearest((IPv4Network("192.0.2.0/24"),), IPv4Address(address))
    assert str(found) == f"192.0.2.0/24, missed by {missed}"


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix", ""),
    ],
)
def test_an_address_is_counted_with_those_that_its_caller_commonly_has(
    address: str, counted: str
) -> None:
    assert group(address) == counted
