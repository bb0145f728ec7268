"""`/api/connections`: where proxy collections send their calls. Secrets go in and never out."""

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema

from ostiary.api.answers import (
    ERRORS,
    Paging,
    Strict,
    Success,
    Time,
    actor,
    added,
    body,
    columns,
    if_match,
    in_force,
    page,
    showing,
    versioned,
)
from ostiary.directory.catalog import connections
from ostiary.directory.changes import unpublished_objects
from ostiary.directory.changes.inputs import IdOrNull, Name
from ostiary.directory.changes.keys import Key, Labels
from ostiary.directory.models import Connection

router = Router(tags=["Connections"])


@body("base_urls")
class InputIn(connections.UpstreamInput):
    """`auth_name`: header, query parameter, user name or client id; `auth_secret` is write-only.

    `token_url` and `scope` go with `oauth2_client_credentials`. `public_address`: how the upstream is told
    the address that consumers call: `x_forwarded`, `forwarded` (RFC 7239), `host`, or `none`.
    `weights`: one number for each base URL, or none. `retries`: how often a call that failed is tried again;
    null: twice where there are several servers. `http_version`: `1.1` or `2`. `translate_urls`: whether URLs and cookies in its answers come back with that address.
    """


class ConnectionIn(Strict):
    key: Key = None
    labels: Labels = {}
    name: Name
    provider: str = "http"
    project_id: IdOrNull = None
    input: InputIn


@showing(connections.UpstreamInput)
class InputOut(Schema):
    """A connection without its secret."""


class ConnectionOut(Schema):
    id: int
    key: str | None
    labels: dict[str, str]
    name: str
    provider: str
    project_id: int
    input: InputOut
    created_at: Time
    updated_at: Time
    #: Why the gateway rejects it and does not serve it; null: the gateway has it.
    gateway_problem: str | None
    warnings: list[str] = []


def _shown(connection: Connection, warnings: Sequence[str] = ()) -> dict[str, Any]:
    return {
        "id": connection.pk,
        "key": connection.key,
        "labels": connection.labels,
        "name": connection.name,
        "provider": "http",
        "project_id": connection.project_id,
        "input": {
            **columns(connections.UpstreamInput, connection),
            "base_url": connection.shown_urls,
        },
        "created_at": connection.created_at,
        "updated_at": connection.updated_at,
        "gateway_problem": unpublished_objects.reason(unpublished_objects.CONNECTION, connection.pk)
        or None,
        "warnings": list(warnings),
    }


def _given(payload: ConnectionIn) -> connections.ConnectionInput:
    own = payload.model_dump(exclude_unset=True, include={"key", "labels"})
    return connections.ConnectionInput.of(
        name=payload.name, project_id=payload.project_id, **own, **payload.input.sent()
    )


@router.get("/connections", response={200: list[ConnectionOut], **ERRORS})
def list_connections(request: HttpRequest, paging: Query[Paging]) -> Any:
    return [_shown(c) for c in page(connections.connections(actor(request)), paging)]


@router.post("/connections", response={200: ConnectionOut, **ERRORS})
def create_connection(request: HttpRequest, payload: ConnectionIn) -> Any:
    connection, warnings = added(connections.create(by=actor(request), given=_given(payload)))
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
