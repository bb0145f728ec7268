"""The tools of tests/dialect, installed once below it, and a product for them."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.dialect.tools import Workato
from tests.stage import Stage, Upstream


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    """`make test` has done it; a bare pytest has not."""
    script = Path(__file__).parents[2] / "scripts/dialect-tools"
    done = subprocess.run([str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    yield made
    made.close()


@pytest.fixture(scope="module")
def workato(shared_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Workato:
    return Workato(shared_stage, tmp_path_factory.mktemp("workato"))
