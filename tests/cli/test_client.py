"""The command manages an Ostiary from another machine: it has an address and a token, and nothing else."""

import contextlib
import io
import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.stage import OSTIARY, Stage, free_port, wait_for

from ostiary import settings
from ostiary.cli.main import main

pytestmark = [pytest.mark.gateway, pytest.mark.slow]


@dataclass(frozen=True, kw_only=True)
class Run:
    returncode: int
    stdout: str
    stderr: str


class Far:
    """The command without the product's data folder. It runs in this process: starts take long."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage, self.folder = stage, folder
        self.token = folder / "token"
        self.token.write_text(f"{stage.token}\n")
        self.variables = {
            "OSTIARY_URL": f"http://127.0.0.1:{stage.control}",
            "OSTIARY_TOKEN_FILE": str(self.token),
            "OSTIARY_DATA": str(folder / "nothing"),
            "OSTIARY_RECIPES": str(folder / "nothing"),
        }

    def __call__(self, *words: str, **variables: str) -> Run:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**self.variables, **variables}.items():
                patch.setenv(name, value)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    status = main(words)
                except SystemExit as end:
                    status = int(end.code or 0)
        settings.current.cache_clear()
        return Run(returncode=status, stdout=out.getvalue(), stderr=err.getvalue())

    def done(self, *words: str) -> str:
        run = self(*words)
        assert run.returncode == 0, run.stderr
        return run.stdout

    def read(self, *words: str) -> Any:
        return json.loads(self.done(*words, "--output", "json"))


@pytest.fixture(scope="module")
def far(shared_stage: Stage) -> Iterator[Far]:
    with tempfile.TemporaryDirectory() as folder:
        yield Far(shared_stage, Path(folder))


def test_a_consumer_is_let_in_changed_and_shut_out_by_commands_alone(far: Far) -> None:
    collection = far.read("collection", "create", "--name", "Orders", "--version", "1")["id"]
    client = far.read("client", "create", "--name", "Acme")["id"]
    ids = ("--api-client-id", str(client), "--api-collection-ids", str(collection))
    made = far("profile", "create", "--name", "P", "--auth-type", "token", *ids, "--output", "json")
    assert "it can't be read again" in made.stderr
    profile = json.loads(made.stdout)
    path = far.folder / "secret"
    refreshed = far(
        "profile",
        "refresh",
        str(profile["id"]),
        "--overlap-seconds",
        "60",
        "--secret-file",
        str(path),
    )
    assert refreshed.returncode == 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().strip() not in refreshed.stdout + refreshed.stderr
    assert "gateways confirmed it" in refreshed.stderr
    credentials = far.read("credential", "list", str(profile["id"]))
    assert len(credentials) == 2
    changed = far.done(
        "profile", "change", str(profile["id"]), "--name", "Q", "--expires-at", "never"
    )
    assert "name " in changed
    assert " Q\n" in changed
    assert far.done("client", "disable", str(client)) == "Done.\n"
    lines = far.done("clients", "list").splitlines()
    assert lines[0].split() == ["ID", "NAME", "PROJECT", "ID", "ACTIVE"]
    assert lines[1].split() == [str(client), "Acme", "1", "no"]
    far.done("client", "change", str(client), "--key", "acme")
    assert far.read("client", "show", "acme")["id"] == client
    assert [each["name"] for each in far.read("profile", "list", "--api-client-id", "acme")] == [
        "Q"
    ]
    assert far.done("client", "delete", "acme") == "Done.\n"
    assert far.read("client", "list") == []


def test_a_connection_whose_test_fails_ends_the_command_with_a_failure(far: Far) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    number = far.read("connection", "create", "--name", "Nobody there", "--base-url", url)["id"]
    tested = far("connection", "test", str(number))
    assert tested.returncode == 1
    assert url in tested.stdout
    assert tested.stderr == "ostiary: The test failed; see the step that is not good.\n"
    assert far.done("connection", "delete", str(number)) == "Done.\n"


def test_the_apis_own_sentences_are_shown_and_the_exit_status_says_what_it_was(far: Far) -> None:
    refused = far("policy", "create", "--name", "")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "ostiary: Validation failed\n  name: can't be blank\n"
    assert far("client", "show", "999999").stderr == "ostiary: Not found\n"
    assert far("client", "show", "x").stderr == "ostiary: None of the clients has the key 'x'.\n"
    wrong = far("token", "show", "x")
    assert wrong.returncode == 2
    said = "ostiary token show: argument ID: must be an id, a number, not 'x'"
    assert wrong.stderr == f"{said}; see ostiary token show --help\n"
    assert far("token", "me", OSTIARY_TOKEN_FILE="", OSTIARY_TOKEN="ostm_wrong").returncode == 1
    nobody = far("token", "me", OSTIARY_TOKEN_FILE="")
    assert "ostiary token create` makes one" in nobody.stderr
    away = far("token", "me", "--url", "http://127.0.0.1:1")
    assert (away.returncode, away.stdout) == (1, "")
    assert "can't be reached" in away.stderr


def test_a_token_with_a_role_and_an_end_is_made_from_afar(far: Far) -> None:
    made = far.done(
        "token",
        "create",
        "--name",
        "t",
        "--role",
        "viewer",
        "--project-id",
        "1",
        "--expires-at",
        "2d",
    ).strip()
    own = far("token", "me", "--output", "json", OSTIARY_TOKEN_FILE="", OSTIARY_TOKEN=made)
    shown = json.loads(own.stdout)
    assert (shown["role"], shown["admin"], shown["project_ids"]) == ("viewer", False, [1])
    rotated = far(
        "token", "rotate-me", "--secret-file", str(far.folder / "next"),
        OSTIARY_TOKEN_FILE="", OSTIARY_TOKEN=made,
    )  # fmt: skip
    assert rotated.returncode == 0
    assert far("token", "me", OSTIARY_TOKEN_FILE="", OSTIARY_TOKEN=made).returncode == 1
    assert far("token", "me", "--token-file", str(far.folder / "next")).returncode == 0
    # An admin's, for no role was named; it does not last for ever unless it is said.
    refused = far("token", "create", "--name", "e", "--never-expires")
    assert "the longest life of a token here" in refused.stderr
    assert far.done("token", "create", "--name", "a").startswith("ostm_")
    admin = next(each for each in far.read("token", "list") if each["name"] == "a")
    assert (admin["admin"], bool(admin["expires_at"])) == (True, True)


def test_on_the_machine_itself_a_token_needs_no_token_and_expires_unless_told_otherwise(
    far: Far,
) -> None:
    stage = far.stage
    stage.command("token", "create", "--name", "local", "--role", "editor", "--project-id", "1")
    stage.command("token", "create", "--name", "local for ever", "--never-expires")
    tokens = {each["name"]: each for each in far.read("token", "list")}
    assert (tokens["local"]["role"], tokens["local"]["admin"]) == ("editor", False)
    assert tokens["local"]["expires_at"] is not None
    assert tokens["local for ever"]["expires_at"] is None
    # Without an address, the Ostiary of the data folder is meant.
    here = far("token", "me", "--data", str(stage.data), OSTIARY_URL="")
    assert here.returncode == 0, here.stderr


def test_a_member_is_invited_from_afar(far: Far) -> None:
    link = far.done("member", "create", "--email", "far@example.com", "--name", "Far")
    assert "/sign-in/link#osts_" in link
    assert far.done("member", "link", "--email", "Far@example.com") != link
    member = next(
        each for each in far.read("members", "list") if each["email"] == "far@example.com"
    )
    number = str(member["id"])
    assert far.done("member", "role", number, "1", "--role", "viewer") == "Done.\n"
    assert far.read("project", "members", "1")[0]["role"] == "viewer"
    far.done("member", "delete", number)
    assert "There is no member" in far("member", "link", "--email", "far@example.com").stderr


def test_calls_are_counted_listed_followed_and_explained_from_afar(far: Far) -> None:
    stage = far.stage
    first = stage.call("/nothing-here").json["request_id"]
    wait_for(lambda: first in far.done("logs", "--limit", "20"), what="the call in the log")
    explained = far.done("explain", first).splitlines()
    assert explained[0] == "Refused (credential_missing). No credential was presented."
    assert "failed        Is there exactly one credential?" in explained
    assert far.read("usage", "--bucket", "all")[0]["calls"] >= 1
    following = subprocess.Popen(
        [*OSTIARY, "logs", "--follow", "--from", "1h", "--output", "json"],
        env={**stage.env, **far.variables}, stdout=subprocess.PIPE, text=True, cwd=far.folder,
    )  # fmt: skip
    try:
        assert following.stdout is not None
        printed = []
        for awaited in (first, None):
            # The earlier one is printed at once; it goes on with those that come then.
            wanted = awaited or stage.call("/nothing-there").json["request_id"]
            while wanted not in printed:
                printed.append(json.loads(following.stdout.readline())["request_id"])
        assert len(set(printed)) == len(printed)
    finally:
        following.terminate()
        following.communicate()


def test_more_than_a_limit_is_said(far: Far) -> None:
    for name in "AB":
        far.done("client", "create", "--name", name)
    run = far("client", "list", "--limit", "1")
    assert len(run.stdout.splitlines()) == 2
    assert run.stderr == "There are more than 1; --limit 0 shows all.\n"
    assert len(far.done("client", "list", "--limit", "0").splitlines()) == 3
