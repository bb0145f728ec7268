"""gRPC through the gateway: real callers and a real server of grpcio, over TLS and over plain HTTP/2."""

import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from tests.gateway.secure import Secure
from tests.stage import Stage, free_port

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

SERVICE = "demo.v1.Echo"
METHODS = ("Say", "Count", "Sum", "Chat", "Fail", "Slow")


@dataclass(slots=True)
class Echo(grpc.GenericRpcHandler):  # type: ignore[misc] # grpcio has no types
    """A service of bytes: unary, streams of either side, and a failure."""

    seen: list[dict[str, str]] = field(default_factory=list)

    def service(self, call: Any) -> Any:
        self.seen.append({key: str(value) for key, value in call.invocation_metadata})
        match call.method:
            case "/demo.v1.Echo/Say":
                return grpc.unary_unary_rpc_method_handler(self.say)
            case "/demo.v1.Echo/Count":
                return grpc.unary_stream_rpc_method_handler(self.count)
            case "/demo.v1.Echo/Sum":
                return grpc.stream_unary_rpc_method_handler(self.sum)
            case "/demo.v1.Echo/Chat":
                return grpc.stream_stream_rpc_method_handler(self.chat)
            case "/demo.v1.Echo/Fail":
                return grpc.unary_unary_rpc_method_handler(self.fail)
            case "/demo.v1.Echo/Slow":
                return grpc.unary_unary_rpc_method_handler(self.slow)
        return None

    def say(self, request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("spent", "7"),))
        return b"you said " + request

    def count(self, request: bytes, _: Any) -> Iterator[bytes]:
        for n in range(int(request)):
            yield str(n).encode()

    def sum(self, requests: Iterator[bytes], _: Any) -> bytes:
        return str(sum(map(int, requests))).encode()

    def chat(self, requests: Iterator[bytes], _: Any) -> Iterator[bytes]:
        for request in requests:
            yield request.upper()

    def fail(self, _: bytes, context: Any) -> bytes:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now")
        raise AssertionError

    def slow(self, request: bytes, _: Any) -> bytes:
        time.sleep(20)
        return request


@dataclass(frozen=True, slots=True)
class Door:
    stage: Stage
    echo: Echo
    collection: dict[str, Any]
    profile: dict[str, Any]
    channels: dict[str, Any]

    def unary(self, method: str, request: bytes = b"hi", **more: Any) -> Any:
        """Answer and trailers of a call."""
        channel = self.channels[more.pop("by", "tls")]
        token = more.pop("token", self.profile["secret"])
        metadata = [*more.pop("metadata", ()), *([("api-token", token)] if token else [])]
        called = channel.unary_unary(more.pop("path", f"/{SERVICE}/{method}"))
        answer, call = called.with_call(request, metadata=metadata, timeout=more.pop("timeout", 30))
        return answer, {key: value for key, value in call.trailing_metadata()}

    def refused(self, method: str = "Say", **more: Any) -> Any:
        with pytest.raises(grpc.RpcError) as raised:
            self.unary(method, **more)
        return raised.value

    @property
    def metadata(self) -> list[tuple[str, str]]:
        return [("api-token", self.profile["secret"])]


@pytest.fixture(scope="module", params=["grpc", "grpcs"])
def door(request: Any, worker_secure: Secure) -> Iterator[Door]:
    stage, certificate = worker_secure.stage, worker_secure.certificate
    stage.clear()
    pem = certificate.pem
    echo = Echo()
    server = grpc.server(ThreadPoolExecutor(8), handlers=(echo,))
    if request.param == "grpcs":
        keys = grpc.ssl_server_credentials([(certificate.key.read_bytes(), pem)])
        port = server.add_secure_port("127.0.0.1:0", keys)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    given = {"base_url": f"{request.param}://localhost:{port}/{SERVICE}"}
    if request.param == "grpcs":
        given["ca_pem"] = pem.decode()
    connection = stage.done("POST", "connections", {"name": "Echo", "input": given})
    collection = stage.done(
        "POST",
        "api_collections",
        {"name": "Echo", "handle": SERVICE, "proxy_connection_id": connection["id"]},
    )
    for method in METHODS:
        stage.an_endpoint(collection, f"POST /{method}")
    profile = stage.a_profile(collection)
    secure = grpc.secure_channel(f"localhost:{stage.gateway}", grpc.ssl_channel_credentials(pem))
    clear = grpc.insecure_channel(worker_secure.clear)
    yield Door(stage, echo, collection, profile, {"tls": secure, "clear": clear})
    secure.close()
    clear.close()
    server.stop(None)


@pytest.mark.parametrize("by", ["tls", "clear"])
def test_unary_calls_pass_with_their_trailers(door: Door, by: str) -> None:
    door.echo.seen.clear()
    answer, trailers = door.unary(
        "Say",
        by=by,
        metadata=[("x-real-ip", "9.9.9.9"), ("x-forwarded-host", "evil"), ("kept", "1")],
    )
    assert answer == b"you said hi"
    assert trailers["spent"] == "7"
    (seen,) = door.echo.seen
    assert seen["kept"] == "1"
    assert seen["x-ostiary-profile"] == str(door.profile["id"])
    assert seen["x-forwarded-prefix"] == f"/{SERVICE}"
    assert "api-token" not in seen
    assert "9.9.9.9" not in str(seen)
    assert "evil" not in str(seen)


def test_streams_of_either_side_pass(door: Door) -> None:
    channel = door.channels["tls"]
    counted = channel.unary_stream(f"/{SERVICE}/Count")(b"2000", metadata=door.metadata)
    assert [int(each) for each in counted] == list(range(2000))
    numbers = (str(n).encode() for n in range(500))
    assert channel.stream_unary(f"/{SERVICE}/Sum")(numbers, metadata=door.metadata) == b"124750"


def test_both_sides_talk_in_turn_however_long_they_are_silent(door: Door) -> None:
    waits = iter((0, 0.1, 11))  # Longer than a body may stall elsewhere.

    def asks() -> Iterator[bytes]:
        for word, wait in zip((b"a", b"b", b"c"), waits, strict=True):
            time.sleep(wait)
            yield word

    chat = door.channels["tls"].stream_stream(f"/{SERVICE}/Chat")(asks(), metadata=door.metadata)
    assert list(chat) == [b"A", b"B", b"C"]


def test_large_messages_pass(door: Door) -> None:
    large = b"x" * 3_000_000
    assert door.unary("Say", large)[0] == b"you said " + large


def test_a_failure_of_the_service_is_passed_on(door: Door) -> None:
    error = door.refused("Fail")
    assert (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "not now")


def test_refusals_are_what_callers_of_grpc_expect(door: Door) -> None:
    code = grpc.StatusCode
    missing = door.refused(token=None)
    assert missing.code() == code.UNAUTHENTICATED
    assert "credential" in missing.details()
    assert door.refused(token="wrong").code() == code.UNAUTHENTICATED
    assert door.refused(path=f"/{SERVICE}/Nothing").code() in {
        code.UNIMPLEMENTED,
        code.PERMISSION_DENIED,
    }
    assert door.refused(by="clear", token=None).code() == code.UNAUTHENTICATED
    assert door.refused("Slow", timeout=1).code() == code.DEADLINE_EXCEEDED


def test_a_revoked_caller_is_refused_and_its_stream_ends(door: Door) -> None:
    profile = door.stage.a_profile(door.collection, client=door.stage.a_client("Other"))
    metadata = [("api-token", profile["secret"])]

    def asks() -> Iterator[bytes]:
        yield b"a"
        time.sleep(20)

    chat = door.channels["tls"].stream_stream(f"/{SERVICE}/Chat")(asks(), metadata=metadata)
    assert next(chat) == b"A"
    time.sleep(1.2)
    began = time.monotonic()
    door.stage.done("PUT", f"api_access_profiles/{profile['id']}/disable")
    with pytest.raises(grpc.RpcError):
        next(chat)
    assert time.monotonic() - began < 10
    assert door.refused(token=profile["secret"]).code() in {
        grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED,
    }  # fmt: skip


def test_a_service_that_is_down_is_unavailable(door: Door) -> None:
    given = {"base_url": f"grpc://127.0.0.1:{free_port()}"}
    connection = door.stage.done("POST", "connections", {"name": "Gone", "input": given})
    collection = door.stage.done(
        "POST",
        "api_collections",
        {"name": "Gone", "handle": "demo.v1.Gone", "proxy_connection_id": connection["id"]},
    )
    door.stage.an_endpoint(collection, "POST /Say")
    profile = door.stage.a_profile(collection, client=door.stage.a_client("Gone"))
    error = door.refused(path="/demo.v1.Gone/Say", token=profile["secret"])
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    assert "upstream" in error.details()


def test_a_call_that_only_looks_like_grpc_is_refused_as_any(door: Door) -> None:
    """Callers of gRPC ask by POST, and no cache may keep what they are refused with."""
    url = f"https://127.0.0.1:{door.stage.gateway}/{SERVICE}/Say"
    for method, kind, status in (
        ("GET", "application/grpc", 401),
        ("POST", "application/grpc-web+proto", 401),
        ("POST", "application/grpc+proto", 200),
    ):
        told = subprocess.run(
            ["curl", "-sSkD", "-", "-X", method, "-H", f"Content-Type: {kind}", url],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        assert told.split()[1] == str(status)
        assert ('"reason"' in told) == (status == 401)
        assert ("cache-control: no-store" in told.lower()) == (status == 200)
