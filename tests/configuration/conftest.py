"""Planning and applying: through the management API of this process, and by the command."""

from collections.abc import Iterator

import pytest
from tests.api.conftest import api
from tests.stage import Upstream

__all__ = ["api"]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()
