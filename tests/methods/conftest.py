"""One running product for each file of tests of the four methods."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.stage import Stage, Upstream, running


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    data: Path = tmp_path_factory.mktemp("data")
    with running(data) as stage:
        yield stage
