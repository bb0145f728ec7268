"""Names, links and pages that are meant to do harm, a test for each class of it."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.console.steps import at
from tests.stage import Stage, Upstream, ask

pytestmark = [pytest.mark.browser, pytest.mark.gateway, pytest.mark.slow]

NAMES = {
    "script": "<script>document.title='owned'</script>",
    "attribute": '" onmouseover="document.title=\'owned\'" x="',
    "image": "<img src=x onerror=\"document.title='owned'\">",
    "template": "{{ 7*7 }}{% include 'x' %}",
    "emoji": "🦓" * 100,
    "long word": "W" * 255,
}


@pytest.fixture(scope="module")
def stage(shared_stage: Stage) -> Stage:
    return shared_stage


@pytest.fixture(scope="module")
def made(stage: Stage) -> Any:
    upstream = Upstream()
    ids: dict[str, Any] = {}
    for kind, name in NAMES.items():
        collection = stage.a_collection(upstream, "GET /a", name=name)
        client = stage.done("POST", "api_clients", {"name": name, "description": name})["result"]
        profile = stage.a_profile(collection, client=client, name=name)
        stage.done("POST", "v2/api_policies", {"name": name, "description": name})
        ids[kind] = {
            "client_id": client["id"],
            "collection_id": collection["id"],
            "profile_id": profile["id"],
        }
    upstream.close()
    return ids


@pytest.mark.parametrize("kind", NAMES)
def test_a_name_is_a_text_wherever_it_stands(
    owner: Page, stage: Stage, made: Any, kind: str
) -> None:
    ids = made[kind]
    complaints: list[str] = []
    owner.on("console", lambda said: complaints.append(said.text))
    owner.on("dialog", lambda dialog: complaints.append(dialog.message))
    for path in (
        "/clients?order=-created",
        f"/clients/{ids['client_id']}",
        f"/clients/{ids['client_id']}/profiles/new",
        f"/profiles/{ids['profile_id']}/edit",
        f"/clients/{ids['client_id']}/delete",
        f"/collections/{ids['collection_id']}",
        f"/collections/{ids['collection_id']}/edit",
        "/policies",
        "/connections",
        "/audit-log",
    ):
        at(owner, stage, path)
        assert "owned" not in owner.title().replace(NAMES[kind], "")
        wide = owner.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], path
        assert owner.locator("script:not([src])").count() == 0
        bad = owner.evaluate(
            "[...document.querySelectorAll('[href],[action],[src],[hx-get],[hx-post]')].flatMap(e =>"
            " ['href','action','src','hx-get','hx-post'].map(n => e.getAttribute(n)))"
            ".filter(v => v && !/^[/?#.]/.test(v))"
        )
        assert not bad, (path, bad)
    owner.get_by_label("Find anything").fill(NAMES[kind][:60])
    owner.wait_for_timeout(400)
    assert "owned" not in owner.title()
    assert not [text for text in complaints if "Content Security Policy" in text or "owned" in text]


def test_ten_thousand_characters_are_refused_and_kept(owner: Page, stage: Stage) -> None:
    at(owner, stage, "/clients/new")
    owner.get_by_label("Name", exact=True).evaluate("field => field.removeAttribute('maxlength')")
    owner.get_by_label("Name", exact=True).fill("x" * 10_000)
    owner.get_by_role("button", name="Add client").click()
    expect(owner.get_by_role("alert")).to_contain_text("is too long")
    expect(owner.get_by_label("Name", exact=True)).to_have_value("x" * 10_000)


def test_the_first_page_is_light(owner: Page, stage: Stage) -> None:
    """Everything that it needs, once: less than 150 KB."""
    sizes: list[int] = []
    at(owner, stage, "/clients")
    page = owner.content()
    found = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page))
    assert len(found) > 5
    sizes = [len(ask(stage.control, "GET", path).body) for path in found]
    assert len(page.encode()) + sum(sizes) < 150_000
