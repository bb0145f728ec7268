"""The package, as it is installed without a clone: a wheel in an environment of its own."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.stage import Upstream, running

from ostiary import __version__

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.gateway, pytest.mark.slow]


def run(*words: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_wheel_starts_from_an_empty_folder_and_guards_a_call(tmp_path: Path) -> None:
    # A copy of what the package is made of: a build leaves files beside its sources.
    source = tmp_path / "source"
    source.mkdir()
    for name in ("src", "pyproject.toml", "README.md", "LICENSE"):
        run("cp", "-r", ROOT / name, source)
    pip = ["-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(sys.executable, *pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, source)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"ostiary-{__version__}-py3-none-any.whl"

    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", environment)
    inside = environment / "bin" / "python"
    run(inside, *pip, "install", "--require-hashes", "-r", ROOT / "requirements" / "base.lock")
    # From nowhere: the lock is all that the wheel needs.
    run(inside, *pip, "install", "--no-index", wheel)
    ostiary = str(environment / "bin" / "ostiary")
    assert run(ostiary, "--version", cwd=tmp_path) == f"ostiary {__version__}\n"

    upstream = Upstream()
    try:
        with running(tmp_path / "data", program=[ostiary], first_start=True) as stage:
            profile = stage.a_profile(stage.a_collection(upstream, name="Things"))
            assert stage.call("/things-v1/things", profile["secret"]).status == 200
            assert stage.call("/things-v1/things").status == 401
            page = stage.api("GET", "openapi.json").json
            assert page["info"]["version"] == __version__
    finally:
        upstream.close()
