"""The browser's Back and Forward work after every step of every flow: no error page, no lost input,
and nothing is made twice."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.console.steps import at
from tests.stage import Stage, Upstream

pytestmark = [pytest.mark.browser, pytest.mark.gateway, pytest.mark.slow]

MAIN, DELETE = "main form button.main", "main form button.danger"
DOCUMENT = json.dumps({
    "openapi": "3.0.3",
    "info": {"title": "Next", "version": "2"},
    "paths": {"/walked": {"get": {"operationId": "walked", "responses": {"200": {"description": "x"}}}}},
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class FormStep:
    """Fields of a form, by name, and the button that sends it."""

    fields: dict[str, str] = field(default_factory=dict)
    press: str = MAIN
    #: Whether Back shows the fields filled in. A name that is typed to delete something is typed again.
    kept: bool = True


PROFILE = {"name": "Walked {flow}", "collections": "{collection}"}
CREATE = FormStep(press="button[value=create]")
FLOWS: dict[str, tuple[str, list[FormStep]]] = {
    "client": ("/clients/new", [FormStep(fields={"name": "Walked"})]),
    "token profile": (
        "/clients/{client}/profiles/new",
        [FormStep(fields={**PROFILE, "allowed_ips": "192.0.2.0/24"}), CREATE],
    ),
    "oauth2 profile": (
        "/clients/{client}/profiles/new",
        [FormStep(fields={**PROFILE, "auth_type": "oauth2"}), CREATE],
    ),
    "jwt profile": (
        "/clients/{client}/profiles/new",
        [
            FormStep(fields={**PROFILE, "auth_type": "jwt", "jwt_method": "hmac",
                             "jwt_secret": "a shared secret that is long enough"}),
            CREATE,
        ],
    ),
    "oidc profile": (
        "/clients/{client}/profiles/new",
        [
            FormStep(fields={**PROFILE, "auth_type": "oidc",
                             "oidc_issuer": "https://login.example.com"}),
            CREATE,
        ],
    ),
    "collection": (
        "/collections/new",
        [FormStep(fields={"name": "Walked {flow}", "base_url": "http://127.0.0.1:9000"})],
    ),
    "connection": (
        "/connections/new",
        [FormStep(fields={"name": "Walked", "base_url": "http://127.0.0.1:9000/x"})],
    ),
    "endpoint": (
        "/collections/{collection}/endpoints/new",
        [FormStep(fields={"name": "Walked", "path": "/walk/{{id}}"})],
    ),
    "policy with a mistake": (
        "/policies/new",
        [
            FormStep(fields={"name": "Walked policy", "rate_minute": "many"}),
            FormStep(fields={"rate_minute": "60"}),
        ],
    ),
    "address list": (
        "/address-lists/new",
        [FormStep(fields={"name": "Walked", "entries": "192.0.2.0/24"})],
    ),
    "webhook": (
        "/webhooks/new",
        [FormStep(fields={"name": "Walked", "url": "https://hooks.example.com/x",
                          "events": "client.activated"})],
    ),
    "token": ("/tokens", [FormStep(fields={"name": "Walked", "everywhere": "1"})]),
    "member": ("/members", [FormStep(fields={"email": "walked@example.com"})]),
    "refresh": ("/profiles/{profile}/refresh", [FormStep()]),
    "edited profile": (
        "/profiles/{profile}/edit",
        [FormStep(fields={"allowed_ips": "198.51.100.0/24"}), FormStep(press="button[value=save]")],
    ),
    "import": (
        "/collections/{collection}/import",
        [FormStep(fields={"openapi_spec": DOCUMENT.replace("{", "{{").replace("}", "}}")}), FormStep()],
    ),
    "search": ("/clients", [FormStep(fields={"find": "walked"}, press="Enter")]),
    "search for a token": ("/clients", [FormStep(fields={"find": "ost_" + "aB3" * 20}, press="Enter")]),
    "settings": ("/settings", [FormStep()]),
    "deletion": (
        "/clients/{spare}/delete",
        [
            FormStep(fields={"name": "Another name"}, press=DELETE, kept=False),
            FormStep(fields={"name": "To be deleted"}, press=DELETE, kept=False),
        ],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def stage(shared_stage: Stage) -> Stage:
    return shared_stage


@pytest.fixture(scope="module")
def ids(stage: Stage) -> dict[str, Any]:
    upstream = Upstream()
    collection = stage.a_collection(upstream, "GET /things", name="Walked things")
    upstream.close()
    client = stage.a_client("Walked client")
    return {
        "collection": collection["id"],
        "client": client["id"],
        "profile": stage.a_profile(collection, client=client, name="Walked")["id"],
        "spare": stage.a_client("To be deleted")["id"],
    }


@pytest.mark.parametrize("flow", FLOWS)
def test_back_and_forward_work_after_every_step(
    owner: Page, stage: Stage, ids: dict[str, Any], flow: str
) -> None:
    known = {**ids, "flow": flow}
    start, steps = FLOWS[flow]
    at(owner, stage, start.format(**known))
    for step in steps:
        typed = {name: value.format(**known) for name, value in step.fields.items()}
        for name, value in typed.items():
            _fill(owner, name, value)
        with owner.expect_navigation():
            if step.press == "Enter":
                owner.keyboard.press("Enter")
            else:
                owner.locator(step.press).first.click()
        _is_a_page(owner)
        after, done = owner.url, stage.done("GET", "v2/audit_events")["count"]
        owner.go_back()
        _is_a_page(owner)
        if step.press != "Enter" and step.kept:
            for name, value in typed.items():
                _holds(owner, name, value)
        owner.go_forward()
        _is_a_page(owner)
        assert owner.url == after
        # What stands behind the pages is as it was: going back and forward did nothing.
        assert stage.done("GET", "v2/audit_events")["count"] == done


def _is_a_page(page: Page) -> None:
    expect(page.get_by_role("heading", level=1).first).to_be_visible()
    assert not page.url.startswith("chrome-error:")
    for failure in ("Not found", "Not allowed", "Something broke", "This page has expired"):
        expect(page.get_by_role("heading", name=failure, level=1)).to_have_count(0)


def _fill(page: Page, name: str, value: str) -> None:
    fields = page.locator(f"main [name={name}]" if name != "find" else "#find-anything")
    kind = fields.first.evaluate("field => field.type")
    if kind in {"checkbox", "radio"}:
        page.locator(f"main [name={name}][value='{value}']").check()
    elif kind == "select-one":
        fields.first.select_option(value)
    else:
        for details in page.locator(f"details:not([open]):has([name={name}])").all():
            details.evaluate("details => { details.open = true }")
        fields.first.fill(value)


def _holds(page: Page, name: str, value: str) -> None:
    fields = page.locator(f"main [name={name}]")
    if fields.first.evaluate("field => field.type") in {"checkbox", "radio"}:
        expect(page.locator(f"main [name={name}][value='{value}']")).to_be_checked()
    else:
        expect(fields.first).to_have_value(value)
