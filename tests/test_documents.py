"""The documents say what is: settings, alerts, metrics, dictionaries, reasons and links are compared."""

import re
from pathlib import Path

import pytest
import yaml

from ostiary import settings
from ostiary.access.reasons import Reason, refusal
from ostiary.gateway import configuration
from ostiary.gateway.node import Node

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
OPERATION = (ROOT / "docs/operation.md").read_text()
GUIDE = (ROOT / "docs/guide.md").read_text()


def _cells(name: str) -> list[str]:
    row = re.search(rf"^\| `{name}` \|.*$", OPERATION, re.MULTILINE)
    assert row, f"docs/operation.md has no row of {name}"
    return [cell.strip() for cell in row[0].strip("|").split("|")]


def _number(text: str) -> int:
    return int(text.replace(",", ""))


@pytest.mark.parametrize("name", sorted(settings.NAMES))
def test_every_setting_is_documented(name: str) -> None:
    assert _cells(name)


@pytest.mark.parametrize("name", sorted(settings.NUMBERS))
def test_default_and_range_of_a_number_are_documented(name: str) -> None:
    limits = settings.NUMBERS[name]
    _, default, ranged, *_ = _cells(name)
    least, most = ranged.split(" to ")
    assert (_number(default), _number(least), _number(most)) == (
        limits.default, limits.least, limits.most,
    )  # fmt: skip


def test_no_setting_is_documented_that_does_not_exist() -> None:
    pages = "".join(page.read_text() for page in PAGES)
    assert set(re.findall(r"\bOSTIARY_[A-Z_]+[A-Z]\b", pages)) <= settings.NAMES


def test_every_alert_is_documented() -> None:
    rules = yaml.safe_load((ROOT / "ops/prometheus/ostiary.rules.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    assert alerts == set(re.findall(r"`(Ostiary[A-Za-z]+)`", OPERATION))


@pytest.mark.parametrize("page", ["operation.md", "architecture.md"])
def test_dictionaries_are_documented_with_their_sizes(page: str) -> None:
    node = Node(run=Path("run"), host="127.0.0.1", port=1)
    lines = "\n".join(configuration._dictionaries(node))
    sizes = re.findall(r"lua_shared_dict (\w+) (\d+)m;", lines)
    shown = re.findall(
        r"^\| `([a-z_]+)` \| (\d+)\b", (ROOT / "docs" / page).read_text(), re.MULTILINE
    )
    assert shown == sizes


def test_every_reason_that_a_caller_sees_is_documented() -> None:
    table = GUIDE[GUIDE.index("| status | reason |") :].partition("\n\n")[0]
    shown = {
        (int(status), name)
        for statuses, names in re.findall(r"^\| ([\d, ]+) \| ([`\w, ]+) \|", table, re.MULTILINE)
        for status in statuses.split(", ")
        for name in re.findall(r"\w+", names)
    }
    faces = {(refusal(reason).status, refusal(reason).public_reason) for reason in Reason}
    assert faces <= shown


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
