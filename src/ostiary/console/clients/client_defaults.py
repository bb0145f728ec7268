"""A client's defaults, which profiles that follow it have: shown on its page, set and changed here."""

from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render, resolve_url
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from ostiary.console.clients import previews, signed_token_rules
from ostiary.console.clients.access_profiles import Form, choices
from ostiary.console.frame.forms import done, filled, sent, shown
from ostiary.console.frame.listing import number_of
from ostiary.console.frame.questions import ConsequenceQuestion, unanswered
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor
from ostiary.directory.changes import etags
from ostiary.directory.clients import client_defaults, clients, token_rules
from ostiary.directory.models import Client, ClientDefaults, Collection
from ostiary.review import preview


@page
@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, by: Actor, client_id: int) -> HttpResponse:
    """Form, preview and save; a change without effect on calls is saved at once."""
    client = clients.find(by, client_id)
    defaults = client_defaults.of(client_id)
    form = Form(data=request.POST if request.method == "POST" else _typed(defaults))
    answer, errors = sent(
        request,
        lambda: _changed(request, by, client, _given(form)),
        saving=not previews.going_back(request),
    )
    if answer:
        return answer
    context = {
        "client": client,
        "defaults": defaults,
        "followers": client_defaults.followers(client_id).count(),
        "unseen": _unseen(by, form, defaults),
        # Back from the preview the form is as old as it was when it was first read.
        "read": (not errors and form.data.get("read")) or etags.etag(client),
        "form": form,
        "errors": errors,
        **choices(by, client, defaults),
    }
    return render(request, "console/client_defaults.html", context, status=400 if errors else 200)


def _unseen(by: Actor, form: Form, defaults: ClientDefaults | None) -> list[Collection]:
    """Collections of the defaults that stay chosen, and that the reader does not see."""
    if defaults is None:
        return []
    seen = Collection.objects.visible_to(by)
    return list(defaults.collections.filter(pk__in=form.chosen).exclude(pk__in=seen.values("pk")))


def _given(form: Form) -> client_defaults.WithDefaultsInput:
    without = (*clients.ClientInput.model_fields, *form.of_other_methods)
    return filled(
        client_defaults.WithDefaultsInput,
        form.data,
        without=without,
        collection_ids=form.chosen,
        policy_id=number_of(form.data.get("policy")),
    )


def _changed(
    request: HttpRequest, by: Actor, client: Client, given: client_defaults.WithDefaultsInput
) -> HttpResponse:
    etags.check(client, request.POST.get("read"))
    back = reverse("client", args=[client.pk])
    if not previews.confirmed(request):
        found = preview.of_defaults(by=by, client_id=client.pk, given=given)
        defaults = client_defaults.of(client.pk)

        def question() -> ConsequenceQuestion | None:
            problem = signed_token_rules.unfetchable(given, defaults.proof if defaults else None)
            return signed_token_rules.question(problem)

        if answer := unanswered(request, question, back=back):
            return answer
        if not found.idle:
            return previews.shown(request, found, name=client.name, cancel=back)
    saved = client_defaults.change_client(
        by=by, client_id=client.pk, given=given, if_match=request.POST.get("read")
    )
    to = resolve_url("client", client.pk)
    return done(request, saved, noun="client", verb="changed", to=to)


def _typed(defaults: ClientDefaults | None) -> QueryDict:
    """Defaults as their form would have been filled in."""
    data = QueryDict(mutable=True)
    if defaults is None:
        return data
    data["auth_type"] = defaults.auth_type
    data.setlist("collections", [str(pk) for pk in client_defaults.collection_ids(defaults)])
    data["policy"] = str(defaults.policy_id or "")
    rules: dict[str, Any] = dict(token_rules.shown(defaults))
    for name, value in rules.items():
        data[name] = shown(value)
    return data
