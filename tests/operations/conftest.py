"""One running product for each file of operators' tests."""

from collections.abc import Iterator

import pytest
from tests.stage import Stage, Upstream, running


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running(tmp_path_factory.mktemp("data"), "--demo", "--print-secrets") as stage:
        yield stage
