"""`/metrics`: every part's numbers in one scrape, for those who may see them, whatever is down."""

import os
import re
import signal
import time
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.operations.scraping import answer, scrape, value
from tests.stage import Stage, Upstream, wait_for

pytestmark = [pytest.mark.gateway, pytest.mark.slow]


@pytest.fixture(scope="module")
def collection(stage: Stage, upstream: Upstream) -> Any:
    return stage.a_collection(upstream)


def test_only_who_sees_everything_may_scrape(stage: Stage, collection: Any) -> None:
    def a_token(**more: Any) -> str:
        return str(stage.done("POST", "v2/tokens", {"name": "t", **more})["data"]["secret"])

    profile = stage.a_profile(collection)
    for token in (None, "", "nonsense", profile["secret"], a_token(role="owner", project_ids=[1])):
        told = answer(stage, token)
        assert told.status == 401
        assert b"ostiary_" not in told.body
        assert "realm" in told.headers["www-authenticate"]
    assert answer(stage, a_token(role="viewer", all_projects=True)).status == 200
    assert answer(stage, a_token(admin=True)).status == 200
    revoked = stage.done("POST", "v2/tokens", {"name": "t", "admin": True})["data"]
    assert answer(stage, revoked["secret"]).status == 200
    stage.done("DELETE", f"v2/tokens/{revoked['id']}")
    assert answer(stage, revoked["secret"]).status == 401


def test_what_happened_is_counted(stage: Stage, collection: Any) -> None:
    before = scrape(stage)
    profile = stage.a_profile(collection)
    target = f"/{collection['handle']}/things"
    assert [stage.call(target, profile["secret"]).status for _ in range(5)] == [200] * 5
    for number in range(3):
        assert stage.call(target, f"not-a-token-{number}-of-ours-at-all").status == 401
    token = re.search(r"API-TOKEN: (ost_\S+)'", "\n".join(stage.lines))
    assert token
    quote = stage.call(
        "/shipping-v1/quote", token[1], method="POST",
        headers={"Content-Type": "application/json"}, body=b"{}",
    )  # fmt: skip
    assert quote.status in {200, 400, 404}
    # The gateway counts an answer when it has been sent.
    wait_for(
        lambda: (
            value(scrape(stage), "ostiary_gateway_responses_total")
            - value(before, "ostiary_gateway_responses_total")
            >= 9
        )
    )
    after = scrape(stage)

    def grown(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert grown("ostiary_upcalls_total", verdict="leased") >= 1
    assert grown("ostiary_lookup_seconds_count", statement="credential") >= 1
    assert grown("ostiary_gateway_requests_total") == 9
    assert grown("ostiary_gateway_responses_total", **{"class": "2xx"}) >= 5
    assert grown("ostiary_gateway_responses_total", **{"class": "4xx"}) >= 3
    assert grown("ostiary_http_requests_total", interface="api", status="2xx") >= 2
    assert grown("ostiary_confirm_seconds_count", outcome="confirmed") >= 1
    for dictionary in ("leases", "epochs", "limits_short", "usage", "objects", "imported"):
        size = value(after, "ostiary_gateway_dictionary_bytes", dictionary=dictionary)
        free = value(after, "ostiary_gateway_dictionary_free_bytes", dictionary=dictionary)
        assert 0 < free <= size
    assert value(after, "ostiary_gateway_applied_sequence") > 0
    assert value(after, "ostiary_published_sequence") == value(after, "ostiary_feed_sequence")
    assert value(after, "ostiary_published_objects") > 0
    assert value(after, "ostiary_set_aside_objects") == 0
    assert value(after, "ostiary_gateway_upstream_servers", state="up") >= 1
    assert value(after, "ostiary_feed_sequence") == value(after, "ostiary_confirmed_sequence") > 0
    for part in (
        "control", "supervisor", "authority", "recipes", "gateway", "collector", "publisher",
    ):  # fmt: skip
        assert value(after, "ostiary_part_up", part=part) == 1
    for part in (
        "control", "authority", "recipes", "gateway", "collector", "publisher", "demo",
    ):  # fmt: skip
        assert value(after, "ostiary_part_ready", part=part) == 1
    wait_for(lambda: value(scrape(stage), "ostiary_collector_lines_total", outcome="read") >= 9)
    wait_for(lambda: value(scrape(stage), "ostiary_collector_lines_written_total") >= 9)
    last = value(scrape(stage), "ostiary_collector_last_harvest_timestamp_seconds")
    assert 0 <= time.time() - last < 60
    assert value(scrape(stage), "ostiary_collector_write_errors_total") == 0
    assert value(after, "process_resident_memory_bytes", part="authority") > 1e7


def test_recipes_are_counted(stage: Stage) -> None:
    recipes = stage.done("GET", "recipes")
    assert recipes
    before = value(scrape(stage), "ostiary_recipe_calls_total")
    token = re.search(r"API-TOKEN: (ost_\S+)'", "\n".join(stage.lines))
    assert token
    for collection in stage.done("GET", "api_collections"):
        for endpoint in stage.done("GET", f"api_endpoints?api_collection_id={collection['id']}"):
            if endpoint.get("recipe_id") or endpoint.get("flow_id"):
                path = f"/{collection['handle']}{endpoint['path']}"
                stage.call(path, token[1], method=endpoint["method"], body=b"{}",
                           headers={"Content-Type": "application/json"})  # fmt: skip
    after = scrape(stage)
    assert value(after, "ostiary_recipe_workers") == 2
    assert value(after, "ostiary_recipe_calls_total") >= before


def test_names_units_and_labels_are_as_prometheus_wants_them(stage: Stage, collection: Any) -> None:
    text = answer(stage, stage.token).body.decode()
    allowed = {"ceiling", "verdict", "reason", "statement", "outcome", "interface", "route", "method", "status",
               "class", "direction", "kind", "state", "dictionary", "part", "why", "le"}  # fmt: skip
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        assert re.fullmatch(r"(ostiary|process)_[a-z0-9_]+", family.name)
        assert not family.name.endswith(("_ms", "_milliseconds", "_minutes", "_kb", "_mb"))
        for sample in family.samples:
            assert set(sample.labels) <= allowed, sample
    # No path, name, or token of anybody is a label: the number of series does not grow with them.
    series = len(scrape(stage))
    for number in range(5):
        profile = stage.a_profile(collection)
        stage.call(f"/{collection['handle']}/things/{number}", profile["secret"])
        stage.call(f"/nothing/{number}", "x" * (20 + number))
        stage.api("GET", f"no/such/{number}")
        stage.api("GET", f"api_clients/{number + 100}")
        answer(stage, stage.token, f"/clients/{number}")
    stage.a_profile(collection)
    assert len(scrape(stage)) - series < 60
    again = len(scrape(stage))
    for number in range(5):
        stage.api("GET", f"api_clients/{number + 200}")
        stage.call(f"/nothing/{number}", "y" * (20 + number))
    assert len(scrape(stage)) == again


@pytest.mark.parametrize("part", ["authority", "recipes", "collector", "publisher"])
def test_a_part_that_hangs_is_a_metric_and_no_error(stage: Stage, part: str) -> None:
    # The supervisor would replace it: it hangs as well.
    pids = [stage.pid, *stage.pids(part)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        samples = scrape(stage)
        # What hangs, hangs for good.
        assert time.monotonic() - began < 30
        assert value(samples, "ostiary_part_up", part=part) == 0
        assert value(samples, "ostiary_part_up", part="gateway") == 1
        assert any(name == "ostiary_gateway_requests_total" for name, _ in samples)
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)
    wait_for(lambda: value(scrape(stage), "ostiary_part_up", part=part) == 1)


def test_a_part_that_dies_is_counted(stage: Stage) -> None:
    before = value(scrape(stage), "ostiary_part_restarts_total", part="recipes")
    stage.kill("recipes")
    wait_for(
        lambda: value(scrape(stage), "ostiary_part_restarts_total", part="recipes") == before + 1
    )
    wait_for(lambda: value(scrape(stage), "ostiary_part_ready", part="recipes") == 1)
    assert value(scrape(stage), "ostiary_part_up", part="recipes") == 1


def test_every_answer_of_console_and_api_has_an_id_of_its_own(stage: Stage) -> None:
    ids = [
        stage.api("GET", path, headers={"X-Request-Id": "mine"}).headers["x-request-id"]
        for path in ("api_clients", "no/such", "../healthz", "../clients", "../static/console/x")
    ]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[0-9a-f]{32}", each) for each in ids)
