"""An upstream of its own for each file of tests of the four methods; the product is shared."""

from collections.abc import Iterator

import pytest
from tests.stage import Stage, Upstream


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


@pytest.fixture(scope="module")
def stage(shared_stage: Stage) -> Stage:
    return shared_stage
