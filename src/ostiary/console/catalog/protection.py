"""Protect an API: one form for all that stands in front of it."""

import shlex
from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from ostiary.console.catalog.openapi_documents import sent_document
from ostiary.console.clients.connection_sheets import token_call
from ostiary.console.frame.form_pages import once_page
from ostiary.console.frame.forms import Errors, sent
from ostiary.console.frame.saving import in_force
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor, Role
from ostiary.directory.catalog import connection_tests, openapi, protection, upstream_url
from ostiary.directory.catalog.connection_tests import TestedServer
from ostiary.directory.catalog.protection import Protected
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.errors import Forbidden, Invalid
from ostiary.directory.workspace import public_urls
from ostiary.identity.secret import Secret


@page
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest, by: Actor) -> HttpResponse:
    """The form; sent, the test of the API and what was created."""
    if not by.may_somewhere(Role.EDITOR):
        raise Forbidden
    tested: list[TestedServer] = []

    def save() -> HttpResponse:
        url = request.POST.get("url", "").strip()
        document = sent_document(request)
        tested.append(_tested(url))
        if not tested[0].good:
            last = tested[0].findings[-1]
            raise Invalid({"url": [f"does not answer, so nothing was created. {last.detail}"]})
        name = request.POST.get("name", "").strip()
        made = protection.protect(by=by, url=url, name=name, document=document)
        return _answer(request, made)

    answer, errors = sent(request, save)
    return answer or _form(request, request.POST, errors, tested)


def _tested(url: str) -> TestedServer:
    try:
        return connection_tests.of_url(url)
    except upstream_url.BadUrl as error:
        raise Invalid({"url": [str(error)]}) from None


def _answer(request: HttpRequest, made: Protected) -> HttpResponse:
    collection = made.collection
    if made.profile is None or made.secret is None:
        messages.info(request, f"{collection.name} is protected already; nothing was changed.")
        return redirect("collection", collection.pk)
    in_force(request, Saved(value=made, sequence=made.sequence, adds=True))
    return _created(request, made, made.secret)


def _created(request: HttpRequest, made: Protected, secret: Secret) -> HttpResponse:
    url = f"{public_urls.gateway_url()}{made.target}"
    context = {
        "collection": made.collection,
        "profile": made.profile,
        "refused": shlex.join(["curl", "-i", url]),
        "admitted": token_call(secret.reveal(), url, "-i"),
        "secret": secret.reveal(),
        "warnings": made.warnings,
    }
    replace = reverse("profile", args=[made.profile.pk]) if made.profile else ""
    return once_page(request, "console/protected.html", context, replace=replace)


def _form(
    request: HttpRequest, given: Mapping[str, Any], errors: Errors, tested: list[TestedServer]
) -> HttpResponse:
    context = {
        "given": given,
        "errors": errors,
        "tested": [each for each in tested if not each.good],
        "largest": openapi.LARGEST_MEGABYTES,
    }
    return render(request, "console/protect.html", context, status=400 if errors else 200)
