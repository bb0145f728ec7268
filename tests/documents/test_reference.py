"""The reference says what the code says."""

import pytest
from tests.documents import reference


@pytest.mark.parametrize("page", reference.PAGES)
def test_the_reference_is_what_the_code_says(page: str) -> None:
    written = (reference.DOCS / page).read_text()
    assert written == reference.PAGES[page](), f"docs/{page} is stale; run scripts/reference"
