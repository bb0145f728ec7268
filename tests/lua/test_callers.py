"""Who calls behind trusted proxies: Lua reads what `access.addresses` reads."""

import ipaddress
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.lua.nginx import Machine, Worker

from ostiary.access.addresses import (
    Address,
    contains,
    hops,
    parse_address,
    parse_hop,
    parse_list,
)

_WORKER = Worker(Machine())
_CALLERS = _WORKER.require("ostiary.callers")
_MOST_HOPS, _LONGEST_REMEMBERED = 64, 200

_TRUSTED = ("10.0.0.0/8", "192.0.2.128/25", "2001:db8::/33", "::1", "198.51.100.7")
_V4 = st.integers(0, 2**32 - 1).map(lambda n: str(ipaddress.IPv4Address(n)))
_V6 = st.integers(0, 2**128 - 1).map(lambda n: str(ipaddress.IPv6Address(n)))
_NEAR = st.sampled_from(
    [
        "10.0.0.1",
        "10.255.255.255",
        "11.0.0.0",
        "192.0.2.127",
        "192.0.2.128",
        "198.51.100.7",
        "198.51.100.6",
        "::1",
        "::2",
        "2001:db8::5",
        "2001:DB8:7fff::5",
        "2001:db8:8000::1",
        "::ffff:10.1.1.1",
        "::FFFF:10.1.1.1",
        "::ffff:a01:101",
        "0:0:0:0:0:ffff:0a01:0101",
        "::ffff:11.1.1.1",
        "::10.1.1.1",
        "2001:db8:0:0:0:0:0:1",
    ]  # fmt: skip
)
_ODD = st.one_of(
    st.sampled_from(
        [
            "",
            "unknown",
            "10.0.0.1:80",
            "203.0.113.7:51234",
            "203.0.113.7:",
            "203.0.113.7:123456",
            "203.0.113.7:80:80",
            "[::1]",
            "[2001:db8:8000::1]:443",
            "[2001:db8:8000::1]x",
            "[2001:db8:8000::1]:",
            "[203.0.113.7]:443",
            "[::ffff:203.0.113.7]:443",
            "[]:443",
            "[[::1]]",
            "[2001:db8::1]:443",
            "10.0.0.01",
            "10.1",
            "0x0a.0.0.1",
            "fe80::1%eth0",
            "1:2:3:4:5:6:7:8:9",
            ":::",
            "1::2::3",
            "::1:2:3:4:5:6:7:8",
            "1.2.3.4.5",
            "300.1.1.1",
            "10.0.0.1 10.0.0.2",
            "_hidden",
            "12345::",
            "1:2:3:4:5:6:7::",
        ]  # fmt: skip
    ),
    st.text("0123456789abcdefF:. ", max_size=20),
)
_HOP = st.tuples(
    st.sampled_from(["", " ", "\t "]),
    st.one_of(_NEAR, _NEAR, _V4, _V6, _ODD),
    st.sampled_from(["", "", "  "]),
).map("".join)
_PEER = st.one_of(_NEAR, _V4, _V6)


def _address(peer: str, lines: Sequence[str], trusted: Sequence[str]) -> Address | None:
    """What Lua says, read."""
    _CALLERS.trust(_WORKER.value(list(trusted)))
    value = _WORKER.value(list(lines)) if len(lines) > 1 else next(iter(lines), None)
    _WORKER.lua.globals().ngx.headers = _WORKER.table({"x-forwarded-for": value} if lines else {})
    answer = _CALLERS.address(peer)
    text = answer[0] if isinstance(answer, tuple) else answer
    return None if text is None else parse_address(text)


def _expected(peer: str, lines: Sequence[str], trusted: Sequence[str]) -> Address | None:
    networks = parse_list(trusted).networks
    address = parse_address(peer)
    assert address is not None
    if not lines or not contains(networks, address):
        return address
    heard = hops(",".join(lines))
    if len(heard) > _MOST_HOPS:
        return None
    for hop in reversed(heard):
        said = parse_hop(hop)
        if said is None:
            return None
        address = said
        if not contains(networks, address):
            break
    return address


@given(_PEER, st.lists(st.lists(_HOP, min_size=1, max_size=4).map(",".join), max_size=3))
@example("10.0.0.1", ["203.0.113.9, ::FFFF:10.1.1.1"])
def test_the_caller_is_the_first_from_the_right_that_is_not_trusted(
    peer: str, lines: list[str]
) -> None:
    assert _address(peer, lines, _TRUSTED) == _expected(peer, lines, _TRUSTED)


@given(_PEER, st.lists(st.lists(_HOP, min_size=1, max_size=4).map(",".join), max_size=3))
@example("10.0.0.1", ["203.0.113.9, ::FFFF:10.1.1.1"])
@example("10.0.0.1", ["10.0.0.1"])
def test_the_fast_path_reads_the_same_address(peer: str, lines: list[str]) -> None:
    expected = _address(peer, lines, _TRUSTED)
    for _ in range(2):
        # nginx puts the lines of the header into one.
        answer = _CALLERS.quick(peer, ", ".join(lines) or None)
        found = None if answer is None else parse_address(answer or peer)
        assert found in {expected, None}
        assert found == expected or len(", ".join(lines)) > _LONGEST_REMEMBERED


def test_what_a_proxy_said_is_read_anew_when_others_are_trusted() -> None:
    said = "198.51.100.1, 203.0.113.9"
    for trusted, expected in (
        (_TRUSTED, "203.0.113.9"),
        (("0.0.0.0/0",), "198.51.100.1"),
        ((), False),
    ):
        _CALLERS.trust(_WORKER.value(list(trusted)))
        assert [_CALLERS.quick("10.0.0.1", said) for _ in range(2)] == [expected, expected]


@given(_PEER, st.lists(_HOP, max_size=3))
def test_without_trusted_proxies_nobody_speaks_for_another(peer: str, lines: list[str]) -> None:
    assert _address(peer, lines, ()) == parse_address(peer)


@given(st.one_of(_V4, _V6), st.integers(0, 128), _PEER)
def test_networks_hold_what_they_should(start: str, prefix: int, peer: str) -> None:
    prefix = prefix if ":" in start else prefix % 33
    trusted = [str(ipaddress.ip_network(f"{start}/{prefix}", strict=False))]
    lines = ["203.0.113.9"]
    assert _address(peer, lines, trusted) == _expected(peer, lines, trusted)


@pytest.mark.parametrize("count", [_MOST_HOPS, _MOST_HOPS + 1])
def test_hops_are_bounded(count: int) -> None:
    lines = [", ".join(["10.0.0.2"] * count)]
    assert _address("10.0.0.1", lines, _TRUSTED) == _expected("10.0.0.1", lines, _TRUSTED)


def test_a_hop_of_many_blanks_is_refused() -> None:
    assert _address("10.0.0.1", ["1.1.1.1" + " " * 8000 + "2"], _TRUSTED) is None


@pytest.mark.parametrize(
    "spellings",
    [
        ["2001:db8:8000::1", "2001:DB8:8000:0::1", "2001:0db8:8000:0:0:0:0:1"],
        ["11.1.1.1", "::ffff:11.1.1.1", "::FFFF:b01:101"],
    ],
)
def test_an_address_has_one_spelling(spellings: list[str]) -> None:
    _CALLERS.trust(_WORKER.value(list(_TRUSTED)))
    texts = set()
    for spelling in spellings:
        _WORKER.lua.globals().ngx.headers = _WORKER.table({"x-forwarded-for": spelling})
        texts.add(_CALLERS.address("10.0.0.1")[0])
    assert len(texts) == 1


@given(_V6, st.integers(0, 2**64 - 1))
def test_ceilings_count_an_ipv6_network_as_one_caller(address: str, host: int) -> None:
    number = int(ipaddress.IPv6Address(address))
    neighbour = str(ipaddress.IPv6Address(number >> 64 << 64 | host))
    if parse_address(address) == ipaddress.IPv6Address(address):
        assert _CALLERS.group(address) == _CALLERS.group(neighbour)
    other = str(ipaddress.IPv6Address(number ^ 1 << 64))
    assert _CALLERS.group(address) != _CALLERS.group(other)


@given(_V4, _V4)
def test_ceilings_count_an_ipv4_address_as_one_caller(one: str, other: str) -> None:
    assert (_CALLERS.group(one) == _CALLERS.group(other)) == (one == other)


_LINE = "203.0.113.9"


def _by_line(peer: str, line: str, header: str | None, trusted: Sequence[str]) -> tuple[Any, ...]:
    """What Lua says on a listener of the PROXY protocol: address, header, what was not read, line."""
    _CALLERS.read_lines(True)
    try:
        _CALLERS.trust(_WORKER.value(list(trusted)))
        ngx = _WORKER.lua.globals().ngx
        ngx.headers = _WORKER.table({"x-forwarded-for": header} if header else {})
        ngx.var.proxy_protocol_addr = line
        answer = _CALLERS.address(peer)
        return answer if isinstance(answer, tuple) else (answer, None, None, None)
    finally:
        _CALLERS.read_lines(False)


@pytest.mark.parametrize(
    ("peer", "line", "header", "told"),
    [
        pytest.param("10.0.0.1", _LINE, None, (_LINE, None, None, _LINE), id="of a trusted proxy"),
        pytest.param("11.0.0.1", _LINE, None, (None, None, "line", _LINE), id="of anybody else"),
        pytest.param("10.0.0.1", "", None, ("10.0.0.1",), id="a proxy's own call"),
        pytest.param("11.0.0.1", "", None, ("11.0.0.1",), id="anybody's own call"),
        pytest.param(
            "10.0.0.1", "10.0.0.2", "203.0.113.5:80, ", ("203.0.113.5", "203.0.113.5:80"),
            id="a proxy behind a proxy",
        ),
        pytest.param("10.0.0.1", _LINE, "1.1.1.1", (_LINE, None, None, _LINE), id="a caller's header"),
        pytest.param("10.0.0.1", "unix:", None, (None, None, "unix:", "unix:"), id="no address"),
    ],
)  # fmt: skip
def test_a_line_of_the_proxy_protocol_counts_from_trusted_proxies_alone(
    peer: str, line: str, header: str | None, told: tuple[Any, ...]
) -> None:
    assert _by_line(peer, line, header, _TRUSTED)[: len(told)] == told


@pytest.mark.parametrize("trusted", [(), ("192.0.2.128/25",)])
def test_a_line_counts_of_nobody_where_nobody_is_trusted(trusted: tuple[str, ...]) -> None:
    assert _by_line("10.0.0.1", _LINE, None, trusted)[:3] == (None, None, "line")


@pytest.mark.parametrize("entry", ["unknown", "203.0.113.7:", "[203.0.113.7]:80", "_hidden"])
def test_an_entry_that_is_no_address_is_named(entry: str) -> None:
    _CALLERS.trust(_WORKER.value(list(_TRUSTED)))
    headers = {"x-forwarded-for": f"1.1.1.1, {entry}, 10.0.0.2"}
    _WORKER.lua.globals().ngx.headers = _WORKER.table(headers)
    address, _, unread = _CALLERS.address("10.0.0.1")
    assert (address, unread) == (None, entry)
