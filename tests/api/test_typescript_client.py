"""A client that openapi-typescript generates from the API's document does what its user needs, by its types."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.stage import Stage, Upstream

from ostiary.api.document import ServedDocument

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

#: The journey, and what `scripts/setup --dev` installs for it.
SOURCE = Path(__file__).parent.parent / "typescript"


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["node", *words], capture_output=True, text=True, check=False, cwd=folder)


def compiled(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run(folder, "node_modules/typescript/bin/tsc", *options)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the generated types and the journey, compiled with each other."""
    folder = tmp_path_factory.mktemp("typescript")
    (folder / "node_modules").symlink_to(SOURCE / "node_modules")
    for name in ("package.json", "tsconfig.json", "journey.ts"):
        shutil.copy(SOURCE / name, folder)
    (folder / "document.json").write_text(json.dumps(ServedDocument("http://localhost")))
    done = run(
        folder, "node_modules/openapi-typescript/bin/cli.js", "document.json",
        "--default-non-nullable=false", "--output", "ostiary.ts",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    done = compiled(folder)
    assert done.returncode == 0, done.stdout[-3000:]
    return folder


def test_the_generated_types_refuse_a_value_that_the_api_does_not_take(package: Path) -> None:
    journey = package / "journey.ts"
    right = journey.read_text()
    journey.write_text(right.replace('auth_type: "token"', 'auth_type: "basic"'))
    wrong = compiled(package, "--noEmit", "--project", ".")
    journey.write_text(right)
    assert (wrong.returncode, "basic" in wrong.stdout) == (2, True), wrong.stdout


def test_the_typescript_client_does_the_whole_journey(package: Path, shared_stage: Stage) -> None:
    upstream = Upstream()
    try:
        things = shared_stage.a_collection(upstream, "GET /things")
        target = f"http://127.0.0.1:{shared_stage.gateway}/{things['handle']}/things"
        url = f"http://127.0.0.1:{shared_stage.control}"
        done = run(package, "journey.js", url, shared_stage.token, target, str(things["id"]))
        assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[-3000:]
    finally:
        upstream.close()
