"""Base URLs of upstreams: one reading of each, and none that leads where no call may go."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.directory.catalog.upstream_url import BadUrl, UpstreamUrl, parse, refused_address


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("http://api.example.com", "http://api.example.com"),
        ("HTTPS://API.Example.COM/", "https://api.example.com"),
        ("http://api.example.com:80", "http://api.example.com"),
        ("https://api.example.com:443/v1/", "https://api.example.com/v1"),
        ("https://api.example.com:80", "https://api.example.com:80"),
        ("http://api.example.com:", "http://api.example.com"),
        ("http://api.example.com:00080", "http://api.example.com"),
        ("http://api.example.com.", "http://api.example.com"),
        ("http://api.example.com:65535", "http://api.example.com:65535"),
        ("http://a.b/x//", "http://a.b/x"),
        ("http://a.b/x/./y/../z", "http://a.b/x/z"),
        ("http://a.b/x/y/..", "http://a.b/x"),
        ("http://a.b/x/%2e%2e", "http://a.b"),
        ("http://a.b/%7Euser/%c3%a4", "http://a.b/~user/%C3%A4"),
        ("http://orders_db-1:8080", "http://orders_db-1:8080"),
        ("http://localhost:9000", "http://localhost:9000"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("http://10.1.2.3", "http://10.1.2.3"),
        ("http://[::1]:9000/a", "http://[::1]:9000/a"),
        ("http://[2001:DB8:0::1]", "http://[2001:db8::1]"),
        ("http://[::ffff:10.0.0.1]", "http://10.0.0.1"),
        ("http://bücher.example", "http://xn--bcher-kva.example"),
        ("http://faß.example", "http://xn--fa-hia.example"),
        ("http://BÜCHER.example", "http://xn--bcher-kva.example"),
        ("http://１０.0.0.1", "http://10.0.0.1"),
    ],
)
def test_a_url_has_one_form(text: str, normal: str) -> None:
    assert str(parse(text)) == normal
    assert parse(normal) == parse(text)


def test_a_url_is_taken_apart() -> None:
    assert parse("https://Api.example.com/v1/") == UpstreamUrl(
        scheme="https", host="api.example.com", port=443, base_path="/v1", is_ip=False
    )
    assert parse("http://[::1]:81") == UpstreamUrl(
        scheme="http", host="::1", port=81, base_path="", is_ip=True
    )
    assert parse("http://[::1]:81").host_header == "[::1]:81"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "http://"),
        ("api.example.com", "http://"),
        ("//api.example.com", "http://"),
        ("http:api.example.com", "http://"),
        ("http:/api.example.com", "http://"),
        ("ftp://api.example.com", "http://"),
        ("file:///etc/passwd", "http://"),
        ("unix:/run/x", "http://"),
        ("javascript:alert(1)", "http://"),
        ("http://", "host"),
        ("http:///path", "host"),
        ("http://:80", "host"),
        ("http://user@a.b", "user name"),
        ("http://user:pw@a.b", "user name"),
        ("http://@a.b", "user name"),
        ("http://a.b?x=1", "query"),
        ("http://a.b/?", "query"),
        ("http://a.b/#x", "fragment"),
        ("http://a.b/#", "fragment"),
        ("http://a.b:0", "port"),
        ("http://a.b:65536", "port"),
        ("http://a.b:9999999999", "port"),
        ("http://a.b:x", "port"),
        ("http://a.b:+80", "port"),
        ("http://a.b:８０", "port"),
        ("http://a.b:80:80", "port"),
        (" http://a.b", "spaces"),
        ("http://a.b/x y", "spaces"),
        ("http://a.b\n", "spaces"),
        ("http://a\t.b", "spaces"),
        ("http://a.b/\x00", "spaces"),
        ("http://a.b/" + "x" * 2048, "2048"),
        ("http://a..b", "host name"),
        ("http://.a", "host name"),
        ("http://a.b..", "host name"),
        ("http://-a.b", "host name"),
        ("http://a-.b", "host name"),
        ("http://a\\b", "host name"),
        ("http://a%62.c", "host name"),
        ("http://a*b", "host name"),
        ("http://" + "a" * 64 + ".b", "host name"),
        ("http://" + "a." * 127 + "b", "host name"),
        ("http://xn--\u0301.b", "host name"),
        ("http://[::1", "URL"),
        ("http://[::1]x", "URL|host"),
        ("http://x[::1]", "URL|host"),
        ("http://[example.com]", "URL|IPv6"),
        ("http://[127.0.0.1]", "URL|IPv6"),
        ("http://[v1.x]", "URL|IPv6"),
        ("http://::1/", "host or port"),
        ("http://[fd00::1%25eth0]", "URL|zone"),
        ("http://[fd00::1%eth0]", "URL|zone"),
        ("http://a.b/%2F", "path"),
        ("http://a.b/x%5cy", "path"),
        ("http://a.b/x//y", "path"),
        ("http://a.b/%zz", "path"),
        ("http://a.b/%00", "path"),
        ("http://a.b/ä", "path"),
        ("http://a.b/x;y", "path"),
    ],
)
def test_what_is_no_base_url_is_refused_with_a_reason(text: str, sentence: str) -> None:
    with pytest.raises(BadUrl, match=sentence):
        parse(text)


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "0x7f.1", "127.1", "127.0.1", "0177.0.0.1", "127.0.0.01"]
    + ["127.0.0.0x1", "0xA9FEA9FE", "2852039166", "0251.254.169.254", "1.2.3.4.5", "256.1.1.1"]
    + ["127.0.0.1..", "①②⑦.1", "0", "0x"],
)
def test_an_ipv4_address_has_one_spelling(host: str) -> None:
    with pytest.raises(BadUrl, match=r"four decimal|host name"):
        parse(f"http://{host}/")


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "169.254.0.1", "169.254.169.254.", "[fe80::1]", "[febf::1]"]
    + ["[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[64:ff9b::169.254.169.254]"]
    + [
        "[2002:a9fe:a9fe::1]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "0.0.0.0",
        "0.1.2.3",
    ]
    + ["[::]", "[::ffff:0.0.0.0]", "224.0.0.1", "[ff02::1]", "255.255.255.255"]
    + ["１６９.254.169.254", "169。254。169。254", "①⑥⑨.254.169.254"],
)
def test_no_upstream_is_link_local_or_nowhere(host: str) -> None:
    with pytest.raises(BadUrl, match="link-local"):
        parse(f"http://{host}/latest/meta-data")


@pytest.mark.parametrize(
    ("own", "text", "refused"),
    [
        (("127.0.0.1", 8080), "http://127.0.0.1:8080", True),
        (("127.0.0.1", 8080), "https://127.0.0.1:8080/x", True),
        (("127.0.0.1", 8080), "http://localhost:8080", True),
        (("127.0.0.1", 8080), "http://LOCALHOST.:8080", True),
        (("127.0.0.1", 8080), "http://api.localhost:8080", True),
        (("127.0.0.1", 8080), "http://[::ffff:127.0.0.1]:8080", True),
        (("127.0.0.1", 8080), "http://127.0.0.1:8081", False),
        (("127.0.0.1", 80), "http://127.0.0.1", True),
        (("127.0.0.1", 443), "https://127.0.0.1", True),
        (("127.0.0.1", 8080), "http://127.0.0.2:8080", False),
        (("127.0.0.1", 8080), "http://10.0.0.1:8080", False),
        (("127.0.0.1", 8080), "http://[::1]:8080", False),
        (("::1", 8080), "http://[::1]:8080", True),
        (("[::1]", 8080), "http://localhost:8080", True),
        (("localhost", 8080), "http://127.0.0.1:8080", True),
        (("localhost", 8080), "http://[::1]:8080", True),
        (("localhost", 8080), "http://localhost:8080", True),
        (("localhost", 8080), "http://10.0.0.1:8080", False),
        (("0.0.0.0", 8080), "http://127.0.0.1:8080", True),
        (("0.0.0.0", 8080), "http://127.9.9.9:8080", True),
        (("0.0.0.0", 8080), "http://localhost:8080", True),
        (("0.0.0.0", 8080), "http://10.0.0.1:8080", False),
        (("0.0.0.0", 8080), "http://api.example.com:8080", False),
        (("::", 8080), "http://[::1]:8080", True),
        (("", 8080), "http://127.0.0.1:8080", True),
        (("*", 8080), "http://127.0.0.1:8080", True),
        (("10.0.0.1", 8080), "http://10.0.0.1:8080", True),
        (("10.0.0.1", 8080), "http://127.0.0.1:8080", False),
        (("10.0.0.1", 8080), "http://localhost:8080", False),
        (("Gate.example.com", 8080), "http://gate.example.com:8080", True),
    ],
)
def test_calls_do_not_come_back_to_our_own_listeners(
    own: tuple[str, int], text: str, refused: bool
) -> None:
    listeners = [("192.0.2.1", 1), own]
    if refused:
        with pytest.raises(BadUrl, match="own ports"):
            parse(text, listeners)
    else:
        assert parse(text, listeners) == parse(text)


URLS = st.one_of(
    st.text(),
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["http://", "https://", "HTTP://", "http:/"]),
        st.one_of(st.text(), st.ip_addresses().map(lambda a: f"[{a}]"), st.from_regex("[0-9.x]+")),
        st.sampled_from(["", ":", ":80", ":x", ":99999"]),
        st.text().map(lambda path: f"/{path}"),
    ),
)


@given(URLS)
def test_any_text_is_refused_or_has_one_form(text: str) -> None:
    try:
        url = parse(text)
    except BadUrl:
        return
    assert str(url).isascii()
    assert parse(str(url)) == url
    assert url.is_ip == _is_address(url.host)


def _is_address(host: str) -> bool:
    try:
        return not refused_address(ipaddress.ip_address(host))
    except ValueError:
        return False


@given(st.ip_addresses())
def test_an_address_is_accepted_unless_no_upstream_may_have_it(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    host = f"[{address}]" if address.version == 6 else str(address)
    if refused_address(address):
        with pytest.raises(BadUrl):
            parse(f"http://{host}")
    else:
        assert parse(f"http://{host}").is_ip
