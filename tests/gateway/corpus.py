"""Hostile requests, as bytes: framing, heads, targets, versions, methods, hosts, upgrades, bodies."""

from collections.abc import Iterator

#: A request that must never be taken out of another one's body.
SMUGGLED = b"GET /things-v1/smuggled HTTP/1.1\r\nHost: b\r\n\r\n"
CHUNKS = b"4\r\nwiki\r\n0\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def request(
    credential: bytes, more: bytes = b"", body: bytes = b"", *, method: bytes = b"POST",
    target: bytes = b"/things-v1/things", version: bytes = b"HTTP/1.1",
    host: bytes = b"Host: door.example\r\n",
) -> bytes:  # fmt: skip
    """A request as it is, right or wrong."""
    return b"%s %s %s\r\n" % (method, target, version) + host + credential + more + b"\r\n" + body


_LENGTHS = {
    "two alike": b"Content-Length: 4\r\nContent-Length: 4\r\n",
    "two": b"Content-Length: 4\r\nContent-Length: 7\r\n",
    "three": b"Content-Length: 4\r\nContent-Length: 4\r\nContent-Length: 0\r\n",
    "list": b"Content-Length: 4,4\r\n",
    "plus": b"Content-Length: +4\r\n",
    "hex": b"Content-Length: 0x4\r\n",
    "none": b"Content-Length:\r\n",
    "negative": b"Content-Length: -1\r\n",
    "zeros": b"Content-Length: 0004\r\n",
    "huge": b"Content-Length: 18446744073709551620\r\n",
    "blank after": b"Content-Length: 4  \r\n",
    "tab": b"Content-Length:\t4\r\n",
    "vertical tab": b"Content-Length: \x0b4\r\n",
    "form feed": b"Content-Length: 4\x0c\r\n",
    "blank before colon": b"Content-Length : 4\r\n",
    "underscore": b"Content_Length: 4\r\n",
    "float": b"Content-Length: 4.0\r\n",
    "exponent": b"Content-Length: 4e0\r\n",
    "letters": b"Content-Length: four\r\n",
    "hyphen": b"Content--Length: 4\r\n",
}
_CODINGS = {
    "comma": b"Transfer-Encoding: chunked ,\r\n",
    "comma first": b"Transfer-Encoding: ,chunked\r\n",
    "y": b"Transfer-Encoding: chunkedy\r\n",
    "blanks": b"Transfer-Encoding:   chunked\r\n",
    "none between": b"Transfer-Encoding:chunked\r\n",
    "blank after": b"Transfer-Encoding: chunked  \r\n",
    "tab after": b"Transfer-Encoding: chunked\t\r\n",
    "form feed": b"Transfer-Encoding: \x0cchunked\r\n",
    "folded": b"Transfer-Encoding:\r\n\tchunked\r\n",
    "three": CHUNKED * 3,
    "empty last": CHUNKED + b"Transfer-Encoding:\r\n",
    "empty first": b"Transfer-Encoding:\r\n" + CHUNKED,
    "identity last": CHUNKED + b"Transfer-Encoding: identity\r\n",
    "identity": b"Transfer-Encoding: identity\r\n",
    "deflate": b"Transfer-Encoding: deflate, chunked\r\n",
    "chunked twice": b"Transfer-Encoding: chunked, chunked\r\n",
    "single quotes": b"Transfer-Encoding: 'chunked'\r\n",
    "parameter": b"Transfer-Encoding: chunked; q=1\r\n",
    "upper case": b"transfer-encoding: CHUNKED\r\n",
    "blank before colon": b"Transfer-Encoding : chunked\r\n",
    "underscore": b"Transfer_Encoding: chunked\r\n",
    "leading blank": b"\tTransfer-Encoding: chunked\r\n",
    "NUL": b"Transfer-Encoding: chunked\x00\r\n",
    "eighth bit": b"Transfer-Encoding: chunked\x85\r\n",
}
_CHUNKED_BODIES = {
    "extension": b'4;n="v"\r\nwiki\r\n0\r\n\r\n',
    "LF in extension": b"4;n\nv\r\nwiki\r\n0\r\n\r\n",
    "bare LF": b"4\nwiki\n0\n\n",
    "hex mark": b"0X4\r\nwiki\r\n0\r\n\r\n",
    "plus": b"+4\r\nwiki\r\n0\r\n\r\n",
    "underscore": b"0_4\r\nwiki\r\n0\r\n\r\n",
    "blank": b"4\t\r\nwiki\r\n0\r\n\r\n",
    "leading blank": b"\t4\r\nwiki\r\n0\r\n\r\n",
    "no line end": b"4\r\nwiki0\r\n\r\n",
    "more than it says": b"4\r\nwikipedia\r\n0\r\n\r\n",
    "too large": b"10000000000000004\r\nwiki\r\n0\r\n\r\n",
    "negative": b"-4\r\nwiki\r\n0\r\n\r\n",
    "CR alone": b"4\rwiki\r\n0\r\n\r\n",
    "no size": b";\r\nwiki\r\n0\r\n\r\n",
    "zeros": b"00000004\r\nwiki\r\n0000\r\n\r\n",
    "trailers": b"4\r\nwiki\r\n0\r\nX-Ostiary-Profile: 3\r\nAPI-TOKEN: y\r\nHost: z\r\n\r\n",
    "bad trailer": b"4\r\nwiki\r\n0\r\nnot a header\r\n\r\n",
    "trailer and next": b"4\r\nwiki\r\n0\r\nY: 8\r\n\r\n" + SMUGGLED,
    "next as trailer": b"4\r\nwiki\r\n0\r\n" + SMUGGLED,
    "size of the next": b"0\r\n\r\n" + SMUGGLED,
}
_HEADS = {
    "bare CR": b"Y: c\rd\r\n",
    "header after CR": b"Y: c\rAPI-TOKEN: q\r\n",
    "folded": b"Y: c\r\n d\r\n",
    "folded credential": b"Y: c\r\n\tAuthorization: Bearer z\r\n",
    "NUL in value": b"Y: c\x00d\r\n",
    "NUL in name": b"Y\x00Z: c\r\n",
    "controls": b"Y: c\x02\x1b\x7fd\r\n",
    "blank before colon": b"Y : c\r\n",
    "blank in name": b"Y Z: c\r\n",
    "no name": b": c\r\n",
    "no colon": b"Yyy\r\n",
    "eighth bit": b"Y: \xfe\x80\r\n",
    "eighth bit in name": b"Y\xe9: c\r\n",
    "no value": b"Y:\r\n",
    "proxy": b"Proxy: http://evil.example\r\nProxy-Connection: keep-alive\r\n",
    "proxy authorization": b"Proxy-Authorization: Basic eDp5\r\nProxy-Authenticate: q\r\n",
    "hop by hop": b"TE: trailers, gzip\r\nTrailer: Y\r\nKeep-Alive: timeout=9\r\n",
    "named in Connection": b"Connection: x-ostiary-profile, x-forwarded-for\r\nX-Ostiary-Profile: 3\r\n",
    "many": b"".join(b"Y%d: 1\r\n" % n for n in range(140)),
    "very many": b"".join(b"Y%d: 1\r\n" % n for n in range(1400)),
    "long": b"Y: " + b"z" * 20_000 + b"\r\n",
    "five long": b"".join(b"Y%d: " % n + b"z" * 14_000 + b"\r\n" for n in range(5)),
    "second host": b"Host: other.example\r\n",
}
#: Headers of other systems that tell who calls, from where, by which path or method.
FOREIGN = (
    "X-Envoy-Original-Path", "X-Original-Path", "X-Original-Method", "X-Override-URL", "X-Host",
    "X-HTTP-Host-Override", "X-Forwarded", "X-Azure-SocketIP", "X-Scheme", "X-Url-Scheme",
    "Front-End-Https", "Proxy", "Remote-User", "X-Remote-User", "X-Consumer-Id",
    "X-Consumer-Username", "X-Authenticated-Userid", "X-Client-Cert", "X-Real-IP",
    "X-Forwarded-Host", "X-Forwarded-Prefix", "X-Forwarded-User", "X-Forwarded-Client-Cert",
    "X-Ostiary-Scopes", "X-Ostiary-Claims", "X-Ostiary-Recipe", "X-Ostiary-Address", "Forwarded",
    "X-Rewrite-URL", "X-Original-URL", "X-HTTP-Method-Override", "Proxy-Connection", "TE",
    "Trailer", "HTTP2-Settings",
)  # fmt: skip
_SPELLINGS = (
    b"X-OSTIARY-CLIENT", b"X_Ostiary_Client", b"X-Ostiary_Client", b"X-Ostiary-Client-",
    b"X-Ostiary.Client", b"X-Ostiary-Cl\xefent", b"X+Ostiary-Client", b"X-Ostiary-Client'",
    b"X-Ostiary-Client ", b"X-Ostiary-Client\t", b"X-Ostiary-Client\x0b", b"\x0bX-Ostiary-Client",
    b"X-Ostiary-Client\x00", b"X-Ostiary-Client\x7f", b"X-Ostiary-Client\xa0", b"X-Ostiary-Clien\xc5\xa5",
)  # fmt: skip
_VERSIONS = (
    b"HTTP/1.3", b"HTTP/2.0", b"HTTP/3", b"HTTP/1.10", b"HTTP/1", b"HTTP/01.1", b"http/1.1",
    b"HTTP/1.1 y", b"HTTP/0.9", b"HTTP/1.21", b"HTTP/1.", b"HTTP/9.9", b"HTTPS/1.1", b"ICAP/1.0",
)  # fmt: skip
_TARGETS = {
    "other host": b"http://evil.test/things-v1/things",
    "own host": b"http://door.example/things-v1/things",
    "no path": b"http://evil.test",
    "query alone": b"http://evil.test?y",
    "user": b"http://x:y@evil.test/things-v1/things",
    "https": b"https://evil.test/things-v1/things",
    "gopher": b"gopher://evil.test/things-v1/things",
    "no authority": b"http:///things-v1/things",
    "star": b"*",
    "authority": b"door.example:443",
    "no slash": b"things-v1/things",
    "two slashes first": b"//things-v1/things",
    "two slashes": b"/things-v1//things",
    "dot": b"/things-v1/./things",
    "dots": b"/things-v1/other/../things",
    "dots above": b"/../../things-v1/things",
    "escaped dots": b"/things-v1/other/%2E%2e/things",
    "half escaped dots": b"/things-v1/other/.%2e/things",
    "out of the collection": b"/things-v1/../other-v1/things",
    "escaped slash": b"/things-v1%2Fthings",
    "escaped NUL": b"/things-v1/things%00",
    "NUL": b"/things-v1/thi\x00ngs",
    "escaped slash within": b"/things-v1/x%2fthings",
    "dots and escaped slash": b"/things-v1/..%2Fother-v1%2Fthings",
    "escaped dots and slash": b"/things-v1/%2e%2e%2fother-v1/things",
    "escaped slash and dots": b"/things-v1/x%2F../things",
    "escaped slash and dots at the end": b"/things-v1/x%2F..",
    "dot and escaped slash": b"/things-v1/.%2Fthings",
    "semicolon": b"/things-v1/things;v=1",
    "semicolon first": b"/things-v1/;v=1/things",
    "dot and semicolon": b"/things-v1/.;/things",
    "dots, semicolon, text": b"/things-v1/x/..;v=1/things",
    "escaped dots and semicolon": b"/things-v1/x/%2e%2E%3b/things",
    "dots behind a semicolon": b"/things-v1/x;/../things",
    "dots between semicolons": b"/things-v1/x;..;/things",
    "backslash and dots": b"/things-v1/x%5c..",
    "escaped slash in the handle": b"/things-v1;v=1/things",
    "semicolon and dots": b"/things-v1/x/..;/things",
    "backslash": b"/things-v1\\things",
    "escaped backslash": b"/things-v1/x%5C..%5Cthings",
    "fragment": b"/things-v1/things#z",
    "eighth bit": b"/things-v1/\xe9",
    "overlong": b"/things-v1/x/%c0%ae%c0%ae/things",
    "bad escape": b"/things-v1/%g1",
    "lone percent": b"/things-v1/things%",
    "query first": b"?/things-v1/things",
    "blank": b"/things-v1/thi ngs",
    "tab": b"/things-v1/thi\tngs",
    "control": b"/things-v1/thi\x1fngs",
    "delete": b"/things-v1/thi\x7fngs",
    "escaped line end": b"/things-v1/things%0D%0AY:%20z",
    "eighth bit in query": b"/things-v1/things?q=\xfe",
    "fragment in query": b"/things-v1/things?q#z",
    "dots in query": b"/things-v1/things?/../../x",
    "control in query": b"/things-v1/things?q=\x01",
    "braces": b"/things-v1/{id}",
    "double escape": b"/things-v1/%252e%252e/things",
    "at": b"/@evil.test/things-v1/things",
    "at first": b"@evil.test/things-v1/things",
    "port": b":80/things-v1/things",
    "4,100 letters": b"/things-v1/" + b"z" * 4089,
    "7,900 letters": b"/things-v1/" + b"z" * 7889,
    "15,000 letters": b"/things-v1/" + b"z" * 14_989,
    "60,000 letters": b"/things-v1/" + b"z" * 59_989,
    "parameter of 4,000 letters": b"/things-v1/things/" + b"z" * 4000,
    "2,000 segments": b"/things-v1" + b"/z" * 1900,
    "dots at the end": b"/things-v1/things/..",
    "escaped question mark": b"/things-v1/things%3Fx=1",
    "upper case": b"/THINGS-V1/things",
    "the locations of nginx": b"/__malformed/200",
    "a named location": b"/@any",
    "oauth": b"/oauth2/../things-v1/things",
}  # fmt: skip
_METHODS = (
    b"CONNECT", b"post", b"Post", b"TRACE", b"PROPFIND", b"MKCOL", b"BREW", b"P-T", b"P_T", b"PRI",
    b"POST\x00", b"POST\x0b", b"Y" * 90, b"OPTIONS", b"HEAD",
)  # fmt: skip
_HOSTS = {
    "none": b"",
    "empty": b"Host:\r\n",
    "two": b"Host: c\r\nHost: d\r\n",
    "two alike": b"Host: c\r\nHost: c\r\n",
    "slash": b"Host: c/d\r\n",
    "underscore": b"Host: c_d\r\n",
    "user": b"Host: u:p@c\r\n",
    "question mark": b"Host: c?d\r\n",
    "hash": b"Host: c#d\r\n",
    "blank": b"Host: c d\r\n",
    "marks": b"Host: c\"'<>^`\r\n",
    "dots": b"Host: c...d\r\n",
    "port": b"Host: c:123456\r\n",
    "letters as port": b"Host: c:http\r\n",
    "half an address": b"Host: [::1\r\n",
    "backslash": b"Host: c\\d\r\n",
    "eighth bit": b"Host: \xe9\r\n",
    "NUL": b"Host: c\x00d\r\n",
    "control": b"Host: c\x02d\r\n",
    "comma": b"Host: c,d\r\n",
    "tab": b"Host: c\td\r\n",
}
_UPGRADES = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
    "another": b"Connection: Upgrade\r\nUpgrade: irc/6.9\r\n",
    "tls": b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
    "websocket and h2c": b"Connection: Upgrade\r\nUpgrade: h2c,websocket\r\n",
    "two": b"Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n",
    "not in Connection": b"Upgrade: h2c\r\n",
}


def _length(n: int) -> bytes:
    return b"Content-Length: %d\r\n" % n


def cases(credential: bytes) -> Iterator[tuple[str, bytes]]:
    """Every case with its name; each request presents `credential`, whole header lines."""
    c = credential
    yield "length and coding", request(c, _length(4) + CHUNKED, CHUNKS)
    yield "coding and length", request(c, CHUNKED + _length(4), CHUNKS)
    for name, lines in _LENGTHS.items():
        yield f"length: {name}", request(c, lines, b"wiki")
    for name, lines in _CODINGS.items():
        yield f"coding: {name}", request(c, lines, CHUNKS)
        yield f"coding with length: {name}", request(c, lines + _length(len(CHUNKS)), CHUNKS)
    for name, body in _CHUNKED_BODIES.items():
        yield f"chunks: {name}", request(c, CHUNKED, body)
    for name, lines in _HEADS.items():
        yield f"head: {name}", request(c, lines, method=b"GET")
    yield "bare LF", request(c, b"Y: 1\r\n", method=b"GET").replace(b"\r\n", b"\n")
    for spelling in _SPELLINGS:
        yield f"spelling: {spelling!r}", request(c, spelling + b": 3\r\n", method=b"GET")
    foreign = b"".join(b"%s: z\r\n" % name.encode() for name in FOREIGN)
    yield "headers of other systems", request(c, foreign, method=b"GET")
    yield "GET with a body", request(c, _length(len(SMUGGLED)), SMUGGLED, method=b"GET")
    inner = b"%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n"
    yield "GET with chunks", request(c, CHUNKED, inner, method=b"GET")
    yield "next without credential", request(c, method=b"GET") + SMUGGLED
    yield "POST without length", request(c) + SMUGGLED
    for name, more, body in (
        ("length", _length(len(SMUGGLED)), SMUGGLED),
        ("chunks", CHUNKED, inner),
        ("bad chunks", CHUNKED, b"zz\r\n" + SMUGGLED),
        ("long body", _length(len(SMUGGLED) + 70_000), b"A" * 70_000 + SMUGGLED),
        ("expect", b"Expect: 100-continue\r\n" + _length(len(SMUGGLED)), SMUGGLED),
    ):
        target = b"/things-v1/%5c"
        yield f"refused: {name}", request(c, more, body, target=target) + SMUGGLED
    yield "expectation", request(c, b"Expect: 100-continue\r\n" + _length(4), b"wiki")
    yield "odd expectation", request(c, b"Expect: 200-ok\r\n" + _length(4), b"wiki")
    yield "1.0", request(c, method=b"GET", version=b"HTTP/1.0")
    yield "1.0 kept", request(c, b"Connection: keep-alive\r\n", method=b"GET", version=b"HTTP/1.0")
    yield "1.0 without host", request(c, method=b"GET", version=b"HTTP/1.0", host=b"")
    yield "1.0 with chunks", request(c, CHUNKED, CHUNKS, version=b"HTTP/1.0")
    yield "0.9", b"GET /things-v1/things\r\n"
    yield "0.9 with headers", b"GET /things-v1/things\r\n" + c + b"\r\n"
    for version in _VERSIONS:
        yield f"version: {version!r}", request(c, method=b"GET", version=version)
    for name, target in _TARGETS.items():
        yield f"target: {name}", request(c, method=b"GET", target=target)
    for method in _METHODS:
        yield f"method: {method!r}", request(c, method=method)
    yield "CONNECT", request(c, method=b"CONNECT", target=b"evil.test:25")
    yield "OPTIONS *", request(c, method=b"OPTIONS", target=b"*")
    for name, host in _HOSTS.items():
        yield f"host: {name}", request(c, method=b"GET", host=host)
    for name, lines in _UPGRADES.items():
        yield f"upgrade: {name}", request(c, lines, method=b"GET") + SMUGGLED
    yield "HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)
    yield "leading line ends", b"\r\n\n" + request(c, method=b"GET")
    yield "leading blank", b"\t" + request(c, method=b"GET")
    yield "two blanks", request(c, method=b"GET ")
    yield "tabs", request(c, method=b"GET").replace(b" ", b"\t", 2)
    yield "blank after the target", request(c, method=b"GET", target=b"/things-v1/things ")
