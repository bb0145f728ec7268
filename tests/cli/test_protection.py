"""`ostiary protect` puts an API behind the gateway in one command, and says what is wrong with one that fails."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.publishing.certificates import a_certificate
from tests.stage import OSTIARY, Stage, Upstream, free_port

pytestmark = [pytest.mark.gateway, pytest.mark.slow]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


def protect(
    stage: Stage, *words: str, secrets: str = "--print-secrets"
) -> subprocess.CompletedProcess[str]:
    options = [secrets] if secrets else []
    return subprocess.run(
        [*OSTIARY, "protect", *words, *options, "--data", str(stage.data)],
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


def test_the_token_is_printed_where_no_terminal_is_only_if_it_is_asked_for(
    shared_stage: Stage, upstream: Upstream
) -> None:
    done = protect(shared_stage, upstream.url, "--name", "Piped", secrets="")
    assert (done.returncode, done.stderr) == (0, "")
    assert "The token is not printed, because the output is not a terminal." in done.stdout
    assert "With the token (200):" in done.stdout
    assert re.findall(r"API-TOKEN: ([^']+)'", done.stdout) == ["TOKEN"]


def test_a_secret_file_has_the_token_and_the_output_does_not(
    shared_stage: Stage, upstream: Upstream, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    nowhere = tmp_path / "absent" / "token"
    refused = protect(shared_stage, upstream.url, "--secret-file", str(nowhere), "--name", "Filed")
    assert refused.returncode == 1
    assert shared_stage.done("GET", "connections?search=Filed") == []
    done = protect(shared_stage, upstream.url, "--secret-file", str(file), "--name", "Filed")
    assert done.returncode == 0, done.stderr
    token = file.read_text().strip()
    assert file.stat().st_mode & 0o777 == 0o600
    assert token not in done.stdout
    path = re.findall(r"(/filed-v1\S*)", done.stdout)[0]
    assert shared_stage.call(path, token).status == 200


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


def test_two_runs_at_once_create_one(shared_stage: Stage, upstream: Upstream) -> None:
    words = [
        *OSTIARY, "protect", upstream.url, "--name", "Twice", "--print-secrets",
        "--data", str(shared_stage.data),
    ]  # fmt: skip
    runs = [
        subprocess.Popen(words, env=shared_stage.env, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = sorted((run.communicate()[0] for run in runs), key=lambda text: "API-TOKEN" in text)
    assert [run.returncode for run in runs] == [0, 0]
    assert "is protected already; nothing was changed." in said[0]
    assert "With the token (200):" in said[1]
    found = shared_stage.done("GET", "connections?search=Twice")
    assert [each["name"] for each in found] == ["Twice"]


def test_a_name_that_is_taken_gets_an_address_of_its_own(shared_stage: Stage) -> None:
    servers = [Upstream(), Upstream()]
    try:
        done = [protect(shared_stage, each.url, "--name", "Same") for each in servers]
    finally:
        for each in servers:
            each.close()
    assert [each.returncode for each in done] == [0, 0]
    addresses = {re.findall(r"curl -i '?http://[^/]+(/[^/' ]+)", each.stdout)[0] for each in done}
    assert len(addresses) == 2


def test_a_private_authority_is_asked_for_and_then_trusted(
    shared_stage: Stage, upstream: Upstream, tmp_path: Path
) -> None:
    pem, key = a_certificate("localhost", tmp_path)
    upstream.speak_tls(pem, key)
    url = f"https://localhost:{upstream.port}"
    done = protect(shared_stage, url, "--name", "Private")
    assert done.returncode == 1
    assert "--ca-file FILE" in done.stderr
    done = protect(shared_stage, url, "--name", "Private", "--ca-file", str(pem))
    assert done.returncode == 0, done.stderr
    assert "With the token (200):" in done.stdout
    (made,) = shared_stage.done("GET", "connections?search=Private")
    assert "BEGIN CERTIFICATE" in made["input"]["ca_pem"]
