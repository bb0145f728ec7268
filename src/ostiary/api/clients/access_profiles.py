"""`/api/api_access_profiles` (v1), and their credentials."""

from datetime import datetime
from typing import Any, Literal

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema, Status
from pydantic import Field

from ostiary.access.methods import AuthMethod
from ostiary.api.answers import (
    ERRORS,
    Id,
    IdOrNone,
    Message,
    Paging,
    Revocation,
    Strict,
    Time,
    actor,
    added,
    if_match,
    in_force,
    page,
    versioned,
)
from ostiary.directory.changes.errors import Invalid, NotInForce
from ostiary.directory.clients import access_profiles, credentials, token_rules
from ostiary.directory.models import AccessProfile, Credential
from ostiary.identity import tokens
from ostiary.identity.secret import Secret

router = Router(tags=["Access profiles"])


class ProofIn(Strict):
    """For `jwt`: method and key. For `oidc`: an issuer or a JWKS URI. For both: the rest."""

    jwt_method: str | None = None
    jwt_secret: str | None = None
    oidc_issuer: str | None = None
    oidc_jwks_uri: str | None = None
    access_profile_claim: str | None = None
    required_claims: list[str] | None = None
    allowed_issuers: list[str] | None = None
    audience: str | None = None
    leeway_seconds: int | None = None
    #: Accept tokens without `exp`, which never expire. Off for new profiles.
    allow_without_exp: bool | None = None


class ProfileIn(ProofIn):
    """`token`, `token_sha256` or `profile_key` take over what consumers hold already."""

    name: str
    api_client_id: Id
    api_collection_ids: list[Id]
    auth_type: str
    active: bool | None = None
    api_policy_id: IdOrNone | None = None
    ip_allow_list: list[str] | None = None
    ip_deny_list: list[str] | None = None
    ip_allow_list_ids: list[Id] | None = None
    ip_deny_list_ids: list[Id] | None = None
    ip_watch_only: bool | None = None
    expires_at: datetime | None = None
    token: str | None = None
    token_sha256: str | None = None
    profile_key: str | None = None


class ProfileChange(ProofIn):
    name: str | None = None
    api_client_id: Id | None = None
    api_collection_ids: list[Id] | None = None
    auth_type: str | None = None
    active: bool | None = None
    api_policy_id: IdOrNone | None = None
    ip_allow_list: list[str] | None = None
    ip_deny_list: list[str] | None = None
    ip_allow_list_ids: list[Id] | None = None
    ip_deny_list_ids: list[Id] | None = None
    ip_watch_only: bool | None = None
    expires_at: datetime | None = None


class RefreshIn(Strict):
    overlap_seconds: int = Field(0, ge=0, le=credentials.LONGEST_OVERLAP)


class ProfileOut(Schema):
    id: int
    name: str
    api_client_id: int
    api_collection_ids: list[int]
    active: bool
    active_since: Time
    auth_type: str
    api_policy_id: int | None
    ip_allow_list: list[str]
    ip_deny_list: list[str]
    ip_allow_list_ids: list[int]
    ip_deny_list_ids: list[int]
    ip_watch_only: bool
    token_prefix: str | None
    oauth_client_id: str | None
    profile_key: str | None
    jwt_method: str | None = None
    jwt_secret: str | None = None
    oidc_issuer: str | None = None
    oidc_jwks_uri: str | None = None
    access_profile_claim: str | None = None
    required_claims: list[str] = []
    allowed_issuers: list[str] = []
    audience: str | None = None
    leeway_seconds: int | None = None
    allow_without_exp: bool | None = None
    last_used_at: Time | None
    expires_at: Time | None
    epoch: int
    created_at: Time
    updated_at: Time


class ProfileChanged(ProfileOut):
    warnings: list[str] = []
    revocation: Revocation | None = None
    secret: str | None = None
    oauth_client_secret: str | None = None


class ProfileResult(Schema):
    result: ProfileChanged


class Unconfirmed(Message):
    """Saved, not yet in force; `result` still shows the secret, this once."""

    result: ProfileChanged


class ProfileList(Schema):
    result: list[ProfileOut]


class Switched(Schema):
    result: Literal["success"] = "success"
    revocation: Revocation


class CredentialOut(Schema):
    id: int
    masked: str
    imported: bool
    created_at: Time
    expires_at: Time | None
    overlap_until: Time | None
    last_used_at: Time | None


class CredentialPage(Schema):
    data: list[CredentialOut]
    count: int
    page: int
    per_page: int


class CutOff(Schema):
    success: bool = True
    revocation: Revocation


class ProfileQuery(Paging):
    api_client_id: int | None = Field(None, ge=1, le=2**31 - 1)
    wrap: str = ""


def _newest(profile: AccessProfile) -> Credential | None:
    alive = [c for c in profile.credentials.all() if c.revoked_at is None]
    return max(alive, key=lambda c: c.pk, default=None)


def _shown(profile: AccessProfile) -> dict[str, Any]:
    newest, method = _newest(profile), AuthMethod(profile.auth_type)
    uses = [c.last_used_at for c in profile.credentials.all() if c.last_used_at]
    return {
        "id": profile.pk,
        "name": profile.name,
        "api_client_id": profile.client_id,
        "api_collection_ids": sorted(c.pk for c in profile.collections.all()),
        "active": profile.active,
        "active_since": profile.active_since,
        "auth_type": profile.auth_type,
        "api_policy_id": profile.policy_id,
        "ip_allow_list": profile.allow_list,
        "ip_deny_list": profile.deny_list,
        "ip_allow_list_ids": [each.pk for each in profile.allowed_lists.all()],
        "ip_deny_list_ids": [each.pk for each in profile.denied_lists.all()],
        "ip_watch_only": profile.addresses_watched,
        "token_prefix": newest.prefix or None if newest else None,
        "oauth_client_id": newest.public_id if newest and method == AuthMethod.OAUTH2 else None,
        "profile_key": newest.public_id if newest and method in token_rules.SIGNED else None,
        **token_rules.shown(profile),
        "last_used_at": max(uses, default=None),
        "expires_at": profile.expires_at,
        "epoch": profile.epoch,
        "created_at": profile.created_at,
        "updated_at": profile.updated_at,
    }


def given_of(payload: ProfileIn | ProfileChange) -> access_profiles.Given:
    """What a request says of a profile, as the directory takes it."""
    return access_profiles.Given(
        name=payload.name,
        collection_ids=payload.api_collection_ids,
        policy_id=payload.api_policy_id,
        allow_list=payload.ip_allow_list,
        deny_list=payload.ip_deny_list,
        allowed_lists=payload.ip_allow_list_ids,
        denied_lists=payload.ip_deny_list_ids,
        addresses_watched=payload.ip_watch_only,
        active=payload.active,
        expires_at=payload.expires_at,
        proof=token_rules.Proof(**{name: getattr(payload, name) for name in ProofIn.model_fields}),
    )


def _once(profile: AccessProfile, secret: Secret) -> dict[str, str]:
    """What is shown this once, under the name that the method has for it."""
    if not secret:
        return {}
    oauth = profile.auth_type == AuthMethod.OAUTH2
    return {"oauth_client_secret" if oauth else "secret": secret.reveal()}


@router.get("/api_access_profiles", response={200: list[ProfileOut] | ProfileList, **ERRORS})
def list_profiles(request: HttpRequest, query: Query[ProfileQuery]) -> Any:
    """A bare list, of one client or of all; `wrap=result` puts it into an object."""
    found = access_profiles.profiles(actor(request), query.api_client_id)
    shown = [_shown(profile) for profile in page(found, query)]
    return {"result": shown} if query.wrap == "result" else shown


@router.post("/api_access_profiles", response={200: ProfileResult, **ERRORS})
def create_profile(request: HttpRequest, payload: ProfileIn) -> Any:
    """Make a profile; `secret` (or `oauth_client_secret`) is shown this once."""
    by = actor(request)
    saved, secret = access_profiles.create(
        by=by,
        client_id=payload.api_client_id,
        auth_type=payload.auth_type,
        given=given_of(payload),
        token=payload.token,
        token_sha256=payload.token_sha256,
        profile_key=payload.profile_key,
    )
    profile, warnings = added(saved)
    shown = _shown(access_profiles.find(by, profile.pk))
    return {"result": shown | _once(profile, secret) | {"warnings": warnings}}


@router.get("/api_access_profiles/{int:profile_id}", response={200: ProfileResult, **ERRORS})
def show_profile(request: HttpRequest, profile_id: int, response: HttpResponse) -> Any:
    profile = access_profiles.find(actor(request), profile_id)
    versioned(response, profile)
    return {"result": _shown(profile)}


@router.put("/api_access_profiles/{int:profile_id}", response={200: ProfileResult, **ERRORS})
def change_profile(
    request: HttpRequest, profile_id: int, payload: ProfileChange, response: HttpResponse
) -> Any:
    """Change what is given. The client and the authentication method stay what they are."""
    by = actor(request)
    _refuse_fixed(access_profiles.find(by, profile_id), payload)
    saved = access_profiles.change(
        by=by, profile_id=profile_id, given=given_of(payload), if_match=if_match(request)
    )
    _, receipt = in_force(saved)
    profile = access_profiles.find(by, profile_id)
    versioned(response, profile)
    told = {"warnings": list(saved.warnings), "revocation": receipt}
    return {"result": _shown(profile) | told}


def _refuse_fixed(profile: AccessProfile, payload: ProfileChange) -> None:
    errors = {}
    if payload.auth_type not in {None, profile.auth_type}:
        errors["auth_type"] = ["can't be changed"]
    if payload.api_client_id not in {None, profile.client_id}:
        errors["api_client_id"] = ["can't be changed"]
    if errors:
        raise Invalid(errors)


@router.delete("/api_access_profiles/{int:profile_id}", response={200: Switched, **ERRORS})
def delete_profile(request: HttpRequest, profile_id: int) -> Any:
    _, receipt = in_force(
        access_profiles.delete(by=actor(request), profile_id=profile_id, if_match=if_match(request))
    )
    return {"result": "success", "revocation": receipt}


@router.put("/api_access_profiles/{int:profile_id}/enable", response={200: Switched, **ERRORS})
def enable_profile(request: HttpRequest, profile_id: int) -> Any:
    _, receipt = in_force(
        access_profiles.switch(by=actor(request), profile_id=profile_id, active=True)
    )
    return {"result": "success", "revocation": receipt}


@router.put("/api_access_profiles/{int:profile_id}/disable", response={200: Switched, **ERRORS})
def disable_profile(request: HttpRequest, profile_id: int) -> Any:
    """Switch the profile off: when this answers, it cannot call."""
    _, receipt = in_force(
        access_profiles.switch(by=actor(request), profile_id=profile_id, active=False)
    )
    return {"result": "success", "revocation": receipt}


@router.put(
    "/api_access_profiles/{int:profile_id}/refresh_secret",
    response={200: ProfileResult, **ERRORS, 503: Unconfirmed},
)
def refresh_secret(request: HttpRequest, profile_id: int, payload: RefreshIn | None = None) -> Any:
    """A new token, shown this once; the old one works on for `overlap_seconds` at most.

    Also an answer of 503 shows the new one, as `result`: it is saved, and the message says when
    the old one ends at the latest. To repeat the call would replace the new one again.
    """
    by = actor(request)
    saved, secret = credentials.refresh(
        by=by, profile_id=profile_id, overlap_seconds=payload.overlap_seconds if payload else 0
    )
    receipt, problem = None, ""
    try:
        _, receipt = in_force(saved)
    except NotInForce as error:
        problem = str(error)
    shown = _shown(access_profiles.find(by, profile_id))
    result = shown | _once(saved.value, secret) | {"revocation": receipt}
    if problem:
        return Status(503, {"message": problem, "result": result})
    return {"result": result}


@router.get(
    "/v2/access_profiles/{int:profile_id}/credentials", response={200: CredentialPage, **ERRORS}
)
def list_credentials(request: HttpRequest, profile_id: int, paging: Query[Paging]) -> Any:
    """The credentials that still work, the newest first."""
    found = credentials.alive(access_profiles.find(actor(request), profile_id))
    shown = [
        {
            "id": c.pk,
            "masked": tokens.masked(c.prefix, c.last_four),
            "imported": c.imported,
            "created_at": c.created_at,
            "expires_at": c.expires_at,
            "overlap_until": c.overlap_until,
            "last_used_at": c.last_used_at,
        }
        for c in page(found, paging)
    ]
    counts = {"count": found.count(), "page": paging.page, "per_page": paging.per_page}
    return {"data": shown, **counts}


@router.delete(
    "/v2/access_profiles/{int:profile_id}/credentials/{int:credential_id}",
    response={200: CutOff, **ERRORS},
)
def cut_off(request: HttpRequest, profile_id: int, credential_id: int) -> Any:
    """Revoke one credential now, also one in its overlap."""
    _, receipt = in_force(
        credentials.cut_off(by=actor(request), profile_id=profile_id, credential_id=credential_id)
    )
    return {"success": True, "revocation": receipt}
