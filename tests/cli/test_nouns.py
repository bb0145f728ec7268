"""The table of what the command manages fits the API, and options become its values."""

import argparse
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ostiary.api.document import ServedDocument
from ostiary.cli.commands import completion
from ostiary.cli.failure import Failure
from ostiary.cli.main import parser
from ostiary.cli.remote import object_keys, output, values
from ostiary.cli.remote.nouns.calls import LOGS, USAGE
from ostiary.cli.remote.nouns.declarations import AnswerForm, OptionKind, RemoteOperation
from ostiary.cli.remote.nouns.registry import NOUNS
from ostiary.cli.remote.secret_files import SecretFile

NOW = datetime(2030, 1, 1, tzinfo=UTC)
OPERATIONS = [
    *((noun.name, each) for noun in NOUNS for each in noun.operations),
    ("", USAGE),
    ("", LOGS),
]
#: What the API takes for scripts of the vendor's, and refuses unless it is empty.
OF_THE_VENDOR = {"cert_bundle_ids", "mtls_enabled", "validation_formula"}
#: Fields that options do not have, and why.
WITHOUT_OPTION = {
    ("project", "create"): {"parent_id"},  # a project has no parent
    ("project", "change"): {"parent_id"},
    ("profile", "change"): {"api_client_id", "auth_type", *OF_THE_VENDOR},  # cannot be changed
    ("profile", "create"): OF_THE_VENDOR,
    ("token", "create"): {"admin"},  # where there is no role
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return ServedDocument("http://localhost:8000")


def _schema(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    for each in (schema, *schema.get("anyOf", ())):
        if "$ref" in each:
            found: Mapping[str, Any] = document["components"]["schemas"][
                each["$ref"].rpartition("/")[2]
            ]
            return found
    return schema


def _fields(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Iterator[str]:
    for content in operation.get("requestBody", {}).get("content", {}).values():
        for name, field in _schema(document, content["schema"])["properties"].items():
            inner = _schema(document, field)
            if name in {"input", "openapi_spec"}:
                # A change describes its object as one of the fields that are sent when it is made.
                whole = document["components"]["schemas"]["InputIn"]
                named = inner.get("properties") or whole["properties"]
                yield from (f"{name}.{each}" for each in named)
            else:
                yield name


@pytest.mark.parametrize(
    ("noun", "operation"), OPERATIONS, ids=[f"{noun} {each.verb}" for noun, each in OPERATIONS]
)
def test_every_operation_and_option_is_one_of_the_apis(
    document: dict[str, Any], noun: str, operation: RemoteOperation
) -> None:
    shape = [part if not part.startswith("{") else "{}" for part in operation.path.split("/")]
    found = [
        operations[operation.method.lower()]
        for path, operations in document["paths"].items()
        if operation.method.lower() in operations
        and [p if not p.startswith("{") else "{}" for p in path.removeprefix("/api/").split("/")]
        == shape
    ]
    assert len(found) == 1
    parameters = {each["name"] for each in found[0].get("parameters", ())}
    assert {each.name for each in operation.query} <= parameters
    fields = set(_fields(document, found[0]))
    options = {each.name for each in operation.body}
    assert options | set(operation.always) <= fields
    # A field of the API that the command has no option for would be a half noun.
    missing = fields - options - set(operation.always)
    missing -= WITHOUT_OPTION.get((noun, operation.verb), set())
    assert not missing, "add options for these to ostiary.cli.remote.nouns"
    columns = set(operation.columns)
    if columns and operation.form is AnswerForm.LIST:
        shown = json.dumps(found[0]["responses"]["200"])
        names = [
            name
            for name, schema in document["components"]["schemas"].items()
            if columns <= set(schema.get("properties", ()))
        ]
        assert names, (columns, shown)


def test_lists_that_are_asked_for_keys_find_by_key(document: dict[str, Any]) -> None:
    for path in {*object_keys.LISTS.values(), *object_keys.NOUN_LISTS.values()}:
        names = {p["name"] for p in document["paths"][f"/api/{path}"]["get"]["parameters"]}
        assert "key" in names, path
    assert object_keys.NOUN_LISTS.keys() <= {noun.name for noun in NOUNS}
    # What holds ids is found by key, unless its objects have none.
    without = {"id", "credential_ids", "flow_id"}
    numbers = {
        option.name
        for _, operation in OPERATIONS
        for option in (*operation.body, *operation.query)
        if option.kind in {OptionKind.NUMBER, OptionKind.NUMBERS}
        and option.name.endswith(("_id", "_ids"))
    }
    assert numbers - without <= object_keys.LISTS.keys()


class Rows:
    """An API whose lists have one row for each of some keys."""

    def __init__(self, **keys: list[int]) -> None:
        self.keys = keys

    def call(self, method: str, path: str, *, query: Mapping[str, str | int]) -> Any:
        return [{"id": each} for each in self.keys.get(str(query["key"]), [])]


def test_keys_stand_for_ids_in_paths_and_options() -> None:
    words = "profile change nightly --api-policy-id gold --ip-allow-list-ids office --ip-allow-list-ids 4"
    arguments = _parsed(*words.split())
    api = Rows(nightly=[7], gold=[2], office=[3], twice=[1, 2])
    object_keys.resolve(api, arguments.noun, arguments.operation, arguments)
    assert values.path(arguments.operation, arguments) == "api_access_profiles/7"
    assert values.body(arguments.operation, arguments, NOW) == {
        "api_policy_id": 2, "ip_allow_list_ids": [3, 4],
    }  # fmt: skip
    for key, said in (("nothing", "None of the clients has"), ("twice", "Several of the clients")):
        arguments = _parsed("client", "show", key)
        with pytest.raises(Failure, match=said):
            object_keys.resolve(api, arguments.noun, arguments.operation, arguments)


def _parsed(*words: str) -> argparse.Namespace:
    return parser().parse_args(words)


def _body(*words: str) -> Any:
    arguments = _parsed(*words)
    return values.body(arguments.operation, arguments, NOW)


def test_options_become_values_of_the_api(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    assert _body(
        "connection", "create", "--name", "Up", "--base-url", "http://a", "--base-url", "http://b",
        "--auth-secret-file", str(secret), "--no-verify-tls", "--retries", "none",
    ) == {
        "name": "Up",
        "input": {
            "base_url": ["http://a", "http://b"], "auth_secret": "s3cret", "verify_tls": False,
            "retries": None,
        },
    }  # fmt: skip
    assert _body(
        "policies",
        "create",
        "--name",
        "Gold",
        "--rate-limit",
        "100/minute",
        "--usage-quota",
        "none",
    ) == {"name": "Gold", "rate_limit": {"limit": 100, "interval": "minute"}, "usage_quota": None}
    assert _body("profile", "change", "3", "--expires-at", "30d") == {
        "expires_at": "2030-01-31T00:00:00+00:00"
    }
    assert _body("profile", "change", "3", "--expires-at", "never") == {"expires_at": None}
    assert _body("profile", "change", "3", "--ip-allow-list", "none") == {"ip_allow_list": []}
    assert _body("client", "change", "1", "--label", "team=a=b", "--label", "x=", "--key", "none") == {
        "labels": {"team": "a=b", "x": ""}, "key": None
    }  # fmt: skip
    logs = _parsed("logs", "--from", "2h")
    assert values.query(LOGS, logs, NOW) == {"from": "2029-12-31T22:00:00+00:00"}


def test_a_body_from_a_file_is_overruled_by_options(tmp_path: Path) -> None:
    file = tmp_path / "client.json"
    file.write_text('{"name": "A", "description": "d"}')
    assert _body("client", "change", "1", "--body", str(file), "--name", "B") == {
        "name": "B", "description": "d"
    }  # fmt: skip
    file.write_text("[]")
    with pytest.raises(Failure, match="does not hold one JSON object"):
        _body("client", "change", "1", "--body", str(file))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("client", "change", "1"), "There is nothing to change; name a field."),
        (
            ("policy", "change", "1", "--rate-limit", "many"),
            "--rate-limit must be a number of calls and an interval, such as 100/minute.",
        ),
        (
            ("token", "change", "1", "--expires-at", "soon"),
            "--expires-at must be a time such as 2030-01-31T12:00:00Z, or a span such as 30d.",
        ),
        (("client", "change", "1", "--project-id", "x"), "--project-id must be a number, not 'x'."),
    ],
)
def test_a_value_that_does_not_fit_is_named(words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(Failure) as failed:
        _body(*words)
    assert str(failed.value) == sentence


def test_no_option_takes_a_secret_as_an_argument() -> None:
    with pytest.raises(SystemExit):
        _parsed("client", "list", "--token", "ostm_x")
    long = {option.long for _, each in OPERATIONS for option in (*each.body, *each.query)}
    assert not {name for name in long if "secret" in name and not name.endswith("-file")}


def test_a_cell_holds_no_character_that_a_terminal_obeys() -> None:
    text = output.rows_text([{"id": 1, "name": "a\x1b[31m\nb", "active": True, "none": None}], ())
    assert text == "ID  NAME      ACTIVE  NONE\n1   a [31m b  yes     -\n"


def test_a_secret_file_is_for_its_owner_alone_and_stays_if_the_call_fails(tmp_path: Path) -> None:
    path = tmp_path / "token"
    with SecretFile(str(path)) as file:
        file.write("one")
    assert path.read_text() == "one\n"
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Failure, match="refused"), SecretFile(str(path)):
        raise Failure("refused")
    assert path.read_text() == "one\n"
    assert os.listdir(tmp_path) == ["token"]
    with pytest.raises(Failure, match="can't be written"), SecretFile(str(tmp_path / "no" / "x")):
        pass


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_a_script_that_it_can_read(shell: str, tmp_path: Path) -> None:
    script = completion.script(parser(), shell)
    for word in ("profile", "refresh", "--overlap-seconds"):
        assert word in script or word.removeprefix("--") in script
    if shutil.which(shell):
        path = tmp_path / "script"
        path.write_text(script)
        checked = subprocess.run(
            [shell, "-n", str(path)], capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, "")


def test_bash_completes_nouns_operations_and_options(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(completion.script(parser(), "bash"))

    def completed(*words: str) -> set[str]:
        typed = " ".join(f"'{word}'" for word in ("ostiary", *words))
        lines = (
            f"source {script}; COMP_WORDS=({typed}); COMP_CWORD={len(words)}",
            r"$(complete -p ostiary | sed 's/.*-F \([^ ]*\) .*/\1/') ostiary",
            'printf "%s\\n" "${COMPREPLY[@]}"',
        )
        run = subprocess.run(
            ["bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=True
        )
        return set(run.stdout.split())

    assert {"client", "profile"} <= completed("")
    assert completed("profile", "ref") == {"refresh"}
    assert completed("profile", "refresh", "--over") == {"--overlap-seconds"}
