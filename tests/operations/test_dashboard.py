"""The dashboard and the alerts ask for metrics that there are, with labels that they have."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.operations.scraping import Samples, scrape
from tests.stage import Stage

OPS = Path("ops")
DASHBOARD = OPS / "grafana" / "ostiary.json"
RULES = OPS / "prometheus" / "ostiary.rules.yml"

_SELECTED = re.compile(r"\b((?:ostiary|process)_\w+)(\{[^}]*\})?")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
#: What Prometheus itself adds.
ADDED = {"job", "instance"}


def panels(dashboard: Any) -> list[Any]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    dashboard = json.loads(DASHBOARD.read_text())
    found = [target["expr"] for panel in panels(dashboard) for target in panel["targets"]]
    found += [
        variable["definition"]
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "query"
    ]
    rules = yaml.safe_load(RULES.read_text())
    return found + [rule["expr"] for group in rules["groups"] for rule in group["rules"]]


@pytest.mark.gateway
@pytest.mark.slow
def test_every_metric_and_label_is_in_a_real_scrape(stage: Stage) -> None:
    stage.a_client()
    samples: Samples = scrape(stage)
    labels: dict[str, set[str]] = {}
    for name, has in samples:
        labels.setdefault(name, set()).update(label for label, _ in has)
    asked = 0
    for expression in expressions():
        for name, selector in _SELECTED.findall(expression):
            assert name in labels, (name, expression)
            wanted = set(_LABEL.findall(re.sub(r'"[^"]*"', "", selector)))
            assert wanted - ADDED <= labels[name], (name, wanted)
            asked += 1
    assert asked > 50


def test_panels_are_titled_and_do_not_overlap() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    taken: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels(dashboard):
        assert panel["title"]
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_alerts_say_what_is_the_matter() -> None:
    rules = yaml.safe_load(RULES.read_text())
    names = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    assert len(set(names)) == len(names)
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"warning", "critical"}
            assert rule["annotations"]["summary"]
