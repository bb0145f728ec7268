"""Fetching keys: what an owner typed must not lead inside, in whatever spelling."""

import asyncio
import ipaddress
from typing import Any

import pytest

from ostiary.directory.catalog.upstream_url import refused_address
from ostiary.identity import fetching
from ostiary.identity.fetching import Fetcher, FetchRefused, check_url, is_link_local, is_public

INSIDE = [
    "https://127.0.0.1/k", "https://127.1/k", "https://0x7f000001/k", "https://2130706433/k",
    "https://0177.0.0.1/k", "https://0/k", "https://0.0.0.0/k", "https://[::1]/k", "https://[::]/k",
    "https://[::ffff:127.0.0.1]/k", "https://[::ffff:7f00:1]/k", "https://[64:ff9b::7f00:1]/k",
    "https://[2002:7f00:1::]/k", "https://10.0.0.1/k", "https://172.16.0.1/k",
    "https://192.168.1.1/k", "https://169.254.169.254/latest", "https://[fe80::1]/k",
    "https://[fe80::1%25eth0]/k", "https://[fc00::1]/k", "https://100.64.0.1/k",
    "https://198.18.0.1/k", "https://224.0.0.1/k", "https://255.255.255.255/k",
    "https://[ff02::1]/k", "https://[2001:db8::1]/k", "https://[2001:0:1::1]/k",
]  # fmt: skip

NO_URL = [
    "", "x", "//host/k", "file:///etc/passwd", "ftp://host/k", "gopher://host/", "data:,x",
    "http://login.example.com/k", "https://", "https:///k", "https://user@host/k",
    "https://user:pass@host/k", "https://host/k#x", "https://ho st/k", "https://host:99999/k",
    "https://host:x/k", "https://host\\@127.0.0.1/k", "https://host/\nk", "https://[::1/k",
    "https://ⓛocalhost/k", "https://host/k\x00",
]  # fmt: skip


@pytest.mark.parametrize("url", INSIDE)
def test_addresses_that_are_not_public_are_refused(url: str) -> None:
    with pytest.raises(FetchRefused):
        check_url(url, ())


@pytest.mark.parametrize("url", NO_URL)
def test_what_is_no_https_url_is_refused(url: str) -> None:
    with pytest.raises(FetchRefused):
        check_url(url, ())


def test_a_public_host_may_be_asked() -> None:
    for url in ("https://login.example.com/k", "https://8.8.8.8:8443/k", "https://[2606:4700::1]/"):
        assert check_url(url, ()).scheme == "https"


def test_an_admin_allows_a_host_or_one_port_of_it() -> None:
    assert check_url("http://keycloak.internal:8080/k", {"keycloak.internal"})
    assert check_url("http://127.0.0.1:8080/k", {"127.0.0.1:8080"})
    for url in ("http://127.0.0.1:8081/k", "https://127.0.0.2:8080/k", "https://127.0.0.1/k"):
        with pytest.raises(FetchRefused):
            check_url(url, {"127.0.0.1:8080"})


@pytest.mark.parametrize(
    "found",
    [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::1"], ["::ffff:10.0.0.1"], ["169.254.169.254"]],
)
def test_a_name_that_leads_inside_is_refused_after_it_is_resolved(
    found: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answers(*_: Any) -> tuple[Any, ...]:
        return tuple(ipaddress.ip_address(text) for text in found)

    monkeypatch.setattr(fetching, "resolve", answers)
    with pytest.raises(FetchRefused, match="not public"):
        asyncio.run(Fetcher().fetch("https://rebind.example.com/k", ()))


@pytest.mark.parametrize("found", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"]])
def test_nothing_is_sent_to_a_name_that_leads_inside(
    found: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answers(*_: Any) -> tuple[Any, ...]:
        return tuple(ipaddress.ip_address(text) for text in found)

    async def send(url: str) -> int:
        return await Fetcher().post(url, (), content=b"x", headers={}, seconds=2)

    monkeypatch.setattr(fetching, "resolve", answers)
    with pytest.raises(FetchRefused, match="not public"):
        asyncio.run(send("https://rebind.example.com/hook"))
    for url in INSIDE:
        with pytest.raises(FetchRefused):
            asyncio.run(send(url))


def test_the_name_of_this_machine_is_refused_by_what_it_means() -> None:
    with pytest.raises(FetchRefused, match="not public"):
        asyncio.run(Fetcher().fetch("https://localhost/k", ()))


#: Forms of IPv6 that carry an IPv4 address; `{}` is its last or its middle half, in hexadecimal.
FORMS = {
    "mapped": "::ffff:{0}",
    "compatible": "::{0}",
    "6to4": "2002:{0}::1",
    "translated": "64:ff9b::{0}",
    "translated locally": "64:ff9b:1::{0}",
    "Teredo": "2001:0:808:808:0:0:{1}",
}


def wrapped(form: str, inner: str) -> ipaddress.IPv6Address:
    """An IPv4 address in a form of IPv6; Teredo has its client's address inverted."""
    number = int(ipaddress.IPv4Address(inner))
    halves = [f"{n >> 16:x}:{n & 0xFFFF:x}" for n in (number, number ^ 0xFFFFFFFF)]
    return ipaddress.IPv6Address(FORMS[form].format(*halves))


@pytest.mark.parametrize("inner", ["127.0.0.1", "192.168.0.1", "169.254.169.254", "224.0.0.1"])
@pytest.mark.parametrize("form", FORMS)
def test_an_address_that_is_not_public_is_not_in_any_form_of_ipv6(form: str, inner: str) -> None:
    assert not is_public(wrapped(form, inner))


@pytest.mark.parametrize("inner", ["169.254.169.254", "100.100.100.200", "168.63.129.16"])
@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_sent_to_an_address_of_metadata_in_any_form_of_ipv6(
    form: str, inner: str
) -> None:
    assert refused_address(wrapped(form, inner))
    assert is_link_local(wrapped(form, inner))


@pytest.mark.parametrize("form", ["mapped", "6to4", "translated"])
def test_a_public_address_stays_public_where_only_packets_are_wrapped(form: str) -> None:
    assert is_public(wrapped(form, "8.8.8.8"))
    assert not refused_address(wrapped(form, "8.8.8.8"))
