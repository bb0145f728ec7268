"""`/api/api_access_profiles` (v1), and their credentials."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, TypeVar, cast

from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema, Status
from pydantic import Field, StrictInt

from ostiary.access.methods import AuthMethod
from ostiary.api import lists
from ostiary.api.answers import (
    ERRORS,
    ChangeBody,
    DisableIn,
    Message,
    Revocation,
    Strict,
    Time,
    actor,
    added,
    body,
    change,
    if_match,
    in_force,
    showing,
    shown,
    versioned,
)
from ostiary.api.clients.not_offered import NotOfferedOfProfiles
from ostiary.api.error_codes import ErrorCode
from ostiary.directory import states
from ostiary.directory.changes.errors import NotInForce
from ostiary.directory.changes.inputs import OneOf
from ostiary.directory.clients import access_profiles, credentials, token_rules
from ostiary.directory.models import AccessProfile, Credential
from ostiary.directory.states import StateCode
from ostiary.identity import tokens
from ostiary.identity.secret import Secret

router = Router(tags=["Access profiles"])
M = TypeVar("M", bound=Model)


@body("name", "client_id", "collection_ids", "auth_type")
class ProfileIn(NotOfferedOfProfiles, access_profiles.NewProfileInput):
    """`token`, `token_sha256` or `profile_key` import a credential that consumers already have.

    For `jwt`: method and key. For `oidc`: an issuer or a JWKS URI. For both: what tokens must say.
    """

    apart: ClassVar[tuple[str, ...]] = (
        *NotOfferedOfProfiles.model_fields, *access_profiles.NewProfileInput.apart,
    )  # fmt: skip


class RefreshIn(Strict):
    overlap_seconds: StrictInt = Field(0, ge=0, le=credentials.LONGEST_OVERLAP)


@showing(access_profiles.ProfileInput, also=token_rules.ProofInput.model_fields)
class ProfileOut(Schema):
    id: int
    api_client_id: int
    api_collection_ids: list[int]
    #: Whether collections, policy and rules of signed tokens are those of the client's defaults.
    follows_client: bool
    active: bool
    inactive_until: Time | None
    effective_state: StateCode
    active_since: Time
    auth_type: str
    api_policy_id: int | None
    ip_allow_list_ids: list[int]
    ip_deny_list_ids: list[int]
    token_prefix: str | None
    oauth_client_id: str | None
    profile_key: str | None
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

    code: Literal[ErrorCode.NOT_IN_FORCE]
    result: ProfileChanged


class ProfileList(Schema):
    result: list[ProfileOut]


class SwitchedProfile(Schema):
    result: Literal["success"] = "success"
    revocation: Revocation


class CredentialOut(Schema):
    id: int
    masked: str
    imported: bool
    effective_state: StateCode
    created_at: Time
    expires_at: Time | None
    overlap_until: Time | None
    last_used_at: Time | None


class CredentialQuery(lists.ListParameters):
    conditions: ClassVar = staticmethod(states.credential_conditions)
    searched: ClassVar[tuple[str, ...]] = ("prefix", "last_four")
    columns: ClassVar[Mapping[str, str]] = {"created_after": "created_at__gt"}

    sort: Annotated[str, lists.sorts("id", "created_at")] = "-id"
    created_after: lists.TimeFilter = None
    effective_state: Annotated[str | None, lists.among(states.credential_conditions)] = None
    imported: lists.FlagFilter = Field(None, description="Whether consumers had it already.")


class CredentialPage(lists.CursorPage[CredentialOut]):
    """One page of the credentials that work."""


class CredentialData(Schema):
    data: CredentialOut


class CutOff(Schema):
    success: bool = True
    revocation: Revocation


class ProfileQuery(lists.LabelledQuery):
    conditions: ClassVar = staticmethod(states.profile_conditions)
    searched: ClassVar[tuple[str, ...]] = ("name", "key")
    columns: ClassVar[Mapping[str, str]] = {
        "project_id": "client__project_id",
        "api_client_id": "client_id",
        "api_collection_id": "collections",
        "api_policy_id": "policy_id",
        "expires_before": "expires_at__lt",
    }

    project_id: lists.IdFilter = None
    api_collection_id: lists.IdFilter = Field(None, description="A collection that they may call.")
    api_policy_id: lists.IdFilter = None
    address_list_id: lists.IdFilter = Field(
        None,
        description="An address list that they use, to allow or to deny.",
    )
    auth_type: Annotated[str | None, OneOf(AuthMethod, named=True)] = None
    active: lists.FlagFilter = None
    effective_state: Annotated[str | None, lists.among(states.profile_conditions)] = None
    expires_before: lists.TimeFilter = None

    def filtered(self, found: QuerySet[M], name: str, value: object) -> QuerySet[M]:
        if name == "address_list_id":
            using = access_profiles.using(cast("int", value))
            return found.filter(pk__in=using)
        return super().filtered(found, name, value)


class ProfileListQuery(ProfileQuery):
    api_client_id: lists.IdFilter = None
    wrap: Literal["", "result"] = ""


def newest_credential(profile: AccessProfile) -> Credential | None:
    """The newest credential that is not revoked, of a profile that was read with its credentials."""
    alive = [c for c in profile.credentials.all() if c.revoked_at is None]
    return max(alive, key=lambda c: c.pk, default=None)


def described(profile: AccessProfile) -> dict[str, Any]:
    """A profile as answers show it."""
    newest, method = newest_credential(profile), AuthMethod(profile.auth_type)
    uses = [c.last_used_at for c in profile.credentials.all() if c.last_used_at]
    return shown(access_profiles.ProfileInput, profile) | {
        "api_client_id": profile.client_id,
        "api_collection_ids": sorted(c.pk for c in profile.collections.all()),
        "follows_client": profile.follows_client,
        "active": profile.active,
        "effective_state": states.of_profile(profile).code,
        "inactive_until": profile.inactive_until,
        "active_since": profile.active_since,
        "auth_type": profile.auth_type,
        "api_policy_id": profile.policy_id,
        "ip_allow_list_ids": [each.pk for each in profile.allowed_lists.all()],
        "ip_deny_list_ids": [each.pk for each in profile.denied_lists.all()],
        "token_prefix": newest.prefix or None if newest else None,
        "oauth_client_id": newest.public_id if newest and method == AuthMethod.OAUTH2 else None,
        "profile_key": newest.public_id if newest and method in token_rules.SIGNED else None,
        **token_rules.shown(profile),
        "last_used_at": max(uses, default=None),
        "epoch": profile.epoch,
    }


@change(ProfileChanged, described)
class ProfileChange(ChangeBody, NotOfferedOfProfiles, access_profiles.ProfileInput):
    """Omitted fields keep their values. `api_policy_id` and `expires_at` may be null: none.

    A profile that follows its client keeps what the client's defaults say. `follows_client` as false
    ends that, and the profile keeps what it has; true takes the defaults over.
    """

    apart: ClassVar[tuple[str, ...]] = (
        *NotOfferedOfProfiles.model_fields, *access_profiles.ProfileInput.apart,
    )  # fmt: skip


def shown_once(profile: AccessProfile, secret: Secret) -> dict[str, str]:
    """The secret that is shown only once, under the name that the method has for it."""
    if not secret:
        return {}
    oauth = profile.auth_type == AuthMethod.OAUTH2
    return {"oauth_client_secret" if oauth else "secret": secret.reveal()}


@router.get(
    "/api_access_profiles",
    response={200: list[ProfileOut] | ProfileList, **ERRORS},
)
def list_profiles(
    request: HttpRequest, query: Query[ProfileListQuery], response: HttpResponse
) -> Any:
    """A bare list, of one client or of all; `wrap=result` puts it into an object."""
    found = lists.bare(request, response, access_profiles.profiles(actor(request)), query)
    answer = [described(profile) for profile in found]
    return {"result": answer} if query.wrap == "result" else answer


@router.post("/api_access_profiles", response={200: ProfileResult, **ERRORS})
def create_profile(request: HttpRequest, payload: ProfileIn, response: HttpResponse) -> Any:
    """Make a profile; `secret` (or `oauth_client_secret`) is shown only once."""
    by = actor(request)
    saved, secret = access_profiles.create(by=by, given=payload)
    profile, warnings = added(saved)
    profile = access_profiles.find(by, profile.pk)
    versioned(response, profile)
    answer = described(profile)
    return {"result": answer | shown_once(profile, secret) | {"warnings": warnings}}


@router.get("/api_access_profiles/{int:profile_id}", response={200: ProfileResult, **ERRORS})
def show_profile(request: HttpRequest, profile_id: int, response: HttpResponse) -> Any:
    profile = access_profiles.find(actor(request), profile_id)
    versioned(response, profile)
    return {"result": described(profile)}


@router.put("/api_access_profiles/{int:profile_id}", response={200: ProfileResult, **ERRORS})
def change_profile(
    request: HttpRequest, profile_id: int, payload: ProfileChange, response: HttpResponse
) -> Any:
    """Change the given fields. The client and the authentication method cannot be changed."""
    by = actor(request)
    saved = access_profiles.change(
        by=by, profile_id=profile_id, given=payload, if_match=if_match(request)
    )
    _, receipt = in_force(saved)
    profile = access_profiles.find(by, profile_id)
    versioned(response, profile)
    outcome = {"warnings": list(saved.warnings), "revocation": receipt}
    return {"result": described(profile) | outcome}


@router.delete("/api_access_profiles/{int:profile_id}", response={200: SwitchedProfile, **ERRORS})
def delete_profile(request: HttpRequest, profile_id: int) -> Any:
    _, receipt = in_force(
        access_profiles.delete(by=actor(request), profile_id=profile_id, if_match=if_match(request))
    )
    return {"result": "success", "revocation": receipt}


def _switched(
    request: HttpRequest, profile_id: int, *, active: bool, until: datetime | None = None
) -> Any:
    saved = access_profiles.switch(
        by=actor(request),
        profile_id=profile_id,
        active=active,
        until=until,
        if_match=if_match(request),
    )
    _, receipt = in_force(saved)
    return {"result": "success", "revocation": receipt}


@router.put(
    "/api_access_profiles/{int:profile_id}/enable", response={200: SwitchedProfile, **ERRORS}
)
def enable_profile(request: HttpRequest, profile_id: int) -> Any:
    return _switched(request, profile_id, active=True)


@router.put(
    "/api_access_profiles/{int:profile_id}/disable", response={200: SwitchedProfile, **ERRORS}
)
def disable_profile(request: HttpRequest, profile_id: int, payload: DisableIn | None = None) -> Any:
    """Switch the profile off: when this answers, it cannot call. With `until`, it comes back by itself."""
    until = payload.until if payload else None
    return _switched(request, profile_id, active=False, until=until)


@router.put(
    "/api_access_profiles/{int:profile_id}/refresh_secret",
    response={200: ProfileResult, **ERRORS, 503: Unconfirmed},
)
def refresh_secret(
    request: HttpRequest,
    profile_id: int,
    response: HttpResponse,
    payload: RefreshIn | None = None,
) -> Any:
    """Issue a new token, shown only once; the old one still works for `overlap_seconds` at most.

    Without `overlap_seconds`, the old one is revoked at once. (A hand-over link keeps the old one for a day by
    default.) An answer of 503 also has the new one, in `result`: it is saved, and the message says when the old one
    ends at the latest. A second call would replace the new one again.
    """
    by = actor(request)
    saved, secret = credentials.refresh(
        by=by,
        profile_id=profile_id,
        overlap_seconds=payload.overlap_seconds if payload else 0,
        if_match=if_match(request),
    )
    receipt, problem = None, ""
    try:
        _, receipt = in_force(saved)
    except NotInForce as error:
        problem = str(error)
    profile = access_profiles.find(by, profile_id)
    versioned(response, profile)
    answer = described(profile)
    result = answer | shown_once(saved.value, secret) | {"revocation": receipt}
    if problem:
        code = ErrorCode.NOT_IN_FORCE
        return Status(503, {"message": problem, "code": code, "result": result})
    return {"result": result}


@router.get(
    "/v2/access_profiles/{int:profile_id}/credentials",
    response={200: CredentialPage, **ERRORS},
)
def list_credentials(
    request: HttpRequest, profile_id: int, query: Query[CredentialQuery], response: HttpResponse
) -> Any:
    """The credentials that still work, the newest first."""
    found = credentials.alive(access_profiles.find(actor(request), profile_id))
    found = found.select_related("profile__client")
    return lists.paged(request, response, found, query, described_credential)


def described_credential(credential: Credential) -> dict[str, Any]:
    """A credential as answers show it."""
    return {
        "id": credential.pk,
        "masked": tokens.masked(credential.prefix, credential.last_four),
        "imported": credential.imported,
        "effective_state": states.of_credential(credential).code,
        "created_at": credential.created_at,
        "expires_at": credential.expires_at,
        "overlap_until": credential.overlap_until,
        "last_used_at": credential.last_used_at,
    }


@router.get(
    "/v2/access_profiles/{int:profile_id}/credentials/{int:credential_id}",
    response={200: CredentialData, **ERRORS},
)
def show_credential(
    request: HttpRequest, profile_id: int, credential_id: int, response: HttpResponse
) -> Any:
    """One credential that still works. Its version is its access profile's."""
    profile = access_profiles.find(actor(request), profile_id)
    versioned(response, profile)
    return {"data": described_credential(credentials.find_alive(profile, credential_id))}


@router.delete(
    "/v2/access_profiles/{int:profile_id}/credentials/{int:credential_id}",
    response={200: CutOff, **ERRORS},
)
def cut_off(request: HttpRequest, profile_id: int, credential_id: int) -> Any:
    """Revoke one credential now, also one in its overlap."""
    _, receipt = in_force(
        credentials.cut_off(
            by=actor(request),
            profile_id=profile_id,
            credential_id=credential_id,
            if_match=if_match(request),
        )
    )
    return {"success": True, "revocation": receipt}
