"""The gateway with a certificate: TLS, HTTP/2, and the same door behind it."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.stage import Stage, Upstream, running

pytestmark = [pytest.mark.gateway, pytest.mark.slow]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    both = folder / "both.pem"
    both.write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
    return both


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> Iterator[Stage]:
    env = {"OSTIARY_CERTIFICATE": str(certificate)}
    with running(tmp_path_factory.mktemp("data"), env=env) as stage:
        yield stage


@pytest.fixture(scope="module")
def profile(secure: Stage, upstream: Upstream) -> Any:
    return secure.a_profile(secure.a_collection(upstream, name="Things", handle="things-v1"))


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
def test_calls_pass_over_tls(
    secure: Stage, upstream: Upstream, certificate: Path, profile: Any, protocol: str
) -> None:
    url = f"https://127.0.0.1:{secure.gateway}/things-v1/things/5"
    for token, status in ((profile["secret"], 200), ("wrong", 401)):
        told = subprocess.run(
            ["curl", "-sS", protocol, "--cacert", str(certificate), "-w", "\n%{http_code} %{http_version}",
             "-H", f"API-TOKEN: {token}", url],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        body, _, last = told.rpartition("\n")
        assert last.split() == [str(status), "1.1" if protocol == "--http1.1" else "2"]
        assert json.loads(body)
    assert upstream.seen[-1].header("X-Forwarded-Proto") == ["https"]


def test_plain_http_is_refused_on_the_tls_port(secure: Stage, profile: Any) -> None:
    headers = {"API-TOKEN": profile["secret"]}
    url = f"http://127.0.0.1:{secure.gateway}/things-v1/things"
    answer = httpx.get(url, headers=headers, trust_env=False)
    assert answer.status_code == 400
    assert answer.json()["reason"] == "malformed_request"
