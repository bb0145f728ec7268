"""`/api/connections`: where proxy collections send their calls. Secrets go in and never out."""

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema

from ostiary.api.answers import (
    ERRORS,
    Id,
    Paging,
    Strict,
    Success,
    Time,
    actor,
    added,
    if_match,
    in_force,
    page,
    versioned,
)
from ostiary.directory.catalog import connections
from ostiary.directory.changes import unpublished_objects
from ostiary.directory.models import Connection

router = Router(tags=["Connections"])


class InputIn(Strict):
    """`auth_name`: header, query parameter, user name or client id; `auth_secret` is write-only.

    `token_url` and `scope` go with `oauth2_client_credentials`. `public_address`: how the upstream is told
    the address that consumers call: `x_forwarded`, `forwarded` (RFC 7239), `host`, or `none`.
    `weights`: one number for each base URL, or none. `retries`: how often a call that failed is tried again;
    null: twice where there are several servers. `http_version`: `1.1` or `2`. `translate_urls`: whether URLs and cookies in its answers come back with that address.
    """

    base_url: str | list[str]
    auth_type: str = "none"
    auth_name: str = ""
    auth_secret: str | None = None
    token_url: str = ""
    scope: str = ""
    verify_tls: bool = True
    ca_pem: str = ""
    timeout_seconds: int = 30
    health_path: str = ""
    stream_timeout_seconds: int = 3600
    balancing: str = "round_robin"
    weights: list[int] = []
    retries: int | None = None
    retry_writes: bool = False
    http_version: str = "1.1"
    public_address: str = "x_forwarded"
    translate_urls: bool = True


class ConnectionIn(Strict):
    name: str
    provider: str = "http"
    project_id: Id | None = None
    input: InputIn


class InputOut(Schema):
    base_url: list[str]
    auth_type: str
    auth_name: str
    token_url: str
    scope: str
    verify_tls: bool
    ca_pem: str
    timeout_seconds: int
    health_path: str
    stream_timeout_seconds: int
    balancing: str
    weights: list[int]
    retries: int | None
    retry_writes: bool
    http_version: str
    public_address: str
    translate_urls: bool


class ConnectionOut(Schema):
    id: int
    name: str
    provider: str
    project_id: int
    input: InputOut
    created_at: Time
    updated_at: Time
    #: Why the gateway does not take it, and does not serve it; null: it takes it.
    gateway_problem: str | None
    warnings: list[str] = []


def _shown(connection: Connection, warnings: Sequence[str] = ()) -> dict[str, Any]:
    return {
        "id": connection.pk,
        "name": connection.name,
        "provider": "http",
        "project_id": connection.project_id,
        "input": {
            "base_url": connection.shown_urls,
            "auth_type": connection.auth_type,
            "auth_name": connection.auth_name,
            "token_url": connection.token_url,
            "scope": connection.scope,
            "verify_tls": connection.verify_tls,
            "ca_pem": connection.ca_pem,
            "timeout_seconds": connection.timeout_seconds,
            "health_path": connection.health_path,
            "stream_timeout_seconds": connection.stream_timeout_seconds,
            "balancing": connection.balancing,
            "weights": connection.weights,
            "retries": connection.retries,
            "retry_writes": connection.retry_writes,
            "http_version": connection.http_version,
            "public_address": connection.public_address,
            "translate_urls": connection.translate_urls,
        },
        "created_at": connection.created_at,
        "updated_at": connection.updated_at,
        "gateway_problem": unpublished_objects.reason(unpublished_objects.CONNECTION, connection.pk)
        or None,
        "warnings": list(warnings),
    }


def _given(payload: ConnectionIn) -> connections.Input:
    given = payload.input
    return connections.Input(
        base_urls=given.base_url,
        auth_type=given.auth_type,
        auth_name=given.auth_name,
        auth_secret=given.auth_secret,
        token_url=given.token_url,
        scope=given.scope,
        verify_tls=given.verify_tls,
        ca_pem=given.ca_pem,
        timeout_seconds=given.timeout_seconds,
        health_path=given.health_path,
        stream_timeout_seconds=given.stream_timeout_seconds,
        balancing=given.balancing,
        weights=given.weights,
        retries=given.retries,
        retry_writes=given.retry_writes,
        http_version=given.http_version,
        public_address=given.public_address,
        translate_urls=given.translate_urls,
    )


@router.get("/connections", response={200: list[ConnectionOut], **ERRORS})
def list_connections(request: HttpRequest, paging: Query[Paging]) -> Any:
    return [_shown(c) for c in page(connections.connections(actor(request)), paging)]


@router.post("/connections", response={200: ConnectionOut, **ERRORS})
def create_connection(request: HttpRequest, payload: ConnectionIn) -> Any:
    connection, warnings = added(
        connections.create(
            by=actor(request),
            name=payload.name,
            project_id=payload.project_id,
            given=_given(payload),
        )
    )
    return _shown(connection, warnings)


@router.get("/connections/{int:connection_id}", response={200: ConnectionOut, **ERRORS})
def show_connection(request: HttpRequest, connection_id: int, response: HttpResponse) -> Any:
    connection = connections.find(actor(request), connection_id)
    versioned(response, connection)
    return _shown(connection)


@router.put("/connections/{int:connection_id}", response={200: ConnectionOut, **ERRORS})
def change_connection(
    request: HttpRequest, connection_id: int, payload: ConnectionIn, response: HttpResponse
) -> Any:
    saved = connections.change(
        by=actor(request),
        connection_id=connection_id,
        name=payload.name,
        given=_given(payload),
        if_match=if_match(request),
    )
    connection, _ = in_force(saved)
    versioned(response, connection)
    return _shown(connection, saved.warnings)


@router.delete("/connections/{int:connection_id}", response={200: Success, **ERRORS})
def delete_connection(request: HttpRequest, connection_id: int) -> Any:
    in_force(
        connections.delete(
            by=actor(request), connection_id=connection_id, if_match=if_match(request)
        )
    )
    return {"success": True}
