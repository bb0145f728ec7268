"""Settings of the workspace. For admins."""

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from ostiary import settings as environment
from ostiary.console.frame.listing import lines_of, number_of
from ostiary.console.frame.saving import STALE, in_force
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor
from ostiary.directory.changes import etags
from ostiary.directory.changes.errors import Invalid, Stale
from ostiary.directory.changes.permission import require_admin
from ostiary.directory.workspace import workspace_settings
from ostiary.identity import places

#: Settings of management tokens, in the words of the form.
TOKENS = {
    "token_default_days": "Days until a new token expires",
    "token_longest_days": "Longest life in days (0: for ever)",
}
#: Limits on calls of the management API, in the words of the form.
CALLS = {
    "token_calls_per_minute": "Calls of one token in a minute (0: any number)",
    "address_calls_per_minute": "Calls of one address in a minute (0: any number)",
    "address_failures_per_minute": "Calls of one address without a valid token in a minute (0: any number)",
}
#: Settings that say what is kept for how long, in the words of the form.
KEPT = {
    "usage_day_days": "Days of usage by day",
    "usage_hour_days": "Days of usage by hour",
    "usage_minute_days": "Days of usage by minute",
    "request_log_days": "Days of request log",
    "request_log_rows": "Lines of request log, at most",
    "audit_log_days": "Days of audit log",
}


@page
@require_http_methods(["GET", "POST"])
def settings(request: HttpRequest, by: Actor) -> HttpResponse:
    require_admin(by)
    errors: Mapping[str, list[str]] = {}
    now = workspace_settings.read()
    given: Mapping[str, Any] = {
        "name": now.name,
        "gateway_url": now.gateway_url,
        "console_url": now.console_url,
        "trusted_proxies": "\n".join(now.trusted_proxies),
        "fetch_hosts": "\n".join(now.fetch_hosts),
        "credential_places": "\n".join(now.credential_places),
        **{name: getattr(now, name) for name in (*TOKENS, *CALLS, *KEPT)},
        "require_second_factor": now.require_second_factor,
    }
    if request.method == "POST":
        given = request.POST
        try:
            saved = workspace_settings.change(
                by=by, values=_settings(request), if_match=request.POST.get("read")
            )
        except Invalid as error:
            errors = error.errors
        except Stale:
            errors = STALE
            now = workspace_settings.read()
        else:
            if in_force(request, saved):
                messages.success(request, "The settings were saved.")
            return redirect("settings")
    kept, tokens, calls = (
        [(name, label, given.get(name), errors.get(name)) for name, label in names.items()]
        for names in (KEPT, TOKENS, CALLS)
    )
    context = {
        "given": given,
        "errors": errors,
        "kept": kept,
        "tokens": tokens,
        "calls": calls,
        "read": etags.of_value(now),
        "url_warning": places.URL_WARNING if places.in_urls(now.credential_places) else "",
        "fixed_console_url": environment.current().console_url,
    }
    return render(request, "console/settings.html", context, status=400 if errors else 200)


def _settings(request: HttpRequest) -> dict[str, object]:
    values: dict[str, object] = {
        name: request.POST.get(name, "").strip() for name in ("name", "gateway_url", "console_url")
    }
    for name in ("trusted_proxies", "fetch_hosts"):
        values[name] = request.POST.get(name, "").replace(",", " ").split()
    if "credential_places" in request.POST:
        values["credential_places"] = lines_of(request.POST["credential_places"])
    values["require_second_factor"] = request.POST.get("require_second_factor") == "1"
    for name in (*TOKENS, *CALLS, *KEPT):
        if name in request.POST:
            given = request.POST[name].strip()
            values[name] = number_of(given) if number_of(given) is not None else given
    return values
