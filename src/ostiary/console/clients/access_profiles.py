"""Access profiles: made in three steps, changed, refreshed, switched and deleted.

A secret waits sealed for the one page that shows it, and is nowhere else: not in the session, not in
an address. A form that is sent again, as by reloading, makes nothing.
"""

import secrets
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, TypeVar

from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render, resolve_url
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ostiary.access import addresses
from ostiary.access.methods import AuthMethod
from ostiary.console.clients import handovers as handover_pages
from ostiary.console.clients import (
    previews,
    profile_limits,
    profile_summaries,
    signed_token_rules,
)
from ostiary.console.clients.connection_sheets import ConnectionSheet, sheet
from ostiary.console.frame import live
from ostiary.console.frame.deleting import by_name
from ostiary.console.frame.form_pages import TYPED, keep_typed, new_typed, once_page
from ostiary.console.frame.forms import (
    Errors,
    day_of,
    done,
    end_of_day,
    filled,
    initial,
    sent,
    shown,
)
from ostiary.console.frame.listing import number_of
from ostiary.console.frame.questions import (
    ConsequenceQuestion,
    counted,
    made_at,
    say_done,
    unanswered,
)
from ostiary.console.frame.saving import first_time, in_force
from ostiary.console.sign_in.viewer import page
from ostiary.directory import states
from ostiary.directory.actor import Actor, Role
from ostiary.directory.catalog import collections
from ostiary.directory.changes import etags
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.changes.permission import require
from ostiary.directory.clients import (
    access_profiles,
    address_lists,
    client_defaults,
    clients,
    credentials,
    handovers,
    policies,
    token_rules,
)
from ostiary.directory.models import (
    AccessProfile,
    AddressList,
    Client,
    ClientDefaults,
    Policy,
)
from ostiary.identity import pasted_keys
from ostiary.identity.secret import Secret
from ostiary.review import preview, rotations

METHODS = {
    AuthMethod.TOKEN: "Auth token",
    AuthMethod.OAUTH2: "OAuth 2.0 access token",
    AuthMethod.JWT: "JSON web token (JWT)",
    AuthMethod.OIDC: "OpenID Connect",
}
#: Beside each method: what the consumer sends, and who makes it.
_METHOD_HINTS = {
    AuthMethod.TOKEN: "Ostiary issues a token. The consumer sends it with every request.",
    AuthMethod.OAUTH2: (
        "Ostiary issues a client ID and a client secret. The consumer exchanges them for access"
        " tokens that expire."
    ),
    AuthMethod.JWT: "The consumer signs its own tokens, with a shared secret or a private key.",
    AuthMethod.OIDC: "An identity provider signs the tokens. Ostiary fetches its public keys.",
}
JWT_METHODS = {
    "hmac": "HMAC (HS256, HS384, HS512)",
    "rsa": "RSA (RS256 to RS512, PS256 to PS512)",
    "ecdsa": "ECDSA (ES256, ES384, ES512)",
    "eddsa": "EdDSA (Ed25519)",
}
OVERLAPS = {
    3600: "One hour",
    86_400: "One day",
    7 * 86_400: "One week",
    30 * 86_400: "30 days",
    0: "None: the old one is revoked immediately",
}
MOST_ENDPOINTS = 60

P = TypeVar("P", bound=access_profiles.ProfileInput)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A form's typed values, as the templates show them again."""

    data: QueryDict
    #: The profile follows its client: the form does not have what is the client's.
    follows: bool = False

    @property
    def auth_type(self) -> str:
        return str(self.data.get("auth_type", AuthMethod.TOKEN))

    @property
    def chosen(self) -> list[int]:
        return [int(text) for text in self.data.getlist("collections") if text.isdecimal()]

    @property
    def allowed_lists(self) -> list[int]:
        return self._ids("allowed_lists")

    @property
    def denied_lists(self) -> list[int]:
        return self._ids("denied_lists")

    def _ids(self, name: str) -> list[int]:
        return [int(text) for text in self.data.getlist(name) if text.isdecimal()]

    @property
    def shows_lists(self) -> bool:
        """Whether the form had boxes for address lists; if not, a profile's lists stay."""
        return self.data.get("lists_shown") == "1"

    @property
    def fields(self) -> list[tuple[str, str]]:
        """Every field, to be carried through the confirmation."""
        carried = [
            (name, value)
            for name, values in self.data.lists()
            if name not in {"csrfmiddlewaretoken", "step", "once", TYPED}
            for value in values
        ]
        return [(str(name), str(value)) for name, value in carried]

    def given(self) -> access_profiles.ProfileInput:
        """The form as the input of a change; raises Invalid."""
        return self._filled(access_profiles.ProfileInput)

    def of_new(self, client: Client) -> access_profiles.NewProfileInput:
        """The form as the input of a new profile; raises Invalid."""
        return self._filled(access_profiles.NewProfileInput, client_id=client.pk)

    def _filled(self, noun: type[P], **more: object) -> P:
        if not self.follows:
            more["collection_ids"] = self.chosen
            more["policy_id"] = number_of(self.data.get("policy"))
        day = self.data.get("expires_on")
        if day is not None and day != self.data.get("expires_read", ""):
            # The day that was read stays, to the second that the API may have given it.
            more["expires_at"] = end_of_day(day)
        return filled(
            noun,
            self.data,
            without=("active", "follows_client", *self._unused()),
            allow_list=self.data.get("allowed_ips", ""),
            deny_list=self.data.get("denied_ips", ""),
            **more,
        )

    def _unused(self) -> list[str]:
        """Fields that were not shown, and those of another method than the one that is chosen."""
        hidden = [] if self.shows_lists else ["allowed_lists", "denied_lists"]
        if not self.data.get("jwt_secret"):
            # Untyped, the key stays.
            hidden.append("jwt_secret")
        if self.follows:
            return [*hidden, *client_defaults.FollowedInput.model_fields]
        return [*hidden, *self.of_other_methods]

    @property
    def of_other_methods(self) -> list[str]:
        """Fields of other methods than the one that is chosen."""
        match self.auth_type:
            case AuthMethod.JWT:
                return ["oidc_issuer", "oidc_jwks_uri"]
            case AuthMethod.OIDC:
                return ["jwt_method", "jwt_secret"]
            case _:
                return list(token_rules.ProofInput.model_fields)


@page
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest, by: Actor, client_id: int) -> HttpResponse:
    """Step 1: the form. Step 2: what the profile will allow. Step 3: the credential."""
    client = clients.find(by, client_id)
    form = Form(data=request.POST)
    step = request.POST.get("step")

    def next_step() -> HttpResponse:
        given = form.of_new(client)
        if step in {"create", "hand-over"}:
            return _create(request, by, client, given)
        warnings = access_profiles.check(by=by, given=given)
        if problem := signed_token_rules.unfetchable(given):
            advice = "Go back to correct the address, or create the profile anyway."
            warnings += (f"{problem} {signed_token_rules.REFUSED_UNTIL_FETCHED} {advice}",)
        keep_typed(request, filled_in({}))
        context = _words(by, client, form, given, warnings)
        return render(request, "console/profile_confirm.html", context)

    def filled_in(errors: Errors) -> HttpResponse:
        context = {
            "client": client,
            "form": form,
            "errors": errors,
            "typed": new_typed(),
            "summary": profile_summaries.of_form(by, client, form.data),
            **choices(by, client),
        }
        status = 400 if errors else 200
        return render(request, "console/profile_form.html", context, status=status)

    answer, errors = sent(request, next_step, saving=step in {"next", "create", "hand-over"})
    return answer or filled_in(errors)


def choices(
    by: Actor, client: Client, holder: AccessProfile | ClientDefaults | None = None
) -> dict[str, Any]:
    """What a form of a profile, or of a client's defaults, offers to choose from."""
    grantable = collections.grantable(by)
    if holder is not None:
        # What it has may stay, also where its reader might not grant it anew.
        held = Q(pk__in=holder.collections.all()) | Q(pk__in=grantable)
        grantable = collections.collections(by).filter(held)
    lists = address_lists.address_lists(by).filter(project_id=client.project_id)
    return {
        "address_lists": lists,
        "collections": grantable.order_by("name"),
        "policies": policies.usable_in(by, client.project_id),
        "methods": [
            {"value": value, "label": label, "hint": _METHOD_HINTS[value]}
            for value, label in METHODS.items()
        ],
        "jwt_methods": JWT_METHODS,
    }


def _words(
    by: Actor,
    client: Client,
    form: Form,
    given: access_profiles.ProfileInput,
    warnings: tuple[str, ...],
) -> dict[str, Any]:
    """A profile's access in words."""
    chosen = list(collections.collections(by).filter(pk__in=form.chosen).order_by("name"))
    endpoints = [
        f"{endpoint.method} /{collection.handle}{endpoint.path}"
        for collection in chosen
        for endpoint in collection.endpoints.filter(active=True).order_by("path", "method")
    ]
    return {
        "client": client,
        "form": form,
        "once": secrets.token_urlsafe(16),
        "can_hand_over": _can_hand_over(form, given),
        "chosen": chosen,
        "endpoints": endpoints[:MOST_ENDPOINTS],
        "more": max(0, len(endpoints) - MOST_ENDPOINTS),
        "method": METHODS[AuthMethod(form.auth_type)],
        "policy": policies.find(by, given.policy_id) if given.policy_id else None,
        "allowed": addresses.parse_list(given.allow_list).entries,
        "denied": addresses.parse_list(given.deny_list).entries,
        "allowed_named": _named(by, client, form.allowed_lists),
        "denied_named": _named(by, client, form.denied_lists),
        "watched": given.addresses_watched,
        "expires_at": given.expires_at,
        "warnings": warnings,
    }


def _can_hand_over(form: Form, given: access_profiles.ProfileInput) -> bool:
    """Whether its consumer will hold a secret that is known here: one that is issued, or of HMAC."""
    if form.auth_type in {AuthMethod.TOKEN, AuthMethod.OAUTH2}:
        return True
    return form.auth_type == AuthMethod.JWT and given.jwt_method == "hmac" and not form.follows


def _named(by: Actor, client: Client, ids: list[int]) -> list[AddressList]:
    lists = address_lists.address_lists(by).filter(project_id=client.project_id, pk__in=ids)
    return list(lists)


def _create(
    request: HttpRequest, by: Actor, client: Client, given: access_profiles.NewProfileInput
) -> HttpResponse:
    if not first_time(request):
        return _sent_before(request, client)
    saved, secret = access_profiles.create(by=by, given=given)
    in_force(request, saved)
    if request.POST.get("step") == "hand-over" and (held := secret.reveal() or given.jwt_secret):
        made = handovers.create(by=by, profile_id=saved.value.pk, secret=held)
        return handover_pages.link_page(request, made.value)
    return _credential(request, by, saved.value, secret, made=True)


def _sent_before(request: HttpRequest, client: Client) -> HttpResponse:
    text = "That form was sent already. What it made is below; a credential is shown only once."
    messages.warning(request, text)
    return redirect("client", client.pk)


def _credential(
    request: HttpRequest, by: Actor, profile: AccessProfile, secret: Secret, *, made: bool
) -> HttpResponse:
    """The page that shows a secret, once."""
    seen = collections.seen(by, [profile])
    newest = credentials.alive(profile).first()
    public = newest.public_id if newest else ""
    context = {
        "profile": profile,
        "made": made,
        "secret": secret.reveal(),
        "public": public,
        "curl": sheet(profile, seen=seen, public=public, secret=secret.reveal()).call,
        "can_hand_over": handovers.has_secret(profile),
    }
    if not secret:
        return render(request, "console/credential.html", context)
    replace = reverse("refresh-profile", args=[profile.pk])
    return once_page(request, "console/credential.html", context, replace=replace)


@page
@require_safe
def show(request: HttpRequest, by: Actor, profile_id: int) -> HttpResponse:
    profile = access_profiles.find(by, profile_id)
    seen = collections.seen(by, [profile])
    context: dict[str, object] = {
        "profile": profile,
        "may_change": by.may(Role.EDITOR, profile.client.project_id),
        "seen": seen,
        "usage_query": f"profile={profile_id}",
        "rotation": rotations.of_profile(profile, timezone.now()),
        "sheet": _sheet(profile, seen),
        **profile_limits.shown(profile),
    }
    guard = signed_token_rules.of_profile(profile)
    context["guard"] = guard
    held = profile.credentials.all()
    also = [guard, states.of(profile).text, *(states.of_credential(each).text for each in held)]
    return live.render(request, "console/profile.html", context, *also)


#: What stands for a secret that is not known, in a command that its reader fills in.
_UNKNOWN = {AuthMethod.TOKEN: "<auth token>", AuthMethod.OAUTH2: "<client secret>"}


def _sheet(profile: AccessProfile, seen: AbstractSet[int]) -> ConnectionSheet:
    """How to call with the newest credential."""
    newest = credentials.alive(profile).first()
    secret = _UNKNOWN.get(AuthMethod(profile.auth_type), "")
    return sheet(profile, seen=seen, public=newest.public_id if newest else "", secret=secret)


@page
@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, by: Actor, profile_id: int) -> HttpResponse:
    """Form, preview and save; a change without effect on calls is saved at once."""
    profile = access_profiles.find(by, profile_id)
    typed = _typed(profile)
    proposed = _propose(typed, request.GET)
    form = Form(
        data=request.POST if request.method == "POST" else typed, follows=profile.follows_client
    )
    saving = not previews.going_back(request)
    answer, errors = sent(
        request, lambda: _changed(request, by, profile, form.given()), saving=saving
    )
    if answer:
        return answer
    profile = access_profiles.find(by, profile_id)
    seen = collections.seen(by, [profile])
    context = {
        "proposed": proposed and request.method == "GET",
        "client": profile.client,
        "profile": profile,
        "may_change": by.may(Role.EDITOR, profile.client.project_id),
        "defaults": client_defaults.of(profile.client_id),
        "unseen": [
            c for c in profile.collections.all() if c.pk not in seen and c.pk in form.chosen
        ],
        # Back from the preview the form is as old as it was when it was first read.
        "read": (not errors and form.data.get("read")) or etags.etag(profile),
        "form": form,
        "errors": errors,
        **choices(by, profile.client, profile),
    }
    status = 400 if errors else 200
    return answer or render(request, "console/profile_form.html", context, status=status)


def _changed(
    request: HttpRequest, by: Actor, profile: AccessProfile, given: access_profiles.ProfileInput
) -> HttpResponse:
    etags.check(profile, request.POST.get("read"))
    if not previews.confirmed(request):
        found = preview.of_profile(by=by, profile_id=profile.pk, given=given)
        cancel = reverse("client", args=[profile.client_id])

        def question() -> ConsequenceQuestion | None:
            problem = signed_token_rules.unfetchable(given, profile.proof)
            return signed_token_rules.question(problem)

        if answer := unanswered(request, question, back=cancel):
            return answer
        if not found.idle:
            return previews.shown(request, found, name=profile.name, cancel=cancel)
    saved = access_profiles.change(
        by=by, profile_id=profile.pk, given=given, if_match=request.POST.get("read")
    )
    to = resolve_url("client", profile.client_id)
    return done(request, saved, noun="access profile", verb="changed", to=to)


#: Fields that a link to the form may fill in: what advice proposes.
_PROPOSED = ("collections", "policy", "allowed_ips", "denied_ips", "addresses_watched")


def _propose(data: QueryDict, proposed: QueryDict) -> bool:
    """Put what a link proposes into a form; whether it proposes anything."""
    named = [name for name in _PROPOSED if name in proposed]
    for name in named:
        data.setlist(name, proposed.getlist(name))
    return bool(named)


def _typed(profile: AccessProfile) -> QueryDict:
    """A profile as its form would have been filled in."""
    data = QueryDict(mutable=True)
    for name, text in initial(access_profiles.ProfileInput, profile).items():
        data[name] = text
    data["auth_type"] = profile.auth_type
    data["expires_on"] = data["expires_read"] = day_of(profile.expires_at)
    data.setlist("collections", [str(c.pk) for c in profile.collections.all()])
    data["policy"] = str(profile.policy_id or "")
    data["allowed_ips"] = "\n".join(profile.allow_list)
    data["denied_ips"] = "\n".join(profile.deny_list)
    data["lists_shown"] = "1"
    data.setlist("allowed_lists", [str(each.pk) for each in profile.allowed_lists.all()])
    data.setlist("denied_lists", [str(each.pk) for each in profile.denied_lists.all()])
    for name, value in token_rules.shown(profile).items():
        data[name] = shown(value)
    return data


@page
@require_POST
def follow(request: HttpRequest, by: Actor, profile_id: int) -> HttpResponse:
    """Let a profile follow its client, or keep what it has as its own."""
    follows = request.POST.get("follows") == "1"
    given = access_profiles.ProfileInput(follows_client=follows)
    try:
        saved = access_profiles.change(by=by, profile_id=profile_id, given=given)
    except Invalid as error:
        messages.error(request, error.sentences)
        return redirect("edit-profile", profile_id)
    if in_force(request, saved):
        state = (
            "follows its client now, and has what the client's defaults say"
            if follows
            else "has settings of its own now. They are the same as before"
        )
        messages.success(request, f"{saved.value.name} {state}.")
    return redirect("edit-profile", profile_id)


@page
@require_http_methods(["GET", "POST"])
def switch(request: HttpRequest, by: Actor, profile_id: int) -> HttpResponse:
    """The preview of a deactivation, and the switch itself."""
    if request.method == "GET":
        return _before_off(request, by, access_profiles.find(by, profile_id))
    active = request.POST.get("active") == "1"
    profile = access_profiles.find(by, profile_id)
    back = reverse("client", args=[profile.client_id])
    if not active and (answer := unanswered(request, lambda: _off(by, profile), back=back)):
        return answer
    saved = access_profiles.switch(by=by, profile_id=profile_id, active=active)
    if in_force(request, saved):
        state = "active again" if active else "inactive: it can call no API now"
        undo = (request.path, "active", "0" if active else "1")
        say_done(request, f"{saved.value.name} is {state}.", undo=undo)
    return redirect(made_at(request, back, f"#profile-{profile_id}"))


def _off(by: Actor, profile: AccessProfile) -> ConsequenceQuestion:
    require(by, Role.EDITOR, profile.client.project_id)
    alive = credentials.alive(profile)
    used = [each.last_used_at for each in alive if each.last_used_at]
    number = counted(len(alive), "credential")
    last = (
        f"The last request came {max(used):%-d %B %Y, %H:%M} UTC." if used else "It was never used."
    )
    return ConsequenceQuestion(
        title=f"Deactivate {profile.name}?",
        sentences=(
            f"Requests with its {number} are refused at once, and until you activate it again.",
            last,
        ),
        verb="Deactivate",
        more=reverse("switch-profile", args=[profile.pk]),
        more_label="Preview the deactivation on recorded requests",
    )


def _before_off(request: HttpRequest, by: Actor, profile: AccessProfile) -> HttpResponse:
    if not profile.active:
        return redirect("profile", profile.pk)
    off = access_profiles.ProfileInput(active=False)
    found = preview.of_profile(by=by, profile_id=profile.pk, given=off)
    back = reverse("profile", args=[profile.pk])
    return previews.before_switching_off(request, found, name=profile.name, cancel=back)


@page
@require_http_methods(["GET", "POST"])
def refresh(request: HttpRequest, by: Actor, profile_id: int) -> HttpResponse:
    """Ask for the overlap, then show the new credential once."""
    profile = access_profiles.find(by, profile_id)
    if request.method == "POST":
        if not first_time(request):
            return _sent_before(request, profile.client)
        overlap = request.POST.get("overlap", str(handovers.OVERLAP))
        seconds = int(overlap) if overlap.isdecimal() and len(overlap) < 9 else -1
        try:
            saved, secret = credentials.refresh(
                by=by, profile_id=profile_id, overlap_seconds=seconds
            )
        except Invalid as error:
            messages.error(request, error.sentences)
            return redirect("client", profile.client_id)
        in_force(request, saved)
        return _credential(request, by, saved.value, secret, made=False)
    context = {
        "profile": profile,
        "overlaps": OVERLAPS,
        "usual": handovers.OVERLAP,
        "once": secrets.token_urlsafe(16),
        "alive": credentials.alive(profile),
    }
    return render(request, "console/refresh.html", context)


@page
@require_http_methods(["GET", "POST"])
def cut_off(request: HttpRequest, by: Actor, profile_id: int, credential_id: int) -> HttpResponse:
    """Ask, with what is known of its use, then revoke one credential."""
    if request.method == "GET":
        return _before_cutting_off(request, by, profile_id, credential_id)
    saved = credentials.cut_off(by=by, profile_id=profile_id, credential_id=credential_id)
    if in_force(request, saved):
        messages.success(request, f"That credential of {saved.value.name} works no longer.")
    return redirect("client", saved.value.client_id)


def _before_cutting_off(
    request: HttpRequest, by: Actor, profile_id: int, credential_id: int
) -> HttpResponse:
    profile = access_profiles.find(by, profile_id)
    require(by, Role.EDITOR, profile.client.project_id)
    alive = list(credentials.alive(profile))
    credential = next((each for each in alive if each.pk == credential_id), None)
    if credential is None:
        messages.info(request, "That credential is revoked already.")
        return redirect("profile", profile_id)
    rotation = rotations.of_profile(profile, timezone.now())
    if rotation is not None and rotation.old.credential.pk != credential_id:
        rotation = None
    context = {
        "profile": profile, "credential": credential, "rotation": rotation,
        "only": len(alive) == 1,
    }  # fmt: skip
    return render(request, "console/cut_off.html", context)


@page
@require_http_methods(["GET", "POST"])
def delete(request: HttpRequest, by: Actor, profile_id: int) -> HttpResponse:
    profile = access_profiles.find(by, profile_id)
    return by_name(
        request,
        lambda: access_profiles.delete(by=by, profile_id=profile_id),
        what="access profile",
        name=profile.name,
        consequence="Its credentials stop working at once, and cannot be brought back.",
        takes=[counted(credentials.alive(profile).count(), "working credential")],
        instead=reverse("switch-profile", args=[profile_id]) if profile.active else "",
        back=reverse("client", args=[profile.client_id]),
        after=reverse("client", args=[profile.client_id]),
        restorable=True,
    )


@page
@require_POST
def help_addresses(request: HttpRequest, by: Actor) -> HttpResponse:
    """Live help: how Ostiary reads a list of addresses."""
    text = (request.POST.get("allowed_ips") or request.POST.get("denied_ips") or "")[:20_000]
    return render(request, "console/help_addresses.html", {"list": addresses.parse_list(text)})


@page
@require_POST
def help_key(request: HttpRequest, by: Actor) -> HttpResponse:
    """Live help: the kind of a pasted key, and whether it is acceptable."""
    text, method = request.POST.get("jwt_secret", ""), request.POST.get("jwt_method", "")
    problem = ""
    try:
        if method == "hmac":
            pasted_keys.hmac_secret(text)
        elif method in JWT_METHODS:
            pasted_keys.public_key(text, method)
    except pasted_keys.BadKey as error:
        problem = str(error)
    context = {"empty": not text.strip(), "kind": pasted_keys.kind(text), "problem": problem}
    return render(request, "console/help_key.html", context)


def policy_words(policy: Policy) -> str:
    """A policy's limits in words."""
    parts = [
        f"{rate.limit:,} requests per {rate.interval}" for rate in policies.rate_limits(policy)
    ]
    if policy.quota_limit:
        parts.append(f"{policy.quota_limit:,} requests per {policy.quota_interval}")
    return ", and ".join(parts) or "no limit"
