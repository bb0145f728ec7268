"""Traces at a real receiver: one trace through gateway, decision and recipe, with nothing secret in it."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from tests.operations.test_logs import CANARY, RECIPE, failing
from tests.stage import Stage, Upstream, ask, running, wait_for

from ostiary.settings import SettingsError, load

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = f"00-{TRACE}-b7ad6b7169203331-01"


def _value(value: AnyValue) -> Any:
    return getattr(value, str(value.WhichOneof("value")))


class Telemetry:
    """An OTLP/HTTP receiver: the spans that it got, with the name of the service of each."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Span]] = []
        self.raw = b""
        telemetry = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None: ...

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                telemetry.take(body if self.path == "/v1/traces" else b"")
                self.send_response(200)
                self.end_headers()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, body: bytes) -> None:
        self.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            told = {a.key: _value(a.value) for a in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [(told["service.name"], span) for span in scope.spans]

    def named(self, service: str, name: str) -> list[tuple[Span, dict[str, Any]]]:
        """Spans of a part whose names begin so, with their attributes."""
        return [
            (span, {a.key: _value(a.value) for a in span.attributes})
            for found, span in list(self.spans)
            if found == f"ostiary-{service}" and span.name.startswith(name)
        ]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def telemetry() -> Iterator[Telemetry]:
    telemetry = Telemetry()
    yield telemetry
    telemetry.close()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, telemetry: Telemetry) -> Iterator[Stage]:
    data = tmp_path_factory.mktemp("data")
    (data / "recipes").mkdir()
    (data / "recipes" / "leaky.py").write_text(RECIPE)
    with running(data, env={"OSTIARY_OTLP_ENDPOINT": telemetry.url}) as stage:
        yield stage


@pytest.fixture(scope="module")
def things(stage: Stage, upstream: Upstream) -> Any:
    return stage.a_collection(upstream)


@pytest.mark.gateway
@pytest.mark.slow
def test_a_decision_joins_the_callers_trace_and_the_upstream_is_told_of_it(
    stage: Stage, telemetry: Telemetry, upstream: Upstream, things: Any
) -> None:
    profile = stage.a_profile(things)
    target = f"/{things['handle']}/things?secret={CANARY}"
    headers = {"traceparent": CALLER, "tracestate": "vendor=1"}
    assert stage.call(target, profile["secret"], headers=headers).status == 200
    assert upstream.seen[-1].header("traceparent") == [CALLER]
    assert upstream.seen[-1].header("tracestate") == ["vendor=1"]
    wait_for(lambda: any(s.trace_id.hex() == TRACE for s, _ in telemetry.named("authority", "d")))
    span, told = next(
        found
        for found in telemetry.named("authority", "decide")
        if found[0].trace_id.hex() == TRACE
    )
    assert span.parent_span_id.hex() == "b7ad6b7169203331"
    assert told["ostiary.verdict"] == "leased"
    assert told["ostiary.profile"] == profile["id"]
    assert told["ostiary.collection"] == things["id"]


@pytest.mark.gateway
@pytest.mark.slow
@pytest.mark.parametrize(
    "parent",
    ["nonsense", f"00-{'0' * 32}-b7ad6b7169203331-01", f"00-{TRACE}-{'0' * 16}-01",
     f"ff-{TRACE}-b7ad6b7169203331-01", f"00-{TRACE}-b7ad6b7169203331-01-more", "", "x" * 55],
)  # fmt: skip
def test_what_is_no_trace_begins_a_new_one_and_the_call_is_served(
    stage: Stage, telemetry: Telemetry, upstream: Upstream, things: Any, parent: str
) -> None:
    profile = stage.a_profile(things)
    path = f"/{things['handle']}/things"
    assert stage.call(path, profile["secret"], headers={"traceparent": parent}).status == 200

    def mine() -> list[Span]:
        found = telemetry.named("authority", "decide")
        return [span for span, told in found if told["ostiary.profile"] == profile["id"]]

    wait_for(lambda: bool(mine()))
    assert mine()[0].parent_span_id == b""
    assert mine()[0].trace_id.hex() != TRACE


@pytest.mark.gateway
@pytest.mark.slow
def test_recipes_and_requests_are_spans(stage: Stage, telemetry: Telemetry) -> None:
    failing(stage)
    wait_for(lambda: bool(telemetry.named("recipes", "recipe leaky")))
    span, told = telemetry.named("recipes", "recipe leaky")[0]
    assert (told["ostiary.outcome"], span.status.code) == ("failed", Status.STATUS_CODE_ERROR)
    assert told["ostiary.request_id"]
    answer = stage.api("GET", "api_clients?page=1", headers={"traceparent": CALLER})
    wait_for(
        lambda: any(
            told["ostiary.request_id"] == answer.headers["x-request-id"]
            for _, told in telemetry.named("control", "GET api/api_clients")
        )
    )
    span, told = next(
        found
        for found in telemetry.named("control", "GET api/api_clients")
        if found[1]["ostiary.request_id"] == answer.headers["x-request-id"]
    )
    assert span.trace_id.hex() == TRACE
    assert told["http.response.status_code"] == 200
    assert told["http.route"] == "api/api_clients"
    assert told["ostiary.by"].startswith("token:")


@pytest.mark.gateway
@pytest.mark.slow
def test_a_recipe_joins_the_callers_trace(stage: Stage, telemetry: Telemetry) -> None:
    collection = next(c for c in stage.done("GET", "api_collections") if c["name"] == "R")
    profile = stage.a_profile(collection)
    headers = {"traceparent": CALLER, "Content-Type": "application/json"}
    path = f"/{collection['handle']}/leaky"
    stage.call(path, profile["secret"], method="POST", headers=headers, body=b'{"word": "x"}')

    def joined() -> list[Span]:
        found = telemetry.named("recipes", "recipe leaky")
        return [span for span, _ in found if span.trace_id.hex() == TRACE]

    wait_for(lambda: bool(joined()))
    assert joined()[0].parent_span_id.hex() == "b7ad6b7169203331"


@pytest.mark.gateway
@pytest.mark.slow
def test_nothing_secret_is_sent(stage: Stage, telemetry: Telemetry, things: Any) -> None:
    profile = stage.a_profile(things)
    for secret in (profile["secret"], CANARY):
        stage.call(f"/{things['handle']}/things?x={secret}", secret, headers={"Cookie": secret})
        ask(stage.control, "GET", f"/nothing/{secret}?{secret}", headers={"Cookie": secret})
    ask(stage.control, "GET", "/sign-in")
    wait_for(lambda: bool(telemetry.named("control", "GET sign-in")))
    for secret in (profile["secret"], CANARY, stage.token):
        assert secret.encode() not in telemetry.raw


@pytest.mark.gateway
@pytest.mark.slow
def test_a_receiver_that_is_away_holds_nobody_up(
    stage: Stage, telemetry: Telemetry, things: Any
) -> None:
    """The last test here: the receiver does not come back."""
    telemetry.close()
    profile = stage.a_profile(things)
    for _ in range(20):
        assert stage.call(f"/{things['handle']}/things", profile["secret"]).status == 200


def test_without_an_endpoint_nothing_of_it_is_loaded() -> None:
    import subprocess
    import sys

    program = (
        "import sys; from ostiary.telemetry import tracing; tracing.set_up('x', '');"
        "print([m for m in sys.modules if m.startswith('opentelemetry')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("https://otel.example.com/", "https://otel.example.com/v1/traces"),
        ("https://otel.example.com/x/v1/traces", "https://otel.example.com/x/v1/traces"),
        ("", ""),
    ],
)
def test_an_endpoint_is_read(given: str, meant: str) -> None:
    assert load({"OSTIARY_OTLP_ENDPOINT": given}).otlp_endpoint == meant


@pytest.mark.parametrize(
    "text", ["127.0.0.1:4318", "ftp://x", "http://", "http://u:p@x", "http://x?y"]
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="must be a URL") as refused:
        load({"OSTIARY_OTLP_ENDPOINT": text})
    assert "u:p" not in str(refused.value)
