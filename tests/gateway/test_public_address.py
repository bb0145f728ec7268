"""What upstreams are told of the address that consumers call, and how their answers come back with it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urljoin

import pytest
from tests.stage import Answer, Stage, raw

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

PUBLIC = "https://api.example.test:8443"
BASE = "/api"


@dataclass(slots=True)
class Talker:
    """An upstream that answers with the headers it is told; `{own}` in them is its own address.

    Paths below /framework answer as web frameworks do: slash redirects and links to a next page that are made
    from the Host header (Starlette), from the path alone (Django), or from what proxies say.
    """

    answers: list[tuple[str, str]] = field(default_factory=list)
    status: int = 200
    seen: list[tuple[str, Message]] = field(default_factory=list)
    server: ThreadingHTTPServer = field(init=False)

    def __post_init__(self) -> None:
        talker = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None: ...

            def do_GET(self) -> None:
                talker.seen.append((self.path, self.headers))
                status, headers = talker.reply(self.path, self.headers)
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value.replace("{own}", talker.authority))
                self.send_header("Content-Length", "0")
                self.end_headers()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.server.server_address[1]}"

    def reply(self, path: str, headers: Message) -> tuple[int, list[tuple[str, str]]]:
        host = headers["Host"]
        told = f"{headers['X-Forwarded-Proto']}://{headers['X-Forwarded-Host']}"
        match path.partition("?")[0].removeprefix(BASE):
            case "/framework/starlette":
                return 307, [("Location", f"http://{host}{path}/")]
            case "/framework/django":
                return 301, [("Location", f"{path}/")]
            case "/framework/pages":
                next_page = f'<{told}{path}?page=2>; rel="next", <http://{host}{path}>; rel="first"'
                return 200, [("Link", next_page)]
            case "/framework/prefix":
                return 302, [("Location", f"{told}{headers['X-Forwarded-Prefix']}{path}/")]
        return self.status, self.answers


@dataclass(slots=True)
class Bench:
    """A collection in front of a talker, on a product that runs."""

    stage: Stage
    talker: Talker
    token: str
    handle: str

    def get(self, path: str, **headers: str) -> Answer:
        return self.stage.call(f"/{self.handle}{path}", self.token, headers=headers)

    def saying(self, *answers: tuple[str, str], path: str = "/a/b") -> list[str]:
        """Values of the headers that come back of `answers`, one each."""
        self.talker.answers = list(answers)
        names = {name.lower() for name, _ in answers}
        return [value for name, value in self.get(path).lines if name.lower() in names]


def a_bench(stage: Stage, talker: Talker, name: str, base: str = BASE, **given: Any) -> Bench:
    connection = stage.done(
        "POST",
        "connections",
        {"name": name, "input": {"base_url": f"http://{talker.authority}{base}", **given}},
    )
    collection = stage.done(
        "POST", "api_collections", {"name": name, "proxy_connection_id": connection["id"]}
    )
    for path in (
        "/a/b", "/framework/starlette", "/framework/starlette/", "/framework/django",
        "/framework/pages", "/framework/prefix",
    ):  # fmt: skip
        stage.an_endpoint(collection, f"GET {path}")
    stage.an_endpoint(collection, "GET /short/{id}", target_path="/long/way/{id}")
    profile = stage.a_profile(collection, client=stage.a_client(name))
    return Bench(stage, talker, profile["secret"], collection["handle"])


@pytest.fixture(scope="module")
def talker() -> Iterator[Talker]:
    talker = Talker()
    yield talker
    talker.server.shutdown()
    talker.server.server_close()


@pytest.fixture(scope="module")
def bench(stage: Stage, talker: Talker) -> Bench:
    return a_bench(stage, talker, "Below")


@pytest.fixture(scope="module")
def public(bench: Bench) -> Bench:
    """The bench, once the public URL is set; tests that need it unset stand before."""
    bench.stage.done("PUT", "v2/settings", {"gateway_url": PUBLIC})
    return bench


def told(bench: Bench, path: str = "/a/b", **headers: str) -> dict[str, list[str]]:
    bench.talker.seen.clear()
    assert bench.get(path, **headers).status == 200
    ((_, seen),) = bench.talker.seen
    return {name.lower(): seen.get_all(name, []) for name in seen}


def test_without_a_public_url_the_listener_is_told_and_redirects_have_paths(bench: Bench) -> None:
    bench.talker.answers = []
    heard = told(bench)
    assert heard["x-forwarded-proto"] == ["http"]
    assert heard["x-forwarded-host"] == [f"localhost:{bench.stage.gateway}"]
    assert heard["x-forwarded-port"] == [str(bench.stage.gateway)]
    assert heard["x-forwarded-prefix"] == [f"/{bench.handle}"]
    assert heard["host"] == [bench.talker.authority]
    # Whatever name a caller has for the gateway, a path on it is right.
    assert bench.saying(("Location", "http://{own}/api/x")) == [f"/{bench.handle}/x"]


@pytest.mark.parametrize("path", ["//evil.example/x", "/\\evil.example/x", "/\\/evil.example/x"])
def test_a_path_above_the_base_url_never_becomes_another_host(bench: Bench, path: str) -> None:
    assert bench.saying(("Location", f"http://{{own}}{path}")) == ["/evil.example/x"]


@pytest.mark.parametrize(
    "value",
    [
        "a;" + " " * 6000 + "b",
        "a=b; c=x" + " " * 6000 + "y",
        "a=b; Path=/api" + "/" * 6000 + "x",
        "a=b; Path = /api/x ; Secure",
    ],
)
def test_odd_cookies_pass(bench: Bench, value: str) -> None:
    (said,) = bench.saying(("Set-Cookie", value))
    assert said.startswith(value.partition(";")[0])


@pytest.mark.parametrize(
    "forged",
    [
        {"X-Forwarded-Host": "evil.test", "X-Forwarded-Proto": "gopher", "Forwarded": "host=evil.test"},
        {"X-Forwarded-Prefix": "/evil", "X-Forwarded-Port": "1", "X-Forwarded-Ssl": "evil"},
    ],
)  # fmt: skip
def test_a_caller_cannot_say_what_the_public_address_is(
    public: Bench, forged: dict[str, str]
) -> None:
    public.talker.answers = []
    heard = told(public, **forged)
    assert heard["x-forwarded-proto"] == ["https"]
    assert heard["x-forwarded-host"] == ["api.example.test:8443"]
    assert heard["x-forwarded-port"] == ["8443"]
    assert heard["x-forwarded-prefix"] == [f"/{public.handle}"]
    assert "forwarded" not in heard
    assert "evil" not in str(heard)


def test_the_host_that_a_caller_names_is_not_told(public: Bench) -> None:
    public.talker.answers = [("Location", "http://{own}/api/x")]
    public.talker.seen.clear()
    head = f"GET /{public.handle}/a/b HTTP/1.1\r\nHost: evil.test\r\nAPI-TOKEN: {public.token}"
    answer = raw(public.stage.gateway, f"{head}\r\nConnection: close\r\n\r\n".encode())
    assert b"evil" not in answer
    ((_, heard),) = public.talker.seen
    assert "evil" not in str(heard)


def test_a_connection_says_how_its_upstream_is_told(public: Bench, talker: Talker) -> None:
    talker.answers = []
    heard = told(a_bench(public.stage, talker, "Rfc", public_address="forwarded"))
    assert heard["forwarded"] == ['for=127.0.0.1;host="api.example.test:8443";proto=https']
    assert heard["x-forwarded-prefix"] == ["/rfc-v1"]
    assert "x-forwarded-host" not in heard
    heard = told(a_bench(public.stage, talker, "Original", public_address="host"))
    assert heard["host"] == ["api.example.test:8443"]
    heard = told(a_bench(public.stage, talker, "Nothing", public_address="none"))
    assert heard["host"] == [talker.authority]
    assert {name for name in heard if "forwarded" in name} == {"x-forwarded-for"}
    wrong = public.stage.api(
        "POST",
        "connections",
        {"name": "W", "input": {"base_url": "http://127.0.0.1:9", "public_address": "x"}},
    )
    assert (wrong.status, "public_address" in wrong.body.decode()) == (400, True)


HERE = f"{PUBLIC}/below-v1"


@pytest.mark.parametrize(
    ("sent", "comes"),
    [
        ("http://{own}/api/x?y=1#z", f"{HERE}/x?y=1#z"),
        ("http://{own}/api", HERE),
        ("HTTP://user:word@{own}/api/", f"{HERE}/"),
        # It was told that the call came over https.
        ("https://{own}/api/x", f"{HERE}/x"),
        ("//{own}/api/x", f"{HERE}/x"),
        ("/api/x", "/below-v1/x"),
        ("/api?page=2", "/below-v1?page=2"),
        ("x/y", "x/y"),
        ("?page=2", "?page=2"),
        ("../c", "../c"),
        # It was told its public prefix.
        ("/below-v1/x", "/below-v1/x"),
        ("/below-v1/api/x", "/below-v1/x"),
        (f"{PUBLIC}/api/x", f"{HERE}/x"),
        (f"{PUBLIC}/below-v1/x", f"{HERE}/x"),
        # Not below the base URL: it has no public address, and the inner host is not told.
        ("http://{own}/other/x", "/other/x"),
        ("http://{own}/apiary", "/apiary"),
        ("http://{own}", "/"),
        # Somewhere else.
        ("/other/x", "/other/x"),
        ("/apiary", "/apiary"),
        ("http://127.0.0.1:1/api/x", "http://127.0.0.1:1/api/x"),
        ("https://login.example.test/api?to=http://{own}/api", None),
        (f"{PUBLIC}/plain-v1/api/x", f"{PUBLIC}/plain-v1/api/x"),
        ("mailto:me@example.test", "mailto:me@example.test"),
    ],
)
def test_references_to_the_upstream_come_back_public(
    public: Bench, sent: str, comes: str | None
) -> None:
    sent = sent.replace("{own}", public.talker.authority)
    for name in ("Location", "Content-Location"):
        assert public.saying((name, sent)) == [sent if comes is None else comes]


def test_links_and_refreshes_are_translated_within(public: Bench) -> None:
    link = (
        '<http://{own}/api/x?page=2>; rel="next"; title="a, <http://b>; \\"c", </api/y>;rel=prev,'
        ' <https://else.test/api>; rel=license; anchor="/api/z"'
    )
    assert public.saying(("Link", link), ("Link", '<q>; rel="up"'), ("Link", '<broken; "')) == [
        (
            f'<{HERE}/x?page=2>; rel="next"; title="a, <http://b>; \\"c", </below-v1/y>;rel=prev,'
            ' <https://else.test/api>; rel=license; anchor="/below-v1/z"'
        ),
        '<q>; rel="up"',
        '<broken; "',
    ]
    assert public.saying(("Refresh", "5; url=http://{own}/api/x")) == [f"5; url={HERE}/x"]


@pytest.mark.parametrize(
    ("sent", "comes"),
    [
        ("a=b; Path=/api; HttpOnly", "a=b; Path=/below-v1; HttpOnly"),
        ("a=b; path=/api/x/; Secure", "a=b; Path=/below-v1/x/; Secure"),
        # Of the whole upstream: of the collection here.
        ("a=b; Path=/", "a=b; Path=/below-v1"),
        ("a=b; Path=/other", "a=b; Path=/other"),
        ("a=b", "a=b"),
        ("a=b; Domain=127.0.0.1; Path=/api", "a=b; Path=/below-v1"),
        ("a=b; Domain=.example.test", "a=b; Domain=.example.test"),
        ("a=b; Domain=else.test", "a=b; Domain=else.test"),
        # It would not be taken with another path.
        ("__Host-a=b; Path=/; Secure", "__Host-a=b; Path=/; Secure"),
        ("__Secure-a=b; Path=/; Secure", "__Secure-a=b; Path=/below-v1; Secure"),
    ],
)
def test_cookies_belong_to_the_collection(public: Bench, sent: str, comes: str) -> None:
    assert public.saying(("Set-Cookie", sent)) == [comes]


def test_every_cookie_of_an_answer_is_translated(public: Bench) -> None:
    many = [("Set-Cookie", f"c{n}=v; Path=/api/{n}") for n in range(60)]
    assert public.saying(*many) == [f"c{n}=v; Path=/below-v1/{n}" for n in range(60)]


def test_redirects_and_pages_of_frameworks_lead_back_here(public: Bench) -> None:
    """What FastAPI and Django do for a missing slash, and paged APIs in Link headers."""
    assert public.get("/framework/starlette").headers["location"] == f"{HERE}/framework/starlette/"
    assert public.get("/framework/django").headers["location"] == "/below-v1/framework/django/"
    assert public.get("/framework/prefix").headers["location"] == f"{HERE}/framework/prefix/"
    link = public.get("/framework/pages").headers["link"]
    pages = f"{HERE}/framework/pages"
    assert link == f'<{pages}?page=2>; rel="next", <{pages}>; rel="first"'
    followed = urljoin(
        f"{HERE}/framework/starlette", public.get("/framework/starlette").headers["location"]
    )
    assert public.get(followed.removeprefix(HERE)).status == 200


def test_a_relative_reference_is_read_from_a_rewritten_path(public: Bench) -> None:
    def comes(location: str) -> str:
        return public.saying(("Location", location), path="/short/7")[0]

    assert comes("8") == "/below-v1/long/way/8"
    assert comes("../8?x") == "/below-v1/long/8?x"
    assert comes("?page=2") == "/below-v1/long/way/7?page=2"
    assert comes("#top") == "#top"
    assert comes("http://{own}/api/long") == f"{HERE}/long"


def test_at_a_root_every_path_is_the_upstreams_own(public: Bench, talker: Talker) -> None:
    plain = a_bench(public.stage, talker, "Plain", base="")
    assert plain.saying(("Location", "/redirected")) == ["/plain-v1/redirected"]
    assert plain.saying(("Location", f"{PUBLIC}/x")) == [f"{PUBLIC}/plain-v1/x"]
    assert plain.saying(("Location", f"{PUBLIC}/below-v1/x")) == [f"{PUBLIC}/below-v1/x"]
    assert plain.saying(("Set-Cookie", "a=b; Path=/")) == ["a=b; Path=/plain-v1"]


def test_a_connection_may_leave_answers_alone(public: Bench, talker: Talker) -> None:
    alone = a_bench(public.stage, talker, "Alone", translate_urls=False)
    sent = f"http://{talker.authority}/api/x"
    assert alone.saying(("Location", sent)) == [sent]
    assert alone.saying(("Set-Cookie", "a=b; Path=/api")) == ["a=b; Path=/api"]


def test_alternative_services_of_an_upstream_are_not_passed_on(public: Bench) -> None:
    assert public.saying(("Alt-Svc", 'h3=":443"')) == []


FOREIGN = (
    "Proxy", "Proxy-Authorization", "Proxy-Connection", "X-Original-Path", "X-Original-Anything",
    "X-Envoy-Original-Path", "X-Envoy-Anything", "X-Override-URL", "X-Host", "X-HTTP-Host-Override",
    "X-Forwarded", "X-Forwarded-Client-Cert", "X-Azure-SocketIP", "X-Scheme", "X-Url-Scheme",
    "Front-End-Https", "Remote-User", "Remote-Groups", "X-Remote-User", "X-Remote-Extra-Scopes",
    "X-Consumer-Username", "X-Consumer-Anything", "X-Authenticated-Userid", "X-Authenticated-Scope",
    "X-Client-Cert", "X-Client-Cert-Chain", "X-Amzn-Oidc-Identity", "X-Amzn-Oidc-Anything",
    "CF-Connecting-IP", "True-Client-IP", "X-Real-IP", "Tailscale-User-Login", "Tailscale-Anything",
    "X-Goog-Authenticated-User-Email", "X-Goog-IAP-JWT-Assertion", "X-MS-Client-Principal",
    "X-MS-Client-Principal-Name", "X-Auth-Request-User", "X-Auth-Request-Access-Token",
    "SSL-Client-Verify", "SSL-Client-S-DN", "X-SSL-Client-Cert", "Impersonate-User",
    "X-Middleware-Subrequest", "Client-Cert", "X-Accel-Mapping", "X-Pomerium-Jwt-Assertion",
    "X-WEBAUTH-USER", "CF-Access-Jwt-Assertion", "X-Ostiary-Anything",
)  # fmt: skip


def test_headers_of_other_systems_do_not_pass(public: Bench) -> None:
    public.talker.answers = []
    kept = {
        "X-Request-Id": "kept", "X-Client-Version": "kept", "X-Auth-Token": "kept", "Traceparent": "kept",
        "X-Originality": "kept", "X-Environment": "kept", "X-Correlation-Id": "kept",
        "Sec-Fetch-Mode": "kept", "Tailored-For": "kept",
    }  # fmt: skip
    forged = {name: "forged" for name in FOREIGN}
    for headers in (forged | kept, {name.lower(): "forged" for name in FOREIGN}):
        heard = told(public, **headers)
        assert "forged" not in str(heard)
    assert {name.lower() for name in kept} <= {
        name for name, values in told(public, **kept).items() if values == ["kept"]
    }
    for name in FOREIGN:
        assert "forged" not in str(told(public, **{name: "forged"})), name
