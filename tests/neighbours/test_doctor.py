"""`ostiary doctor` says what is set up wrongly, and what to do, before a member or consumer finds out."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.nameserver import NameServer, wrapping
from tests.neighbours.proxies import AS_IT_COMES, Authority, Files, Ports, block, nginx
from tests.stage import OSTIARY, Stage, free_port

pytestmark = [pytest.mark.gateway, pytest.mark.slow]


class Doctor:
    """Findings of one run: check → (state, said, todo), the gravest of each."""

    def __init__(self, data: Path, env: Mapping[str, str], before: list[str] | None = None) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("OSTIARY_")}  # noqa: TID251 - the environment of what it starts
        done = subprocess.run(
            [*(before or []), *OSTIARY, "doctor", "--data", str(data), "--json"],
            env={**clean, **env}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode in {0, 1} and not done.stderr, done.stderr
        self.status = done.returncode
        self.all: list[dict[str, str]] = json.loads(done.stdout)

    def of(self, check: str) -> list[tuple[str, str]]:
        return [
            (each["state"], f"{each['said']} {each['todo']}")
            for each in self.all
            if each["check"] == check
        ]

    def said(self, check: str, state: str) -> str:
        """What a check says in this state."""
        told = " ".join(text for at, text in self.of(check) if at == state)
        assert told, self.all
        return told


@pytest.fixture(scope="module")
def stage(shared_stage: Stage) -> Stage:
    return shared_stage


@pytest.fixture
def settled(stage: Stage) -> Iterator[Stage]:
    """With the settings of before at the end."""
    yield stage
    stage.done("PUT", "v2/settings", {"console_url": "", "gateway_url": "", "trusted_proxies": []})


def _run(stage: Stage, authority: Authority, **more: str) -> Doctor:
    env = {
        "SSL_CERT_FILE": str(authority.path),
        "OSTIARY_GATEWAY_BIND": f"127.0.0.1:{stage.gateway}",
        "OSTIARY_CONTROL_BIND": f"127.0.0.1:{stage.control}",
        **more,
    }
    return Doctor(stage.data, env)


def _binds() -> dict[str, str]:
    return {
        "OSTIARY_GATEWAY_BIND": f"127.0.0.1:{free_port()}",
        "OSTIARY_CONTROL_BIND": f"127.0.0.1:{free_port()}",
    }


def test_before_the_first_start_what_can_be_checked_is(tmp_path: Path) -> None:
    doctor = Doctor(tmp_path / "data", _binds())
    assert doctor.status == 0, doctor.all
    assert {each["check"] for each in doctor.all} == {
        "settings", "data folder", "disk space", "clock", "ports", "nginx", "console certificate",
        "gateway certificate", "name servers", "database server", "database", "console URL", "gateway URL", "parts",
    }  # fmt: skip
    assert "are free" in doctor.said("ports", "ok")
    assert doctor.said("database", "skipped")


def test_a_wrong_setting_is_a_problem(tmp_path: Path) -> None:
    doctor = Doctor(tmp_path, {"OSTIARY_CONSOLE_ULR": "x"})
    assert doctor.status == 1
    assert "no setting OSTIARY_CONSOLE_ULR" in doctor.said("settings", "problem")


def test_people_get_a_line_for_each_check(stage: Stage, authority: Authority) -> None:
    env = {k: v for k, v in stage.env.items() if k != "SSL_CERT_FILE"}
    done = subprocess.run(
        [*OSTIARY, "doctor", "--data", str(stage.data)],
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert all(line.split()[0] in {"ok", "skipped", "warning"} for line in lines)
    assert any("parts: Every part can do its work." in line for line in lines)
    assert stage.token not in done.stdout


def test_all_is_well_behind_a_proxy_as_the_manual_has_it(
    settled: Stage, authority: Authority, files: Files, tmp_path: Path
) -> None:
    ports = Ports(console=settled.control, gateway=settled.gateway, proxy=free_port())
    gateway = free_port()
    # Both have the name localhost here, so that each needs a port of its own.
    text = block("nginx", guide="nginx").replace("console.example.com", "localhost")
    head, _, rest = text.rpartition("listen 443 ssl")
    text = f"{head}listen 127.0.0.1:{gateway} ssl{rest}".replace("api.example.com", "localhost")
    url = f"https://localhost:{ports.proxy}"
    values = {
        "console_url": url,
        "gateway_url": f"https://localhost:{gateway}",
        "trusted_proxies": ["127.0.0.1"],
    }
    settled.done("PUT", "v2/settings", values)
    with nginx(text, tmp_path, ports, files):
        doctor = _run(settled, authority)
        assert doctor.status == 0, doctor.all
        for check in (
            "console URL",
            "gateway URL",
            "trusted proxies",
            "database",
            "parts",
            "ports",
        ):
            assert [state for state, _ in doctor.of(check)] == ["ok"], doctor.all
        assert url in doctor.said("console URL", "ok")
        # Without trust in the authority, and without trust in the proxy.
        settled.done("PUT", "v2/settings", {"trusted_proxies": []})
        doctor = _run(settled, authority, SSL_CERT_FILE=str(tmp_path / "nginx.conf"))
        assert doctor.status == 0, doctor.all
        assert "does not trust the certificate" in doctor.said("console URL", "warning")
        assert "does not trust the certificate" in doctor.said("gateway URL", "warning")
        assert "127.0.0.1 speaks for callers" in doctor.said("trusted proxies", "warning")


def test_nginx_as_it_comes_is_told_what_it_leaves_out(
    settled: Stage, authority: Authority, files: Files, tmp_path: Path
) -> None:
    ports = Ports(console=settled.control, gateway=settled.gateway, proxy=free_port())
    settled.done(
        "PUT", "v2/settings",
        {"console_url": f"https://localhost:{ports.proxy}", "trusted_proxies": ["127.0.0.1"]},
    )  # fmt: skip
    text = AS_IT_COMES.replace("console.example.com", "localhost")
    with nginx(text, tmp_path, ports, files):
        doctor = _run(settled, authority)
    assert doctor.status == 0
    assert "which asks for http://127.0.0.1" in doctor.said("console URL", "ok")
    assert "sent no caller's address" in doctor.said("trusted proxies", "warning")


class _Stranger(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None: ...


def test_public_urls_that_lead_elsewhere_are_problems(settled: Stage, authority: Authority) -> None:
    closed = f"https://localhost:{free_port()}"
    settled.done("PUT", "v2/settings", {"console_url": closed, "gateway_url": closed})
    doctor = _run(settled, authority)
    assert doctor.status == 1
    for check in ("console URL", "gateway URL"):
        assert f"Nothing answers at {closed}." in doctor.said(check, "problem")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Stranger) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stranger = f"http://127.0.0.1:{server.server_address[1]}"
        settled.done("PUT", "v2/settings", {"console_url": stranger, "gateway_url": stranger})
        doctor = _run(settled, authority)
        secure = stranger.replace("http:", "https:")
        settled.done("PUT", "v2/settings", {"console_url": secure, "gateway_url": ""})
        plain = _run(settled, authority)
        server.shutdown()
    assert doctor.status == 1
    for check in ("console URL", "gateway URL"):
        assert "Something else than this" in doctor.said(check, "problem")
    assert "does not speak TLS" in plain.said("console URL", "problem")
    settled.done("PUT", "v2/settings", {"console_url": "https://no-such.invalid"})
    assert "is not known here" in _run(settled, authority).said("console URL", "problem")


def test_another_environment_than_that_of_the_start_is_told(
    stage: Stage, authority: Authority
) -> None:
    doctor = _run(stage, authority, OSTIARY_CONSOLE_URL=f"http://localhost:{stage.control}")
    assert "was not set at the start" in doctor.said("console URL", "warning")


def test_nobody_else_is_told_how_a_request_arrives(stage: Stage) -> None:
    for headers in ({}, {"X-Ostiary-Doctor": "x"}, {"X-Ostiary-Doctor": "InF1ZXN0aW9uIg:1x:sig"}):
        answer = stage.api("GET", "../doctor", headers=headers)
        assert answer.status in {404, 400}


@pytest.mark.parametrize(
    ("days", "state", "words"),
    [(60, "ok", "ends on"), (5, "warning", "Renew"), (-1, "problem", "refuse it")],
)
def test_certificates_that_end_are_seen(
    authority: Authority, tmp_path: Path, days: int, state: str, words: str
) -> None:
    files = authority.issue("console.example.com", stem=f"days{days}", days=days)
    env = {
        **_binds(),
        "OSTIARY_CERTIFICATE": str(files.both),
        "OSTIARY_CONSOLE_CERTIFICATE": str(files.certificate),
        "OSTIARY_CONSOLE_KEY": str(files.key),
    }
    doctor = Doctor(tmp_path / "data", env)
    assert doctor.status == (1 if state == "problem" else 0)
    for check in ("console certificate", "gateway certificate"):
        told = doctor.said(check, state)
        assert words in told
        assert "console.example.com" in told


def test_files_that_are_no_certificate_and_key_are_problems(
    authority: Authority, tmp_path: Path
) -> None:
    one, other = (authority.issue("localhost", stem=stem) for stem in ("one", "other"))
    env = {
        **_binds(),
        "OSTIARY_CERTIFICATE": str(one.certificate),
        "OSTIARY_CONSOLE_CERTIFICATE": str(one.certificate),
        "OSTIARY_CONSOLE_KEY": str(other.key),
    }
    doctor = Doctor(tmp_path / "data", env)
    assert doctor.status == 1
    told = doctor.said("console certificate", "problem")
    assert told.startswith("OSTIARY_CONSOLE_KEY: the key in ")
    assert "must hold a certificate and its private key" in doctor.said(
        "gateway certificate", "problem"
    )
    missing = Doctor(tmp_path / "data", env | {"OSTIARY_CERTIFICATE": str(tmp_path / "gone.pem")})
    assert "can't be read: no such file" in missing.said("gateway certificate", "problem")


def test_a_port_that_is_taken_and_an_open_folder_are_problems(stage: Stage, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    binds = {**_binds(), "OSTIARY_CONTROL_BIND": f"127.0.0.1:{stage.control}"}
    doctor = Doctor(data, binds)
    assert doctor.status == 1
    assert f"Port {stage.control} on 127.0.0.1 is in use" in doctor.said("ports", "problem")
    assert f"chmod 700 {data}" in doctor.said("data folder", "problem")


def test_name_servers_that_are_silent_are_seen(tmp_path: Path) -> None:
    with NameServer() as server:
        words = wrapping(server, tmp_path)
        if not words:
            pytest.skip("no mount namespaces here")
        assert "answered" in Doctor(tmp_path / "data", _binds(), words).said("name servers", "ok")
        server.silent.add("*")
        doctor = Doctor(tmp_path / "data", _binds(), words)
    assert doctor.status == 1
    assert server.host in doctor.said("name servers", "problem")


def test_a_lost_key_ring_is_a_problem_and_not_a_fresh_folder(tmp_path: Path) -> None:
    (tmp_path / "ostiary.sqlite3").touch()
    found = Doctor(tmp_path, {})
    assert found.status == 1
    assert "key ring keyring.json is missing" in found.said("database", "problem")


def test_a_data_folder_that_is_a_file_is_said(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_text("no folder")
    doctor = Doctor(data, _binds())
    assert doctor.status == 1
    assert f"{data} is a file." in doctor.said("data folder", "problem")
    assert "is a file" in doctor.said("database", "skipped")


def test_a_key_ring_that_others_can_read_is_for_chmod_not_for_a_backup(stage: Stage) -> None:
    ring = stage.data / "keyring.json"
    ring.chmod(0o644)
    try:
        doctor = Doctor(stage.data, {})
    finally:
        ring.chmod(0o600)
    assert f"chmod 600 {ring}" in doctor.said("data folder", "problem")
    assert "backup" not in doctor.said("database", "problem")


def test_postgresql_that_does_not_answer_is_said_in_its_own_words(tmp_path: Path) -> None:
    """At once, and before anything waits for a connection of the pool."""
    url = f"postgres://ostiary:a-secret@127.0.0.1:{free_port()}/ostiary"
    doctor = Doctor(tmp_path, {"OSTIARY_DATABASE_URL": url, **_binds()})
    assert "Connection refused" in doctor.said("database server", "problem")
    assert "has to answer first" in doctor.said("database", "skipped")
    assert "a-secret" not in json.dumps(doctor.all)
