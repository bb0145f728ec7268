"""`/api/connections`: where proxy collections send their calls. Secrets go in and never out."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema

from ostiary.api import lists
from ostiary.api.answers import (
    ERRORS,
    ChangeBody,
    Revocation,
    RevokedAnswer,
    Strict,
    Time,
    actor,
    added,
    body,
    change,
    columns,
    if_match,
    in_force,
    revoked,
    showing,
    versioned,
)
from ostiary.directory import states
from ostiary.directory.catalog import connection_tests, connections
from ostiary.directory.changes import unpublished_objects
from ostiary.directory.changes.inputs import IdOrNull, Name, OneOf
from ostiary.directory.changes.keys import Key, KeyedInput, Labels
from ostiary.directory.models import Connection
from ostiary.directory.states import StateCode

router = Router(tags=["Connections"])


@body("base_urls")
class InputIn(connections.UpstreamInput):
    """`auth_name`: header, query parameter, user name or client id; `auth_secret` is write-only.

    `token_url` and `scope` go with `oauth2_client_credentials`. `public_address`: how the upstream is told
    the address that consumers call: `x_forwarded`, `forwarded` (RFC 7239), `host`, or `none`.
    `weights`: one number for each base URL, or none. `retries`: how often a call that failed is tried again;
    null: twice where there are several servers. `http_version`: `1.1` or `2`. `translate_urls`: whether URLs and cookies in its answers come back with that address.
    """


@body()
class InputChange(connections.UpstreamInput):
    """Omitted fields keep their values, and so does the secret."""


Provider = Annotated[str, OneOf(("http",))]


class ConnectionIn(Strict):
    key: Key = None
    labels: Labels = {}
    name: Name
    provider: Provider = "http"
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
    effective_state: StateCode
    #: Why the gateway rejects it and does not serve it; null: the gateway has it.
    gateway_problem: str | None
    warnings: list[str] = []


class ConnectionChanged(ConnectionOut):
    revocation: Revocation | None = None


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
        "effective_state": states.of_connection(connection).code,
        "gateway_problem": unpublished_objects.reason(unpublished_objects.CONNECTION, connection.pk)
        or None,
        "warnings": list(warnings),
    }


@change(ConnectionChanged, _shown)
class ConnectionChange(ChangeBody, KeyedInput):
    """Omitted fields keep their values, within `input` as well; `project_id` cannot be changed."""

    name: Name = ""
    provider: Provider = "http"
    project_id: IdOrNull = None
    input: InputChange = InputChange()


def _changes(payload: ConnectionChange) -> connections.ConnectionInput:
    """A change without the object in it."""
    kept = connections.ConnectionInput.model_fields
    sent = {name: value for name, value in payload.sent().items() if name in kept}
    return connections.ConnectionInput.made_of(payload, **sent, **payload.input.sent())


def _given(payload: ConnectionIn) -> connections.ConnectionInput:
    own = payload.model_dump(exclude_unset=True, include={"key", "labels"})
    return connections.ConnectionInput.of(
        name=payload.name, project_id=payload.project_id, **own, **payload.input.sent()
    )


class ConnectionStepOut(Schema):
    step: connection_tests.ConnectionStep
    good: bool
    milliseconds: int
    detail: str
    remedy: str


class TestedServerOut(Schema):
    url: str
    good: bool
    steps: list[ConnectionStepOut]


class ConnectionTestOut(Schema):
    good: bool
    servers: list[TestedServerOut]
    untested_servers: int


class ConnectionQuery(lists.LabelledQuery):
    conditions: ClassVar = staticmethod(states.connection_conditions)

    effective_state: Annotated[str | None, lists.among(states.connection_conditions)] = None
    searched: ClassVar[tuple[str, ...]] = ("name", "key", "base_urls")

    project_id: lists.IdFilter = None
    auth_type: Annotated[str | None, OneOf(Connection.Auth.values, named=True)] = None


@router.get("/connections", response={200: list[ConnectionOut], **ERRORS})
def list_connections(
    request: HttpRequest, query: Query[ConnectionQuery], response: HttpResponse
) -> Any:
    found = lists.bare(request, response, connections.connections(actor(request)), query)
    return [_shown(connection) for connection in found]


@router.post("/connections", response={200: ConnectionOut, **ERRORS})
def create_connection(request: HttpRequest, payload: ConnectionIn, response: HttpResponse) -> Any:
    connection, warnings = added(connections.create(by=actor(request), given=_given(payload)))
    versioned(response, connection)
    return _shown(connection, warnings)


@router.get("/connections/{int:connection_id}", response={200: ConnectionChanged, **ERRORS})
def show_connection(request: HttpRequest, connection_id: int, response: HttpResponse) -> Any:
    connection = connections.find(actor(request), connection_id)
    versioned(response, connection)
    return _shown(connection)


@router.put("/connections/{int:connection_id}", response={200: ConnectionChanged, **ERRORS})
def change_connection(
    request: HttpRequest, connection_id: int, payload: ConnectionChange, response: HttpResponse
) -> Any:
    saved = connections.change(
        by=actor(request),
        connection_id=connection_id,
        given=_changes(payload),
        if_match=if_match(request),
    )
    connection, receipt = in_force(saved)
    versioned(response, connection)
    return _shown(connection, saved.warnings) | {"revocation": receipt}


@router.delete("/connections/{int:connection_id}", response={200: RevokedAnswer, **ERRORS})
def delete_connection(request: HttpRequest, connection_id: int) -> Any:
    return revoked(
        connections.delete(
            by=actor(request), connection_id=connection_id, if_match=if_match(request)
        )
    )


@router.post("/connections/{int:connection_id}/test", response={200: ConnectionTestOut, **ERRORS})
def test_connection(request: HttpRequest, connection_id: int) -> Any:
    found = connections.find(actor(request), connection_id)
    tested = connection_tests.of(actor(request), connection_id)
    return {
        "good": all(each.good for each in tested),
        "servers": [
            {"url": each.url, "good": each.good, "steps": each.findings} for each in tested
        ],
        "untested_servers": len(found.base_urls) - len(tested),
    }
