"""The commands of README, tutorial and guides do what the pages say, one after another as a reader pastes them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.documents.blocks import DOCS, ROOT, Block, blocks, read
from tests.openid_provider import Provider, a_key
from tests.postgres import cluster

PAGES = [ROOT / "README.md", DOCS / "tutorial.md", *sorted((DOCS / "how-to").glob("*.md"))]
SHELL = {page: [each for each in blocks(page) if each.language == "sh"] for page in PAGES}
RUN = [
    pytest.param(page, marks=[pytest.mark.postgres] if page.stem == "postgresql" else [])
    for page in PAGES
    if any(each.kind != "norun" for each in SHELL[page])
]


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.slow
@pytest.mark.gateway
@pytest.mark.parametrize("page", RUN, ids=_name)
def test_the_commands_of_a_page_work(page: Path, tmp_path: Path) -> None:
    with _neighbours(page, tmp_path) as texts:
        read(page, tmp_path, texts)


@contextmanager
def _neighbours(page: Path, folder: Path) -> Iterator[Mapping[str, str]]:
    """What a page needs beside Ostiary, and by which texts it is called."""
    if page.stem == "openid-consumers":
        with _provider(folder) as texts:
            yield texts
    elif page.stem == "postgresql":
        with cluster() as url:
            there = "postgres://ostiary:PASSWORD@127.0.0.1:5432"
            copy = url.replace("/ostiary?", "/restored?")
            # A shell takes the question mark for a pattern.
            yield {f"{there}/ostiary": f"'{url}'", f"{there}/restored": f"'{copy}'"}
    else:
        yield {}


@contextmanager
def _provider(folder: Path) -> Iterator[Mapping[str, str]]:
    provider = Provider(folder)
    provider.start(a_key("first")[1])
    try:
        yield {
            "https://login.example.com/realms/shop/protocol/openid-connect": provider.issuer,
            "https://login.example.com/realms/shop": provider.issuer,
            "login.example.com": "127.0.0.1",
            "the secret of the application": "a secret of the tests alone",
        }
    finally:
        provider.stop()


NOT_RUN = [(page, each) for page in PAGES for each in SHELL[page] if each.kind == "norun"]


@pytest.mark.parametrize(
    ("page", "block"), NOT_RUN, ids=[f"{_name(page)}:{each.line}" for page, each in NOT_RUN]
)
def test_a_block_that_is_not_run_says_why(page: Path, block: Block) -> None:
    assert block.value, page


def test_blocks_are_of_known_kinds() -> None:
    kinds = {each.kind for page in PAGES for each in blocks(page)}
    assert kinds <= {"", "norun", "background", "output"}
