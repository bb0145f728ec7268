"""`/api/v2/signing_keys`: the keys that access tokens are signed with."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema

from ostiary.api.answers import ERRORS, Revocation, Time, actor, in_force, tagged
from ostiary.directory.changes.permission import require_admin
from ostiary.directory.models import SigningKey
from ostiary.directory.workspace import signing_keys

router = Router(tags=["Signing keys"])


class KeyOut(Schema):
    kid: str
    created_at: Time
    retired_at: Time | None


class KeyData(Schema):
    data: KeyOut


class KeyRotated(KeyData):
    revocation: Revocation


class KeyList(Schema):
    data: list[KeyOut]


def _shown(key: SigningKey) -> dict[str, Any]:
    return {"kid": key.kid, "created_at": key.created_at, "retired_at": key.retired_at}


@router.get("/v2/signing_keys", response={200: KeyList, **ERRORS})
def list_signing_keys(request: HttpRequest) -> Any:
    """The keys that verify access tokens, the newest first; that one signs."""
    require_admin(actor(request))
    return {"data": [_shown(key) for key in signing_keys.published()]}


# Before the key by its id, which would take `rotate` for one.
@router.post("/v2/signing_keys/rotate", response={200: KeyRotated, **ERRORS})
def rotate_signing_keys(request: HttpRequest, response: HttpResponse) -> Any:
    """Sign with a new key; tokens that the old one signed stay good until they expire."""
    key, receipt = in_force(signing_keys.rotate(by=actor(request)))
    tagged(response, signing_keys.version(key))
    return {"data": _shown(key), "revocation": receipt}


@router.get("/v2/signing_keys/{kid}", response={200: KeyData, **ERRORS})
def show_signing_key(request: HttpRequest, kid: str, response: HttpResponse) -> Any:
    key = signing_keys.find(actor(request), kid)
    tagged(response, signing_keys.version(key))
    return {"data": _shown(key)}
