"""A client that is generated from the API's document does what its user needs, as its types say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.stage import Stage, Upstream

from ostiary.api.document import ServedDocument

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

#: Client → profile → call → refresh → disable → usage. What is called is a gateway of its own.
JOURNEY = """
import sys
import urllib.error
import urllib.request

from ostiary_client import AuthenticatedClient
from ostiary_client.api.access_profiles import create_profile, disable_profile, refresh_secret
from ostiary_client.api.clients import create_client, show_client
from ostiary_client.api.usage import show_usage
from ostiary_client.models import (
    ClientIn,
    ClientResult,
    Error,
    ErrorCode,
    ProfileIn,
    ProfileInAuthType,
    ProfileResult,
    SwitchedProfile,
    UsagePage,
)

url, token, target, collection = sys.argv[1:]


def call(secret: str) -> int:
    request = urllib.request.Request(target, headers={"API-TOKEN": secret})
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


with AuthenticatedClient(base_url=url, token=token) as api:
    made = create_client.sync(client=api, body=ClientIn(name="Generated"), idempotency_key="one")
    again = create_client.sync(client=api, body=ClientIn(name="Generated"), idempotency_key="one")
    assert isinstance(made, ClientResult) and isinstance(again, ClientResult)
    assert made.result.id == again.result.id
    assert made.result.created_at.tzinfo is not None
    profile = create_profile.sync(
        client=api,
        body=ProfileIn(
            name="P",
            api_client_id=made.result.id,
            api_collection_ids=[int(collection)],
            auth_type=ProfileInAuthType.TOKEN,
        ),
    )
    assert isinstance(profile, ProfileResult)
    number, secret = profile.result.id, profile.result.secret
    assert isinstance(secret, str)
    assert call(secret) == 200
    fresh = refresh_secret.sync(number, client=api)
    assert isinstance(fresh, ProfileResult), fresh
    assert isinstance(fresh.result.secret, str)
    assert (call(secret), call(fresh.result.secret)) == (401, 200)
    switched = disable_profile.sync(number, client=api)
    assert isinstance(switched, SwitchedProfile)
    assert switched.revocation.confirmed == switched.revocation.of == 1
    assert call(fresh.result.secret) == 401
    usage = show_usage.sync(client=api, access_profile_id=number)
    assert isinstance(usage, UsagePage)
    missing = show_client.sync(2_000_000, client=api)
    assert isinstance(missing, Error)
    assert missing.code == ErrorCode.NOT_FOUND
print("done")
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the generated package and the journey."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "document.json").write_text(json.dumps(ServedDocument("http://localhost")))
    done = subprocess.run(
        [
            Path(sys.executable).with_name("openapi-python-client"), "generate", "--meta", "none",
            "--path", folder / "document.json", "--output-path", folder / "ostiary_client",
        ],
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    # What a generator cannot take, it leaves out with a warning.
    assert "WARNING" not in done.stdout.upper().replace("RUFF", ""), done.stdout
    (folder / "journey.py").write_text(JOURNEY)
    return folder


def test_the_generated_client_and_its_use_are_of_one_type(package: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir=.mypy", "journey.py"],
        capture_output=True, text=True, check=False, cwd=package,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]


def test_the_generated_client_does_the_whole_journey(package: Path, shared_stage: Stage) -> None:
    upstream = Upstream()
    try:
        things = shared_stage.a_collection(upstream, "GET /things")
        target = f"http://127.0.0.1:{shared_stage.gateway}/{things['handle']}/things"
        url = f"http://127.0.0.1:{shared_stage.control}"
        done = subprocess.run(
            [sys.executable, "journey.py", url, shared_stage.token, target, str(things["id"])],
            capture_output=True, text=True, check=False, cwd=package,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[-3000:]
    finally:
        upstream.close()
