"""`ostiary explain` tells a call's whole way, and says in one sentence what it cannot find."""

import subprocess

import pytest
from tests.stage import OSTIARY, Stage, wait_for

pytestmark = [pytest.mark.gateway, pytest.mark.slow]


def explain(stage: Stage, request_id: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*OSTIARY, "explain", request_id, "--data", str(stage.data)],
        env=stage.env, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_refused_call_is_explained_on_the_command_line(shared_stage: Stage) -> None:
    stage = shared_stage
    request_id = stage.call("/nothing").json["request_id"]
    wait_for(lambda: explain(stage, request_id).returncode == 0, what="the call in the log")
    lines = explain(stage, request_id).stdout.splitlines()
    assert lines[0] == "Refused (credential_missing). No credential was presented."
    assert "failed        Is there exactly one credential?" in lines
    assert "not reached   Is the credential known?" in lines
    missing = explain(stage, "none-such")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr == "ostiary: Call not found.\n"
