"""`ostiary protect` puts an API behind the gateway in one command, and says what is wrong with one that fails."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.stage import OSTIARY, Stage, Upstream, free_port

pytestmark = [pytest.mark.gateway, pytest.mark.slow]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


def protect(stage: Stage, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*OSTIARY, "protect", *words, "--data", str(stage.data)],
        env=stage.env, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_an_api_answers_401_without_and_200_with_the_printed_token(
    shared_stage: Stage, upstream: Upstream
) -> None:
    done = protect(shared_stage, upstream.url, "--name", "Books")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^HTTP ok +\d+ ms  GET / answered 200\.$", done.stdout, re.MULTILINE)
    assert "Without a token (401):" in done.stdout
    assert "With the token (200):" in done.stdout
    token = re.findall(r"API-TOKEN: ([^']+)'", done.stdout)[0]
    path = re.findall(r"(/books-v1\S*)", done.stdout)[0]
    assert shared_stage.call(path).status == 401
    assert shared_stage.call(path, token).status == 200
    assert shared_stage.call("/books-v1/any/path?x=1", token, method="POST").status == 200


def test_a_second_run_changes_nothing_and_says_so(shared_stage: Stage, upstream: Upstream) -> None:
    first = protect(shared_stage, upstream.url)
    before = shared_stage.done("GET", "v2/api_clients")["data"]
    second = protect(shared_stage, upstream.url)
    assert (first.returncode, second.returncode) == (0, 0)
    assert "is protected already; nothing was changed." in second.stdout
    assert "API-TOKEN" not in second.stdout
    assert shared_stage.done("GET", "v2/api_clients")["data"] == before


def test_the_endpoints_are_those_of_a_document(
    shared_stage: Stage, upstream: Upstream, tmp_path: Path
) -> None:
    answers = {"responses": {"200": {"description": "OK"}}}
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Shop", "version": "1"},
        "paths": {"/books": {"get": answers}, "/books/{id}": {"delete": answers}},
    }
    file = tmp_path / "shop.json"
    file.write_text(json.dumps(document))
    done = protect(shared_stage, upstream.url, "--name", "Shop", "--openapi", str(file))
    assert done.returncode == 0, done.stderr
    assert "With the token (200):" in done.stdout
    token = re.findall(r"API-TOKEN: ([^']+)'", done.stdout)[0]
    assert shared_stage.call("/shop-v1/books", token).status == 200
    assert shared_stage.call("/shop-v1/elsewhere", token).status == 404


def test_an_api_that_does_not_answer_is_not_protected(shared_stage: Stage) -> None:
    port = free_port()
    before = shared_stage.done("GET", "connections")
    done = protect(shared_stage, f"http://127.0.0.1:{port}")
    assert done.returncode == 1
    assert f"Nothing listens on port {port} of 127.0.0.1." in done.stdout
    assert done.stderr == (
        "ostiary: Nothing was created, because the API does not answer."
        " Start your API, or correct the port.\n"
    )
    assert shared_stage.done("GET", "connections") == before


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "ftp://127.0.0.1", "nonsense"])
def test_no_request_goes_where_no_connection_may_lead(shared_stage: Stage, url: str) -> None:
    done = protect(shared_stage, url)
    assert (done.returncode, done.stdout) == (1, "")
