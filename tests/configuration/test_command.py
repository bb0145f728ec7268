"""`ostiary config` against a running Ostiary: export, plan, apply, drift, convert, and their exit statuses."""

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.stage import OSTIARY, Stage, Upstream, wait_for

pytestmark = pytest.mark.slow

FILES = {
    "ostiary.yaml": """
format: 1
set: payments
project: Home
""",
    "platform.yaml": """
policies:
  - key: standard
    name: Standard
    rate_limits: [{limit: 100, interval: minute}]
connections:
  - key: orders
    name: Orders
    base_url: {env: ORDERS_URL}
    auth_type: header
    auth_name: X-Key
    auth_secret: {env: ORDERS_KEY}
collections:
  - key: orders-v1
    name: Orders
    kind: proxy
    connection: orders
    endpoints:
      - {method: GET, path: /orders, name: List, active: true}
""",
    "clients/acme.yaml": """
clients:
  - key: acme
    name: ACME
    labels: {env: production}
    profiles:
      - key: nightly
        name: Nightly
        auth_type: token
        collections: [orders-v1]
        policy: standard
""",
}


class Done(NamedTuple):
    status: int
    out: str
    error: str


class Command:
    """The command as a client, with a token in the environment."""

    def __init__(self, stage: Stage, folder: Path, upstream: Upstream) -> None:
        self.stage, self.folder = stage, folder
        self.env = {
            **stage.env,
            "OSTIARY_URL": f"http://127.0.0.1:{stage.control}",
            "OSTIARY_TOKEN": stage.token,
            "ORDERS_URL": upstream.url,
            "ORDERS_KEY": "opensesame",
        }

    def __call__(self, *words: str, **env: str) -> Done:
        done = subprocess.run(
            [*OSTIARY, "config", *words], env={**self.env, **env}, cwd=self.folder,
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert "opensesame" not in done.stdout + done.stderr
        assert self.stage.token not in done.stdout + done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def write(self, name: str, content: str) -> None:
        path = self.folder / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


@pytest.fixture
def command(shared_stage: Stage, upstream: Upstream, tmp_path: Path) -> Command:
    shared_stage.clear()
    command = Command(shared_stage, tmp_path, upstream)
    for name, content in FILES.items():
        command.write(name, content)
    return command


def test_a_folder_is_planned_applied_and_exported_to_the_same(command: Command) -> None:
    planned = command("plan", "files")
    assert planned.status == 2, planned.error
    assert "+ Create the access profile nightly" in planned.out
    asked = command("apply", "files")
    assert (asked.status, "say --yes" in asked.error) == (1, True)
    done = command("apply", "files", "--yes", "--secrets-file", "secrets.json", "--commit", "abc")
    assert done.status == 0, done.error
    secrets = command.folder / "secrets.json"
    assert secrets.stat().st_mode & 0o777 == 0o600
    (issued,) = json.loads(secrets.read_text())
    assert issued["secret"] not in done.out
    stage = command.stage
    wait_for(lambda: stage.call("/orders-v1/orders", issued["secret"]).status == 200)
    assert command("plan", "files").status == 0
    assert command("export", "out", "--set", "payments").status == 0
    again = command("plan", "out", CONNECTION_ORDERS_AUTH_SECRET="opensesame")
    assert (again.status, again.out.splitlines()[-1]) == (0, "No changes; 6 unchanged.")
    first = {p: p.read_bytes() for p in (command.folder / "out").rglob("*") if p.is_file()}
    assert command("export", "out", "--set", "payments").status == 1
    assert command("export", "out", "--set", "payments", "--overwrite").status == 0
    assert {p: p.read_bytes() for p in (command.folder / "out").rglob("*") if p.is_file()} == first


def test_a_reviewed_plan_is_applied_as_it_was_or_refused(command: Command) -> None:
    assert command("apply", "files", "--yes").status == 0
    command.write("clients/acme.yaml", FILES["clients/acme.yaml"].replace("ACME", "ACME Ltd"))
    planned = command("plan", "files", "--out", "plan.json", "--output", "markdown")
    assert planned.status == 2
    assert "| ~ | Change the client acme | name: ACME → ACME Ltd |" in planned.out
    assert command("apply", "plan.json", "--yes").status == 0
    again = command("apply", "plan.json", "--yes")
    assert (again.status, again.error) == (1, "ostiary: The plan was applied already\n")
    command.write("clients/acme.yaml", FILES["clients/acme.yaml"].replace("ACME", "Acme"))
    command("plan", "files", "--out", "plan.json")
    (client,) = command.stage.done("GET", "api_clients")
    command.stage.done("PUT", f"api_clients/{client['id']}", {"name": "By hand"})
    moved = command("apply", "plan.json", "--yes")
    assert moved.status == 1
    assert "plan again" in moved.error
    drift = command("drift", "files")
    assert drift.status == 2
    assert "name: ACME Ltd → By hand (files: Acme)" in drift.out


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("wrong.yaml", "policies:\n  - key: a\n    colour: red\n", "wrong.yaml:3: colour: isn't a field"),
        ("wrong.yaml", "policies:\n  - key: a\n    key: b\n", "wrong.yaml:3: key stands here twice"),
        ("wrong.yaml", "policies: [\n", "wrong.yaml, line 2: not valid YAML"),
        ("wrong.yaml", "set: other\n", "wrong.yaml:1: set is another one than in ostiary.yaml:3"),
        ("wrong.yaml", "clients:\n  - &a {key: a, name: a}\n  - *a\n", "wrong.yaml:2: is an alias"),
        ("wrong.yaml", "policies:\n- key: p\n  name: {env: NO_SUCH}\n", "the variable NO_SUCH is not set"),
        ("wrong.yaml", "clients:\n- key: acme\n  name: Twice\n", "wrong.yaml:2: has the key of"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_file_and_line(
    command: Command, name: str, content: str, said: str
) -> None:
    command.write(name, content)
    done = command("plan", "files")
    assert done.status == 1
    assert said in done.error


def test_wrong_use_is_an_error_and_no_change(command: Command) -> None:
    assert command("plan").status == 1
    assert command("plan", "nowhere").status == 1
    assert command("plan", "files", "--url", "http://127.0.0.1:1").status == 1
    assert "management token" in command("plan", "files", OSTIARY_TOKEN="").error
    wrong = command("plan", "files", OSTIARY_TOKEN="nonsense")
    assert (wrong.status, wrong.error) == (1, "ostiary: Unauthorized\n")
    (command.folder / "token").write_text(f"{command.stage.token}\n")
    assert command("plan", "files", "--token-file", "token", OSTIARY_TOKEN="").status == 2
    os.mkdir(command.folder / "empty")
    assert command("plan", "empty").status == 1


KONG: dict[str, Any] = {
    "_format_version": "3.0",
    "services": [
        {
            "name": "orders", "url": "UPSTREAM", "plugins": [{"name": "key-auth"}, {"name": "acl", "config": {"allow": ["partners"]}}],
            "routes": [{"name": "orders", "paths": ["/shop"], "strip_path": True}],
        },
        {"name": "open", "url": "http://192.0.2.1", "routes": [{"paths": ["/open"]}]},
    ],
    "consumers": [
        {
            "username": "acme", "acls": [{"group": "partners"}],
            "keyauth_credentials": [{"key": "kong-key-of-acme-0123456789abcdef"}],
            "plugins": [{"name": "rate-limiting", "config": {"minute": 3, "policy": "local"}}],
        },
        {"username": "stranger", "keyauth_credentials": [{"key": "kong-key-of-stranger-0123456789"}]},
    ],
    "plugins": [{"name": "cors"}],
}  # fmt: skip


def test_kongs_file_becomes_files_and_its_consumers_call_on(
    command: Command, upstream: Upstream
) -> None:
    text = json.dumps(KONG).replace("UPSTREAM", upstream.url)
    (command.folder / "kong.yaml").write_text(text)
    done = command("convert", "deck", "kong.yaml", "--out", "kong")
    assert done.status == 0, done.error
    assert "service open: asks for no credential" in done.out
    assert "the whole file, plugin cors: has no counterpart" in done.out
    assert "consumer stranger: may call no service" in done.out
    written = "".join(p.read_text() for p in (command.folder / "kong").rglob("*.yaml"))
    key = "kong-key-of-acme-0123456789abcdef"
    assert key not in written
    assert hashlib.sha256(key.encode()).hexdigest() in written
    applied = command("apply", "kong", "--yes")
    assert applied.status == 0, applied.error
    stage = command.stage

    def status() -> int:
        return stage.call("/shop/things", headers={"apikey": key}).status

    wait_for(lambda: status() == 200, what="the call with Kong's key")
    assert upstream.seen[-1].target == "/things"
    wait_for(lambda: status() == 429, what="the limit")
    assert command("plan", "kong").status == 0
