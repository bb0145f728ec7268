"""Origins are stored as browsers send them, and nothing else is stored."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.directory.workspace.origins import LONGEST, STORED, BadOrigin, parse


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("HTTPS://App.Example.COM", "https://app.example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("http://app.example.com:80", "http://app.example.com"),
        ("http://app.example.com:443", "http://app.example.com:443"),
        ("https://app.example.com:0443", "https://app.example.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://[2001:DB8:0::1]", "http://[2001:db8::1]"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://my_app.example", "https://my_app.example"),
        ("https://" + "a" * 63 + ".example", "https://" + "a" * 63 + ".example"),
    ],
)
def test_an_origin_is_stored_as_browsers_send_it(text: str, normal: str) -> None:
    assert parse(text) == normal
    assert STORED.fullmatch(normal)
    assert parse(normal) == normal


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", "an origin", id="nothing"),
        pytest.param("*", "an origin", id="star"),
        pytest.param("null", "an origin", id="null"),
        pytest.param("app.example.com", "an origin", id="no-scheme"),
        pytest.param("ftp://app.example.com", "an origin", id="other-scheme"),
        pytest.param("http\u017f://app.example.com", "an origin", id="long-s"),
        pytest.param("https://", "an origin", id="no-host"),
        pytest.param("https://a.b/", "an origin", id="slash"),
        pytest.param("https://a.b/path", "an origin", id="path"),
        pytest.param("https://a.b?x", "an origin", id="query"),
        pytest.param("https://a.b#x", "an origin", id="fragment"),
        pytest.param("https://user@a.b", "an origin", id="user"),
        pytest.param("https://a.b:", "an origin", id="empty-port"),
        pytest.param("https://a.b:x", "an origin", id="port-of-letters"),
        pytest.param("https://a.b:\u0661", "an origin", id="port-of-other-digits"),
        pytest.param("https://a.b:0", "port", id="port-zero"),
        pytest.param("https://a.b:65536", "port", id="port-too-large"),
        pytest.param("http://a b", "blanks", id="blank"),
        pytest.param("http://a\u00a0b", "blanks", id="no-break-space"),
        pytest.param(" http://a.b", "blanks", id="blank-before"),
        pytest.param("http://a.b\n", "blanks", id="line-end"),
        pytest.param("http://a\x00b", "blanks", id="nul"),
        pytest.param("http://a\u200bb", "blanks", id="zero-width"),
        pytest.param("http://a..b", "host name", id="empty-label"),
        pytest.param("http://a.b.", "host name", id="dot-at-the-end"),
        pytest.param("http://-a.b", "host name", id="hyphen-first"),
        pytest.param("http://*.a.b", "host name", id="wildcard"),
        pytest.param('http://a"b', "host name", id="quote"),
        pytest.param("http://a$b", "host name", id="dollar"),
        pytest.param("http://a;b", "host name", id="semicolon"),
        pytest.param("http://\u0378.b", "blanks|host name", id="unassigned"),
        pytest.param("http://\u2f00\u20dd.b", "host name", id="letters-that-no-name-has"),
        pytest.param("http://" + "a" * 64 + ".b", "host name", id="label-too-long"),
        pytest.param("http://" + "a." * 127 + "bcd", "host name", id="name-too-long"),
        pytest.param("http://" + "a" * LONGEST, "longer than", id="too-long"),
        pytest.param("http://[::1", "an origin", id="open-bracket"),
        pytest.param("http://[::1]x", "an origin", id="behind-the-bracket"),
        pytest.param("http://[1::2::3]", "IPv6", id="no-ipv6"),
        pytest.param("http://[]", "IPv6", id="empty-brackets"),
    ],
)
def test_what_no_browser_sends_is_refused(text: str, reason: str) -> None:
    with pytest.raises(BadOrigin, match=reason):
        parse(text)


@given(st.one_of(st.text(max_size=40), st.text(max_size=40).map("https://{}".format)))
def test_whatever_is_typed_is_refused_or_stored_plain(text: str) -> None:
    try:
        stored = parse(text)
    except BadOrigin:
        return
    assert STORED.fullmatch(stored)
    assert stored.isascii()
    assert len(stored) <= LONGEST
