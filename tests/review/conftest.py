"""The management API in this process, and calls that a gateway would have logged."""

from collections.abc import Callable
from typing import Any, Protocol

import pytest
from tests.api.conftest import Api, api

from ostiary.access.reasons import Reason, describe
from ostiary.usage.models import LoggedCall

__all__ = ["api"]

#: A Tuesday at noon.
NOON = 1_795_521_600


class Log(Protocol):
    def __call__(self, request_id: str, **fields: Any) -> LoggedCall: ...


@pytest.fixture
def log(db: None) -> Log:
    """Write a line of the request log; admitted, unless a reason is given."""

    def written(request_id: str, **fields: Any) -> LoggedCall:
        reason: Reason | None = fields.pop("reason", None)
        would: Reason | None = fields.pop("would", None)
        told = describe(reason) if reason else None
        line: dict[str, Any] = {
            "at_ms": NOON * 1000 + 500,
            "status": told.status if told else 200,
            "reason": told.code if told else 0,
            "would": describe(would).code if would else 0,
            "method": "GET",
            "address": "192.0.2.7",
            "latency_ms": 7,
        }
        return LoggedCall.objects.create(request_id=request_id, **(line | fields))

    return written


class World:
    """A collection with two endpoints, a client, and access profiles made through the API."""

    def __init__(self, api: Api) -> None:
        self.api = api
        connection = api.done(
            "POST", "connections", {"name": "Orders", "input": {"base_url": "http://10.0.0.1"}}
        )
        self.collection = api.done(
            "POST", "api_collections", {"name": "Orders", "proxy_connection_id": connection["id"]}
        )
        self.orders = self.an_endpoint("GET", "/orders")
        self.order = self.an_endpoint("GET", "/orders/{id}")
        self.sleeping = self.an_endpoint("POST", "/orders", active=False)
        self.client = api.done("POST", "api_clients", {"name": "Acme"})["result"]

    def an_endpoint(self, method: str, path: str, *, active: bool = True) -> Any:
        content = {"name": path, "method": method, "path": path, "active": active}
        return self.api.done(
            "POST", f"api_collections/{self.collection['id']}/api_endpoints", content
        )

    def a_profile(self, **more: Any) -> Any:
        content = {
            "name": "Script",
            "api_client_id": self.client["id"],
            "api_collection_ids": [self.collection["id"]],
            "auth_type": "token",
            **more,
        }
        return self.api.done("POST", "api_access_profiles", content)["result"]

    def a_policy(self, name: str = "Standard", **more: Any) -> Any:
        return self.api.done("POST", "v2/api_policies", {"name": name, **more})["data"]

    def change(self, profile: Any, **more: Any) -> Any:
        return self.api.done("PUT", f"api_access_profiles/{profile['id']}", more)["result"]

    def credential(self, profile: Any) -> int:
        found = self.api.done("GET", f"v2/access_profiles/{profile['id']}/credentials")
        return int(found["data"][0]["id"])


@pytest.fixture
def world(api: Api) -> World:
    return World(api)


Written = Callable[..., LoggedCall]
