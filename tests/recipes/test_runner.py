"""Recipes behind the real gateway: what they get, and how they fail without hurting anybody."""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.stage import Answer, Stage, running, wait_for

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

SOURCE = '''
import os, signal, subprocess, time
from pydantic import BaseModel
from ostiary.recipes import Context, recipe

class Nothing(BaseModel):
    pass

class Wait(BaseModel):
    seconds: float = 0

class Number(BaseModel):
    value: int

@recipe(name="whoami")
def whoami(context: Context) -> dict:
    """Tells what it was told."""
    return {"address": context.address, "client": context.caller.client,
            "profile": context.caller.profile, "method": context.caller.auth_method,
            "request_id": context.request_id, "headers": dict(context.headers), "uid": os.getuid(),
            "environment": sorted(os.environ)}

@recipe(name="square")
def square(number: Number) -> Number:
    return Number(value=number.value ** 2)

@recipe(name="later")
async def later(wait: Wait) -> str:
    return "done"

@recipe(name="fails")
def fails(nothing: Nothing) -> int:
    raise RuntimeError("the inner reason")

@recipe(name="lies")
def lies(nothing: Nothing) -> int:
    return "no number"

@recipe(name="hangs")
def hangs(nothing: Nothing) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        pass

@recipe(name="sleeps")
def sleeps(wait: Wait) -> str:
    time.sleep(wait.seconds)
    return "slept"

@recipe(name="eats")
def eats(nothing: Nothing) -> int:
    return len([bytearray(50_000_000) for _ in range(1000)])

@recipe(name="leaves")
def leaves(nothing: Nothing) -> int:
    os._exit(3)

@recipe(name="breeds")
def breeds(wait: Wait) -> int:
    child = subprocess.Popen(["sleep", "600"])
    time.sleep(wait.seconds)
    return child.pid

@recipe(name="reads")
def reads(nothing: Nothing) -> str:
    return open("@data@/keyring.json").read()
'''


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    data = tmp_path_factory.mktemp("data")
    (data / "recipes").mkdir()
    (data / "recipes" / "some.py").write_text(SOURCE.replace("@data@", str(data)))
    with running(data) as stage:
        yield stage


@pytest.fixture(scope="module")
def token(stage: Stage) -> str:
    """A profile that may call every recipe, at `/r-v1/<name>`."""
    collection = stage.done("POST", "api_collections", {"name": "R", "handle": "r-v1"})
    for recipe in stage.done("GET", "recipes"):
        seconds = {"hangs": 8, "breeds": 2}.get(recipe["name"])
        stage.an_endpoint(
            collection,
            f"POST /{recipe['name']}",
            flow_id=recipe["id"],
            timeout_seconds=seconds,
        )
    secret: str = stage.a_profile(collection)["secret"]
    return secret


def run(stage: Stage, token: str, name: str, content: object | None = None) -> Answer:
    body = json.dumps(content if content is not None else {}).encode()
    headers = {"Content-Type": "application/json", "X-Mine": "yes", "X-Ostiary-Profile": "999"}
    return stage.call(f"/r-v1/{name}", token, method="POST", headers=headers, body=body)


def test_recipes_are_listed_with_their_schemas(stage: Stage, token: str) -> None:
    found = {recipe["name"]: recipe for recipe in stage.done("GET", "recipes")}
    assert found["whoami"]["description"] == "Tells what it was told."
    assert found["square"]["input_schema"]["required"] == ["value"]
    assert found["square"]["running"]
    assert found["square"]["error"] is None


def test_a_recipe_is_told_who_calls_and_runs_without_rights(stage: Stage, token: str) -> None:
    told = run(stage, token, "whoami").json
    assert told["address"] == "127.0.0.1"
    assert told["method"] == "token"
    assert told["profile"] != 999
    assert told["headers"]["x-mine"] == "yes"
    assert token not in json.dumps(told)
    assert not any("ostiary" in name.lower() for name in told["environment"])
    if os.geteuid() == 0:
        assert told["uid"] != 0


def test_good_input_is_answered_and_bad_input_named(stage: Stage, token: str) -> None:
    assert run(stage, token, "square", {"value": 7}).json == {"value": 49}
    assert run(stage, token, "later").json == "done"
    answer = run(stage, token, "square", {"value": "x"})
    assert answer.status == 400
    assert answer.json["reason"] == "input_invalid"
    assert list(answer.json["errors"]) == ["value"]


@pytest.mark.parametrize("name", ["fails", "lies", "eats", "leaves"])
def test_a_failure_is_422_and_its_reason_is_for_the_owner(
    stage: Stage, token: str, name: str
) -> None:
    answer = run(stage, token, name)
    assert answer.status == 422, answer.body
    assert answer.json["reason"] == "recipe_failed"
    assert "inner reason" not in answer.body.decode()
    assert run(stage, token, "square", {"value": 2}).status == 200


def test_a_recipe_cannot_read_the_keys(stage: Stage, token: str) -> None:
    answer = run(stage, token, "reads")
    if os.geteuid() == 0:
        assert answer.status == 422
    assert "issue_key" not in answer.body.decode() or os.geteuid() != 0


def test_one_that_hangs_is_ended_and_hurts_nobody(stage: Stage, token: str) -> None:
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(run(stage, token, "hangs")))
    thread.start()
    for _ in range(5):
        assert run(stage, token, "square", {"value": 3}).status == 200
    # It hangs still: nobody waited for its end.
    assert not answers
    thread.join()
    assert answers[0].status == 504
    assert answers[0].json["reason"] == "upstream_timeout"


def test_what_it_started_ends_with_it(stage: Stage, token: str) -> None:
    def sleepers() -> set[str]:
        return {
            path.parent.name
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if _read(path) == b"sleep\x00600\x00"
        }

    before = sleepers()
    assert run(stage, token, "breeds", {"seconds": 30}).status == 504
    wait_for(lambda: sleepers() <= before, what="the grandchild gone")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_more_than_it_can_take_is_refused_with_503(stage: Stage, token: str) -> None:
    statuses: list[Answer] = []

    def call() -> None:
        statuses.append(run(stage, token, "sleeps", {"seconds": 0.3}))

    threads = [threading.Thread(target=call) for _ in range(90)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [answer for answer in statuses if answer.status == 503]
    assert refused
    assert {answer.status for answer in statuses} == {200, 503}
    assert refused[0].json["reason"] == "overloaded"
    assert refused[0].headers["retry-after"]


def test_a_body_that_is_too_large_is_refused(stage: Stage, token: str) -> None:
    answer = stage.call("/r-v1/square", token, method="POST", body=b"x" * (6 * 1024 * 1024))
    assert answer.status == 413


def test_a_stopped_recipe_is_not_there(stage: Stage, token: str) -> None:
    found = {recipe["name"]: recipe["id"] for recipe in stage.done("GET", "recipes")}
    stage.done("PUT", f"recipes/{found['square']}/stop")
    assert run(stage, token, "square", {"value": 2}).status == 404
    stage.done("PUT", f"recipes/{found['square']}/start")
    assert run(stage, token, "square", {"value": 2}).status == 200


def test_an_edit_is_picked_up_and_a_broken_one_changes_nothing(stage: Stage, token: str) -> None:
    path = stage.data / "recipes" / "some.py"
    source = path.read_text()
    try:
        path.write_text(source.replace("number.value ** 2", "number.value ** 3"))
        wait_for(lambda: run(stage, token, "square", {"value": 2}).json == {"value": 8})
        path.write_text(source + "\nthis is no Python")

        def told() -> bool:
            found = {recipe["name"]: recipe for recipe in stage.done("GET", "recipes")}
            return "SyntaxError" in (found["square"]["error"] or "")

        wait_for(told, what="the error shown")
        assert run(stage, token, "square", {"value": 2}).json == {"value": 8}
    finally:
        path.write_text(source)
    wait_for(lambda: run(stage, token, "square", {"value": 2}).json == {"value": 4})
