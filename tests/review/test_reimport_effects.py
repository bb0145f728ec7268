"""A preview of a collection's next document says who called what it touches."""

import json
import time
from typing import Any

from tests.review.conftest import World

from ostiary.usage.models import MinuteCount


def a_spec(*paths: str) -> dict[str, Any]:
    tree = {
        "openapi": "3.0.0", "info": {"title": "T", "version": "1"},
        "servers": [{"url": "http://10.1.2.3"}],
        "paths": {path: {"get": {"summary": path}} for path in paths},
    }  # fmt: skip
    return {"content": json.dumps(tree), "format": "json"}


def test_the_profiles_that_called_what_is_gone_are_named_with_their_calls(world: World) -> None:
    api = world.api
    given = {"name": "Imported", "openapi_spec": a_spec("/stays", "/goes", "/unused")}
    collection = api.done("POST", "api_collections", given)
    found = api.done("GET", f"api_endpoints?api_collection_id={collection['id']}")
    endpoints = {each["path"]: each["id"] for each in found}
    profile = world.a_profile(api_collection_ids=[collection["id"]])
    minute = int(time.time()) // 60 * 60 - 3600
    for path, reason, calls in (("goes", 0, 312), ("goes", 3, 9), ("stays", 0, 4)):
        MinuteCount.objects.create(
            time=minute, profile_id=profile["id"], client_id=world.client["id"], reason=reason,
            collection_id=collection["id"], endpoint_id=endpoints[path], status=2, calls=calls,
        )  # fmt: skip
    path = f"api_collections/{collection['id']}/import/preview"
    plan = api.done("POST", path, {"openapi_spec": a_spec("/stays")})["data"]
    gone = {each["api_endpoint_id"]: each for each in plan["gone"]}
    assert (gone[endpoints["goes"]]["calls"], gone[endpoints["goes"]]["access_profiles"]) == (
        312,
        1,
    )
    (caller,) = gone[endpoints["goes"]]["callers"]
    assert (caller["access_profile_id"], caller["client"], caller["calls"]) == (
        profile["id"], "Acme", 312,
    )  # fmt: skip
    assert gone[endpoints["unused"]]["callers"] == []
