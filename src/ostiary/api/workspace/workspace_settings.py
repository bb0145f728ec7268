"""`/api/v2/settings`: settings of the workspace."""

from dataclasses import asdict
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema
from pydantic import StrictBool, StrictInt

from ostiary.api.answers import ERRORS, Revocation, Strict, actor, if_match, in_force, tagged
from ostiary.directory.changes import etags
from ostiary.directory.changes.permission import require_admin
from ostiary.directory.workspace import workspace_settings
from ostiary.identity import places

router = Router(tags=["Settings"])


class SettingsIn(Strict):
    name: str | None = None
    gateway_url: str | None = None
    console_url: str | None = None
    trusted_proxies: list[str] | None = None
    fetch_hosts: list[str] | None = None
    #: Where calls may carry their key besides `API-TOKEN`, `Bearer` and `Basic`: `X-API-Key`,
    #: `Authorization: ApiKey`, `Authorization`, `?api_key` (URLs are logged: a last resort),
    #: `Sec-WebSocket-Protocol: ostiary.token.`.
    credential_places: list[str] | None = None
    #: Days until a management token expires for which no end is named.
    token_default_days: StrictInt | None = None
    #: Days that a new management token may live at most; 0: for ever.
    token_longest_days: StrictInt | None = None
    require_second_factor: StrictBool | None = None
    #: Calls of the API that one token may make in a minute; 0: any number.
    token_calls_per_minute: StrictInt | None = None
    #: Calls of the API that one address may make in a minute; 0: any number.
    address_calls_per_minute: StrictInt | None = None
    #: Calls of the API without a valid token that one address may make in a minute; 0: any number.
    address_failures_per_minute: StrictInt | None = None
    request_log_days: StrictInt | None = None
    request_log_rows: StrictInt | None = None
    usage_day_days: StrictInt | None = None
    usage_hour_days: StrictInt | None = None
    usage_minute_days: StrictInt | None = None
    audit_log_days: StrictInt | None = None


class SettingsOut(Schema):
    name: str
    gateway_url: str
    console_url: str
    trusted_proxies: list[str]
    fetch_hosts: list[str]
    credential_places: list[str]
    require_second_factor: bool
    token_default_days: int
    token_longest_days: int
    token_calls_per_minute: int
    address_calls_per_minute: int
    address_failures_per_minute: int
    request_log_days: int
    request_log_rows: int
    usage_day_days: int
    usage_hour_days: int
    usage_minute_days: int
    audit_log_days: int


class SettingsData(Schema):
    data: SettingsOut
    warnings: list[str] = []
    revocation: Revocation | None = None


@router.get("/v2/settings", response={200: SettingsData, **ERRORS})
def show_settings(request: HttpRequest, response: HttpResponse) -> Any:
    require_admin(actor(request))
    settings = workspace_settings.read()
    tagged(response, etags.of_value(settings))
    return _shown(settings)


@router.put("/v2/settings", response={200: SettingsData, **ERRORS})
def change_settings(request: HttpRequest, payload: SettingsIn, response: HttpResponse) -> Any:
    """Change the given fields; empty URLs mean those of the listeners."""
    values = payload.dict(exclude_unset=True)
    settings, receipt = in_force(
        workspace_settings.change(by=actor(request), values=values, if_match=if_match(request))
    )
    tagged(response, etags.of_value(settings))
    return _shown(settings) | {"revocation": receipt}


def _shown(settings: workspace_settings.Workspace) -> dict[str, Any]:
    warnings = [places.URL_WARNING] if places.in_urls(settings.credential_places) else []
    return {"data": asdict(settings), "warnings": warnings}
