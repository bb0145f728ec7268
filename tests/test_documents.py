"""The documents say what is: settings, alerts, dictionaries and links are compared."""

import re
from pathlib import Path

import pytest
import yaml

from ostiary import settings
from ostiary.gateway import configuration
from ostiary.gateway.node import Node

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]


def test_no_setting_is_documented_that_does_not_exist() -> None:
    pages = "".join(page.read_text() for page in PAGES)
    assert set(re.findall(r"\bOSTIARY_[A-Z_]+[A-Z]\b", pages)) <= settings.NAMES


def test_every_alert_is_documented() -> None:
    rules = yaml.safe_load((ROOT / "ops/prometheus/ostiary.rules.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    assert alerts == set(
        re.findall(r"`(Ostiary[A-Za-z]+)`", (ROOT / "docs/how-to/monitor.md").read_text())
    )


@pytest.mark.parametrize("page", ["reference/limits.md", "architecture.md"])
def test_dictionaries_are_documented_with_their_sizes(page: str) -> None:
    node = Node(run=Path("run"), host="127.0.0.1", port=1)
    lines = "\n".join(configuration._dictionaries(node))
    sizes = re.findall(r"lua_shared_dict (\w+) (\d+)m;", lines)
    shown = re.findall(
        r"^\| `([a-z_]+)` \| (\d+)\b", (ROOT / "docs" / page).read_text(), re.MULTILINE
    )
    assert shown == sizes


def test_the_readme_claims_what_was_measured() -> None:
    table = (ROOT / "docs/performance.md").read_text()
    measured = re.search(r"^\| \*\*everything promised.*\*\*([\d.]+)\*\* \|$", table, re.MULTILINE)
    claimed = re.search(r"([\d.]+) times the instructions", (ROOT / "README.md").read_text())
    assert measured
    assert claimed
    assert claimed[1] == measured[1]


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_pages_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), target
        assert not anchor or anchor in _anchors(linked), target


def test_decisions_are_numbered_without_gaps_and_the_index_has_their_titles() -> None:
    folder = ROOT / "docs/decisions"
    pages = sorted(folder.glob("0*.md"))
    entries = [(_title(page), page.name) for page in pages]
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    assert [int(title.split(".")[0]) for title, _ in entries] == list(range(1, len(pages) + 1))
    assert _listed(folder / "index.md") == entries


def test_the_index_lists_every_page_by_its_title() -> None:
    docs = ROOT / "docs"
    listed = _listed(docs / "index.md")
    assert listed == [(_title(docs / name), name) for _, name in listed]
    pages = {str(page.relative_to(docs)) for page in docs.rglob("*.md")}
    decisions = {name for name in pages if name.startswith("decisions/0")}
    assert {name for _, name in listed} == pages - decisions - {"index.md", "tutorial.md"}


def _title(page: Path) -> str:
    return page.read_text().splitlines()[0].removeprefix("# ")


def _listed(page: Path) -> list[tuple[str, str]]:
    return re.findall(r"^- \[(.+)\]\((\S+\.md)\)$", page.read_text(), re.MULTILINE)
