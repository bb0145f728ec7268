"""The site is built without a warning, and loads nothing from elsewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.documents.reference import DOCS

#: Attributes by which a browser loads something; links that a reader follows are no such thing.
LOADED = re.compile(
    r"<(?:script|img|link|iframe|source)\b[^>]*\s(?:src|href)=\"((?:https?:)?//[^\"]*)"
)
OF_STYLES = re.compile(r"(?:@import\s|url\()\s*[\"']?((?:https?:)?//[^\"')]*)")


@pytest.fixture(scope="module")
def build() -> list[str]:
    """The command of `make docs`, less the folder to write to."""
    return [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-n", "-b", "html"]


def _built(build: list[str], source: Path, site: Path) -> str:
    done = subprocess.run(
        [*build, str(source), str(site)], capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stderr


@pytest.mark.slow
def test_the_site_builds_and_loads_nothing_from_elsewhere(build: list[str], tmp_path: Path) -> None:
    assert _built(build, DOCS, tmp_path) == ""
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 70
    assert [found for page in pages for found in LOADED.findall(page.read_text())] == []
    styles = tmp_path.rglob("*.css")
    assert [found for style in styles for found in OF_STYLES.findall(style.read_text())] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "link", ["[x](nowhere.md)", "[x](index.md#nowhere)", "![x](images/nowhere.png)"]
)
def test_a_dead_link_fails(build: list[str], link: str, tmp_path: Path) -> None:
    source = tmp_path / "docs"
    source.mkdir()
    (source / "conf.py").write_text((DOCS / "conf.py").read_text())
    (source / "index.md").write_text(f"# A page\n\n{link}\n")
    assert "nowhere" in _built(build, source, tmp_path / "site")
