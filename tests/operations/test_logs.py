"""What the parts say: one event a line for machines, and never a secret, whatever was sent to them."""

import base64
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.stage import Stage, Upstream, ask, raw, running, wait_for

from ostiary.telemetry import logs

CANARY = "canary-in-a-body-that-nobody-may-log"

RECIPE = '''
from pydantic import BaseModel
from ostiary.recipes import Context, recipe


class Given(BaseModel):
    word: str


class Told(BaseModel):
    word: str


@recipe(name="leaky", version="1.0")
def leaky(given: Given, context: Context) -> Told:
    """Fails."""
    raise RuntimeError(given.word)
'''


@pytest.fixture(scope="module", params=["json", "text"])
def told(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Stage, set[str]]]:
    """A product in which every secret was used, rightly and wrongly, and parts died meanwhile."""
    data = tmp_path_factory.mktemp("data")
    (data / "recipes").mkdir()
    (data / "recipes" / "leaky.py").write_text(RECIPE)
    with running(data, env={"OSTIARY_LOG_FORMAT": request.param}) as stage:
        secrets = use_everything(stage)
        yield request.param, stage, secrets


def use_everything(stage: Stage) -> set[str]:
    """Use what is secret in every way there is; the secrets."""
    upstream = Upstream()
    secrets = {stage.token, CANARY}
    things = stage.a_collection(upstream)
    key = "a-shared-secret-of-a-jwt-profile-long-enough"
    upstream_secret = "what-we-tell-the-upstream"
    profiles: list[Any] = [
        stage.a_profile(things),
        stage.a_profile(things, auth_type="oauth2"),
        stage.a_profile(things, auth_type="jwt", jwt_method="hmac", jwt_secret=key),
    ]
    stage.done("POST", "connections", {"name": "Secretive", "input": {
        "base_url": upstream.url, "auth_type": "header",
        "auth_name": "X-Key", "auth_secret": upstream_secret}})  # fmt: skip
    secrets |= {key, upstream_secret, profiles[0]["secret"], profiles[1]["oauth_client_secret"]}
    refreshed = stage.done("PUT", f"api_access_profiles/{profiles[0]['id']}/refresh_secret")
    secrets.add(refreshed["result"]["secret"])
    stage.done("PUT", "v2/settings", {"fetch_hosts": ["127.0.0.1"]})
    webhook = stage.done("POST", "v2/webhooks", {
        "name": "W", "url": f"{upstream.url}/{CANARY}/status/500?{CANARY}",
        "events": ["quota.reached"]})["data"]  # fmt: skip
    stage.done("POST", f"v2/webhooks/{webhook['id']}/test")
    secrets.add(webhook["secret"])
    link = stage.command("member", "create", "--email", "a@example.com").strip()
    secrets.add(link.partition("#")[2])
    for broken in (None, "authority", "recipes"):
        if broken:
            stage.kill(broken)
        for secret in sorted(secrets):
            present_everywhere(stage, things, secret)
    wait_for(lambda: stage.call(f"/{things['handle']}/things", "x").status == 401)
    failing(stage)
    for part in ("control", "collector"):
        stage.kill(part)
    wait_for(lambda: stage.lines.count("collector ready") >= 2)
    wait_for(lambda: stage.lines.count("control ready") >= 2)
    upstream.close()
    return secrets


def present_everywhere(stage: Stage, things: Any, secret: str) -> None:
    basic = base64.b64encode(f"api-token:{secret}".encode()).decode()
    path = f"/{things['handle']}/things"
    for headers in (
        {"API-TOKEN": secret}, {"Authorization": f"Bearer {secret}"},
        {"Authorization": f"Basic {basic}"}, {"API-TOKEN": secret + "x", "Cookie": secret},
    ):  # fmt: skip
        stage.call(path, headers=headers, method="POST", body=secret.encode())
        ask(stage.control, "GET", "/api/api_clients", headers=headers)
    stage.call(f"{path}?token={secret}", secret)
    stage.call("/oauth2/token", method="POST", body=f"grant_type={secret}".encode(),
               headers={"Content-Type": "application/x-www-form-urlencoded"})  # fmt: skip
    ask(stage.control, "GET", f"/clients?search={secret}")
    ask(stage.control, "GET", f"/no-such/{secret}")
    ask(stage.control, "POST", "/sign-in", body=f"password={secret}".encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded"})  # fmt: skip
    stage.api("POST", "api_clients", {"name": {"x": secret}})
    stage.api("POST", "api_clients", {secret: 1})
    ask(stage.control, "GET", "/metrics", headers={"Authorization": f"Bearer {secret}"})
    raw(stage.control, f"GET / HTTP/1.1\r\nHost: x\r\nbad header {secret}\r\n\r\n".encode())


def failing(stage: Stage) -> None:
    """A recipe that fails over its input."""
    collection = stage.done("POST", "api_collections", {"name": "R", "kind": "recipe"})
    wait_for(lambda: any(r["name"] == "leaky" for r in stage.done("GET", "recipes")))
    recipe = next(r for r in stage.done("GET", "recipes") if r["name"] == "leaky")
    stage.done("PUT", f"recipes/{recipe['id']}/start")
    stage.done(
        "POST", f"api_collections/{collection['id']}/api_endpoints",
        {"name": "leaky", "method": "POST", "path": "/leaky", "active": True,
         "flow_id": recipe["id"]},
    )  # fmt: skip
    profile = stage.a_profile(collection)
    answer = stage.call(
        f"/{collection['handle']}/leaky", profile["secret"], method="POST",
        headers={"Content-Type": "application/json"}, body=json.dumps({"word": CANARY}).encode(),
    )  # fmt: skip
    assert answer.status == 422


@pytest.mark.gateway
@pytest.mark.slow
def test_no_secret_is_in_any_line(told: tuple[str, Stage, set[str]]) -> None:
    _, stage, secrets = told
    whole = "\n".join(stage.lines)
    for secret in secrets:
        assert secret not in whole, secret
        assert base64.b64encode(f"api-token:{secret}".encode()).decode() not in whole


@pytest.mark.gateway
@pytest.mark.slow
def test_for_machines_every_line_is_an_event(told: tuple[str, Stage, set[str]]) -> None:
    form, stage, _ = told
    if form == "text":
        assert not any(line.startswith("{") for line in stage.printed)
        return
    events = [json.loads(line) for line in stage.printed]
    for event in events:
        assert {"time", "level", "part", "event"} <= set(event), event
        assert event["level"] in {"debug", "info", "warning", "error", "critical"}
        assert datetime.fromisoformat(event["time"]).tzinfo is not None
    assert {"supervisor", "control", "gateway"} <= {event["part"] for event in events}
    requests = [event for event in events if event["event"] == "request"]
    assert len({event["request_id"] for event in requests}) == len(requests) > 20
    made = [e for e in requests if e["method"] == "POST" and e["route"] == "api/api_clients"]
    assert {e["status"] for e in made} >= {200, 400}
    assert any(re.fullmatch(r"token:\d+", e["by"]) for e in made)
    died = [event["name_of_part"] for event in events if event["event"] == "part died"]
    assert {"authority", "recipes", "control", "collector"} <= set(died)
    failed = [e for e in events if e["part"] == "recipes" and "leaky" in e["event"]]
    assert failed
    assert failed[0]["request_id"]


@pytest.mark.gateway
@pytest.mark.slow
def test_an_answers_id_finds_its_line(told: tuple[str, Stage, set[str]]) -> None:
    form, stage, _ = told
    number = stage.api("GET", "api_clients").headers["x-request-id"]
    if form == "json":
        wait_for(lambda: any(number in line for line in stage.lines))


def record(text: str, *values: object, **more: Any) -> str:
    formatter = logs._Json("here")
    return formatter.format(
        logging.LogRecord("ostiary.x", logging.WARNING, "f", 1, text, values, None, **more)
    )


@pytest.mark.parametrize(
    "secret",
    [
        "ost_abcdefghijklmnopqrstuvwxyz0123456789", "ostm_abcdefghijklmnop", "osts_abcdefghijk",
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0",
        "Bearer some-opaque-token", "Basic YXBpLXRva2VuOng=", "postgres://user:pass@host/db",
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_is_taken_out_of_events_and_traces(secret: str) -> None:
    hidden = secret.removeprefix("Bearer ").removeprefix("Basic ").replace("postgres://", "")
    hidden = hidden.partition("@")[0]
    assert hidden not in record("it was %s", secret)
    try:
        raise ValueError(f"wrong: {secret}")
    except ValueError:
        formatter = logs._Json("here")
        trace = logging.LogRecord("x", logging.ERROR, "f", 1, "m", (), sys.exc_info())
        assert hidden not in formatter.format(trace)
        assert "ValueError" in formatter.format(trace)
    assert hidden not in logs.relayed("gateway", f"[ALERT] (12) : {secret}", "json")
    assert hidden not in logs.relayed("gateway", secret, "text")


def test_an_event_is_one_line_whatever_is_in_it() -> None:
    line = record("a\nb\r\u2028 %s", '{"part": "control"}')
    assert "\n" not in line
    assert json.loads(line)["event"].startswith("a\nb")


def test_a_recipe_cannot_speak_for_another_part() -> None:
    forged = json.dumps({"part": "authority", "event": "all is well", "level": "info"})
    told = json.loads(logs.relayed("recipes", forged, "json"))
    assert (told["part"], told["event"]) == ("recipes", forged)
    own = json.dumps({"part": "recipes", "event": "x", "level": "info"})
    assert logs.relayed("recipes", own, "json") == own


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (
            "2026/11/28 01:18:27 [error] 123#124: *5 connect() failed (111: Connection refused)",
            {
                "time": "2026-11-28T01:18:27.000Z",
                "level": "error",
                "event": "connect() failed (111: Connection refused)",
                "pid": 123,
                "connection": 5,
            },
        ),
        (
            "2026/11/28 01:18:27 [notice] 123#123: signal 3 (SIGQUIT) received",
            {"level": "info", "event": "signal 3 (SIGQUIT) received", "pid": 123},
        ),
        (
            '2026/11/28 01:18:27 [warn] 1#1: *2 x, request: "GET /a?key=s3cret HTTP/1.1", host: "b"',
            {"level": "warning", "event": 'x, request: "GET /a?*** HTTP/1.1", host: "b"'},
        ),
        (
            "nginx: [emerg] invalid port in 7",
            {"level": "critical", "event": "invalid port in 7"},
        ),
    ],
    ids=["of a connection", "of the process", "with a query", "before its log is open"],
)  # fmt: skip
def test_nginxs_lines_become_events(line: str, fields: dict[str, Any]) -> None:
    event = json.loads(logs.relayed("gateway", line, "json"))
    assert {name: event[name] for name in fields} == fields
    assert (event["part"], event["logger"]) == ("gateway", "nginx")


def test_what_is_no_line_of_nginxs_log_is_passed_on() -> None:
    event = json.loads(logs.relayed("gateway", "2026/99/99 anything [error]", "json"))
    assert (event["level"], event["event"]) == ("info", "2026/99/99 anything [error]")
    assert logs.relayed("gateway", "GET /a?key=s3cret HTTP/1.1", "text") == (
        "gateway: GET /a?*** HTTP/1.1"
    )


def test_a_part_that_ends_by_an_error_says_so_in_one_line(tmp_path: Path) -> None:
    program = "from ostiary.telemetry import logs; logs.set_up('collector', 'json'); 1 / 0"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False,
        env={**os.environ},  # noqa: TID251 - the environment of what it starts
    )  # fmt: skip
    event = json.loads(done.stderr)
    assert (event["level"], event["part"]) == ("critical", "collector")
    assert "ZeroDivisionError" in event["exc_info"]


def test_a_wrong_form_is_one_sentence() -> None:
    from ostiary.settings import SettingsError, load

    with pytest.raises(SettingsError, match="json or text"):
        load({"OSTIARY_LOG_FORMAT": "xml"})
