"""`/api/v2/api_clients/{id}/api_keys`: access profiles as keys of their client, in the newer dialect."""

from typing import Any, Literal

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema, Status

from ostiary.access.methods import AuthMethod
from ostiary.api import lists
from ostiary.api.answers import (
    ERRORS,
    ChangeBody,
    Message,
    Revocation,
    Success,
    actor,
    added,
    body,
    change,
    if_match,
    in_force,
    versioned,
)
from ostiary.api.clients import access_profiles as profiles_api
from ostiary.api.clients.access_profiles import (
    ProfileOut,
    ProfileQuery,
    RefreshIn,
    newest_credential,
)
from ostiary.api.error_codes import ErrorCode
from ostiary.directory.actor import Actor
from ostiary.directory.changes.errors import NotInForce
from ostiary.directory.clients import access_profiles, api_keys, clients, credentials, token_rules
from ostiary.directory.models import AccessProfile
from ostiary.identity import tokens
from ostiary.identity.secret import Secret

router = Router(tags=["API keys"])
KEYS = "/v2/api_clients/{int:client_id}/api_keys"
KEY = f"{KEYS}/{{int:key_id}}"


@body("name", "active")
class KeyIn(api_keys.NewKeyInput):
    """`token`, `token_sha256` or `profile_key` import a credential that consumers already have."""


class ApiKey(ProfileOut):
    """An access profile as a key."""

    #: The token or client id with its middle left out, or the profile key. A new token is shown whole,
    #: once: in the answers to create and refresh.
    auth_token: str


class ApiKeyChanged(ApiKey):
    warnings: list[str] = []
    revocation: Revocation | None = None
    oauth_client_secret: str | None = None


class ApiKeyData(Schema):
    data: ApiKeyChanged


class UnconfirmedKey(Message):
    """Saved, not yet in force; `data` still shows the secret, this once."""

    code: Literal[ErrorCode.NOT_IN_FORCE]
    data: ApiKeyChanged


class ApiKeyPage(lists.CursorPage[ApiKey]):
    """One page of a client's keys."""


class KeySwitched(Success):
    revocation: Revocation


def described(key: AccessProfile, secret: Secret | None = None) -> dict[str, Any]:
    """A key as answers show it; `secret` is what of it is shown once."""
    answer = profiles_api.described(key) | {"auth_token": _masked(key)}
    if not secret:
        return answer
    if key.auth_type == AuthMethod.OAUTH2:
        return answer | {"oauth_client_secret": secret.reveal()}
    return answer | {"auth_token": secret.reveal()}


@change(ApiKeyChanged, described)
class KeyChange(ChangeBody, api_keys.KeyInput):
    """Omitted fields keep their values; `expires_at` may be null: never.

    `follows_client` as false lets the key keep what it has as its own; true takes the client's
    defaults over.
    """


def _masked(key: AccessProfile) -> str:
    newest = newest_credential(key)
    if newest is None:
        return tokens.masked("", "")
    if AuthMethod(key.auth_type) in token_rules.SIGNED:
        return newest.public_id
    return tokens.masked(newest.prefix, newest.last_four)


def _changed(
    by: Actor, client_id: int, key_id: int, response: HttpResponse, secret: Secret
) -> dict[str, Any]:
    key = api_keys.find(by, client_id, key_id)
    versioned(response, key)
    return described(key, secret)


@router.get(KEYS, response={200: ApiKeyPage, **ERRORS})
def list_keys(
    request: HttpRequest, client_id: int, query: Query[ProfileQuery], response: HttpResponse
) -> Any:
    """All access profiles of the client, also those with settings of their own."""
    by = actor(request)
    clients.find(by, client_id)
    found = access_profiles.profiles(by, client_id)
    return lists.paged(request, response, found, query, described)


@router.post(KEYS, response={200: ApiKeyData, **ERRORS})
def create_key(request: HttpRequest, client_id: int, payload: KeyIn, response: HttpResponse) -> Any:
    """Make a key that follows its client; `auth_token` is shown whole only once.

    A client that has 20 profiles gets no more here.
    """
    by = actor(request)
    saved, secret = api_keys.create(by=by, client_id=client_id, given=payload)
    key, warnings = added(saved)
    return {"data": _changed(by, client_id, key.pk, response, secret) | {"warnings": warnings}}


@router.get(KEY, response={200: ApiKeyData, **ERRORS})
def show_key(request: HttpRequest, client_id: int, key_id: int, response: HttpResponse) -> Any:
    key = api_keys.find(actor(request), client_id, key_id)
    versioned(response, key)
    return {"data": described(key)}


@router.put(KEY, response={200: ApiKeyData, **ERRORS})
def change_key(
    request: HttpRequest, client_id: int, key_id: int, payload: KeyChange, response: HttpResponse
) -> Any:
    by = actor(request)
    saved = api_keys.change(
        by=by, client_id=client_id, key_id=key_id, given=payload, if_match=if_match(request)
    )
    _, receipt = in_force(saved)
    key = api_keys.find(by, client_id, key_id)
    versioned(response, key)
    outcome = {"warnings": list(saved.warnings), "revocation": receipt}
    return {"data": described(key) | outcome}


@router.delete(KEY, response={200: KeySwitched, **ERRORS})
def delete_key(request: HttpRequest, client_id: int, key_id: int) -> Any:
    by = actor(request)
    api_keys.find(by, client_id, key_id)
    saved = access_profiles.delete(by=by, profile_id=key_id, if_match=if_match(request))
    _, receipt = in_force(saved)
    return {"success": True, "revocation": receipt}


@router.put(f"{KEY}/enable", response={200: KeySwitched, **ERRORS})
def enable_key(request: HttpRequest, client_id: int, key_id: int) -> Any:
    return _switched(request, client_id, key_id, active=True)


@router.put(f"{KEY}/disable", response={200: KeySwitched, **ERRORS})
def disable_key(request: HttpRequest, client_id: int, key_id: int) -> Any:
    """Switch the key off: when this answers, it cannot call."""
    return _switched(request, client_id, key_id, active=False)


def _switched(request: HttpRequest, client_id: int, key_id: int, *, active: bool) -> dict[str, Any]:
    by = actor(request)
    api_keys.find(by, client_id, key_id)
    saved = access_profiles.switch(
        by=by, profile_id=key_id, active=active, if_match=if_match(request)
    )
    _, receipt = in_force(saved)
    return {"success": True, "revocation": receipt}


@router.put(f"{KEY}/refresh_secret", response={200: ApiKeyData, **ERRORS, 503: UnconfirmedKey})
def refresh_key_secret(
    request: HttpRequest,
    client_id: int,
    key_id: int,
    response: HttpResponse,
    payload: RefreshIn | None = None,
) -> Any:
    """Issue a new token, shown only once; the old one still works for `overlap_seconds` at most.

    An answer of 503 also has the new one, in `data`: it is saved, and the message says when the old
    one ends at the latest.
    """
    by = actor(request)
    api_keys.find(by, client_id, key_id)
    saved, secret = credentials.refresh(
        by=by,
        profile_id=key_id,
        overlap_seconds=payload.overlap_seconds if payload else 0,
        if_match=if_match(request),
    )
    receipt, problem = None, ""
    try:
        _, receipt = in_force(saved)
    except NotInForce as error:
        problem = str(error)
    data = _changed(by, client_id, key_id, response, secret) | {"revocation": receipt}
    if problem:
        return Status(503, {"message": problem, "code": ErrorCode.NOT_IN_FORCE, "data": data})
    return {"data": data}
