"""The console's page about the management API says what the API's document says."""

import re

from tests.api.conftest import api
from tests.console.test_forms import Owner, owner

from ostiary.api.document import ServedDocument

__all__ = ["api", "owner"]


def test_the_page_has_every_call_and_asks_nothing_elsewhere(owner: Owner) -> None:
    page = owner.read("/management-api")
    for path, methods in ServedDocument("/")["paths"].items():
        assert f"<code>{path}</code>" in page
        for operation in methods.values():
            assert f'id="{operation["operationId"]}"' in page
    assert 'id="key_reused"' in page
    assert not re.search(r'(src|href)="(https?:)?//', page)
    assert "/management-api" in owner.read("/tokens")
