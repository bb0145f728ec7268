"""**Try it**: one call of an endpoint through the real gateway, as a profile of the owner's choice.

The console makes the call itself, from this machine to the gateway's own listener. A credential that
is pasted goes into that one call: it is not kept, and not shown again.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode

from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from ostiary import settings
from ostiary.access.methods import AuthMethod
from ostiary.access.paths import ANY, METHODS, is_wildcard, stored_template
from ostiary.console.clients.access_profiles import METHODS as AUTH_METHODS
from ostiary.console.frame.choosers import PROFILES
from ostiary.console.frame.saving import in_force
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor, Role
from ostiary.directory.catalog import endpoints, test_calls
from ostiary.directory.changes import fields
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.changes.permission import require
from ostiary.directory.clients import access_profiles
from ostiary.directory.models import AccessProfile, Endpoint
from ostiary.directory.workspace import public_urls
from ostiary.gateway import consumer_call
from ostiary.identity.secret import Secret

LARGEST_BODY = 256 * 1024
LONGEST_CREDENTIAL = 16 * 1024
#: Seconds on top of the endpoint's own, so that it is the gateway that says "too late".
MARGIN = 5
#: What frames or routes a call, or says who calls: this form has fields for it, or nobody may say it.
_NOT_HERE = re.compile(
    r"(?i)(host|connection|content-length|transfer-encoding|te|trailer|upgrade|expect|keep-alive"
    r"|authorization|api-token|cookie|forwarded|x-forwarded-.*|x-ostiary-.*|proxy-.*)"
)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_TEXT = re.compile(r"[\x20-\x7e\t]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An answer as the page shows it, with the credential redacted."""

    answer: consumer_call.Answer
    headers: tuple[tuple[str, str], ...]
    body: str
    binary: bool
    request_id: str

    @property
    def good(self) -> bool:
        return self.answer.status < 400


@sensitive_post_parameters("credential")
@page
@require_http_methods(["GET", "POST"])
def endpoint(request: HttpRequest, by: Actor, endpoint_id: int) -> HttpResponse:
    found = endpoints.find(by, endpoint_id)
    require(by, Role.EDITOR, found.collection.project_id)
    context: dict[str, object] = {"errors": {}}
    if request.method == "POST":
        try:
            context["shown"] = _try(request, by, found)
        except Invalid as error:
            context["errors"] = error.errors
        except consumer_call.NoAnswer as error:
            context["silence"] = str(error)
    template = "console/try.html"
    # Behind the page the form is sent, or profiles are found by their name: that is a part of the page.
    answered = request.method == "POST" and request.htmx  # type: ignore[attr-defined]  # set by a middleware
    if answered:
        template = "console/try_answer.html"
    else:
        context |= _form(request, by, found)
    bad = context["errors"] and not answered
    return render(request, template, context, status=400 if bad else 200)


#: The profiles to try it as: with the method, which says whether a credential can be issued.
CALLERS = replace(
    PROFILES,
    text=lambda each: (
        f"{each.client.name}: {each.name} ({AUTH_METHODS[AuthMethod(each.auth_type)]})"
    ),
)


def _usable(by: Actor, endpoint: Endpoint) -> QuerySet[AccessProfile]:
    """The profiles that include the endpoint's collection, and that an editor may try it as."""
    through = AccessProfile.collections.through.objects
    includes = through.filter(accessprofile_id=OuterRef("pk"), collection_id=endpoint.collection_id)
    usable = access_profiles.named(by).filter(Exists(includes))
    if by.admin:
        return usable
    edited = [id_ for id_ in by.project_ids if by.may(Role.EDITOR, id_)]
    return usable.filter(client__project_id__in=edited)


def _form(request: HttpRequest, by: Actor, endpoint: Endpoint) -> dict[str, object]:
    given = request.POST if request.method == "POST" else request.GET
    return {
        "endpoint": endpoint,
        "collection": endpoint.collection,
        "url": f"{public_urls.gateway_url()}/{endpoint.collection.handle}{endpoint.path}",
        "profile": CALLERS.field(
            by, "profile", "Access profile", given.get("profile", ""), _usable(by, endpoint)
        ),
        "given": given,
        "parameters": [
            (name, given.get(f"path-{name}", ""))
            for name in stored_template(endpoint.path).parameters
        ],
        "methods": METHODS if endpoint.method == ANY else (),
        "has_body": endpoint.method in {"POST", "PUT", "PATCH", "DELETE", ANY},
        "address": _listener().host,
        # Milliseconds; the console itself waits for less.
        "patience": (_seconds(endpoint) + MARGIN + 10) * 1000,
    }


def _listener() -> consumer_call.Listener:
    current = settings.current()
    return consumer_call.Listener(
        bind=current.gateway_bind,
        certificate=current.certificate,
        proxy_protocol=current.proxy_protocol,
    )


def _try(request: HttpRequest, by: Actor, endpoint: Endpoint) -> Shown:
    """Make the call, and always revoke the credential that was issued for it."""
    problems = fields.Problems()
    method = endpoint.method
    if method == ANY:
        method = fields.choice(problems, "method", request.POST.get("method", "GET"), METHODS)
    target = _target(problems, endpoint, request.POST)
    headers = _headers(problems, request.POST)
    body = request.POST.get("body", "").encode("utf-8", "replace")
    if len(body) > LARGEST_BODY:
        problems.add("body", f"is longer than {LARGEST_BODY // 1024} KB")
    pasted = _pasted(problems, request.POST)
    problems.raise_if_any()
    trial = test_calls.begin(
        by=by,
        endpoint_id=endpoint.pk,
        profile_id=None
        if pasted
        else CALLERS.chosen(by, "profile", request.POST.get("profile", ""), _usable(by, endpoint)),
        pasted=pasted,
    )
    secret = trial.secret.reveal()
    proof = ("Authorization", f"Bearer {secret}")
    if endpoint.collection.leave_authorization:
        proof = ("API-TOKEN", secret)
    asked = consumer_call.ConsumerCall(
        method=method,
        target=target,
        headers=(*headers, proof),
        body=body,
    )
    try:
        answer = consumer_call.call(_listener(), asked, seconds=_seconds(endpoint) + MARGIN)
    finally:
        in_force(request, test_calls.end(trial))
    return _shown(answer, trial.secret)


def _seconds(endpoint: Endpoint) -> int:
    connection = endpoint.collection.connection
    return endpoint.timeout_seconds or (connection.timeout_seconds if connection else 30)


def _target(problems: fields.Problems, endpoint: Endpoint, given: QueryDict) -> str:
    template = stored_template(endpoint.path)
    values = {}
    for token, name in zip(template.tokens, template.parameters, strict=True):
        value = given.get(f"path-{name}", "")
        rest = is_wildcard(token)
        parts = value.split("/") if rest else [value]
        if not parts[0] or "" in parts[:-1] or {".", ".."} & {*parts} or len(value) > 500:
            problems.add("path", f"{name}: must be a text of at most 500 characters, and no dots")
        values[name] = quote(value, safe="/" if rest else "")
    path = template.filled(values)
    pairs = []
    for line in given.get("query", "").splitlines():
        name, _, value = line.strip().partition("=")
        if name:
            pairs.append((name, value))
    query = urlencode(pairs, quote_via=quote)
    if len(query) > 8000:
        problems.add("query", "is too long")
    return f"/{endpoint.collection.handle}{path}" + (f"?{query}" if query else "")


def _headers(problems: fields.Problems, given: QueryDict) -> tuple[tuple[str, str], ...]:
    found = [("User-Agent", "Ostiary-console"), ("Accept", "*/*"), ("Accept-Encoding", "identity")]
    kind = given.get("content_type", "").strip()
    if kind and given.get("body"):
        if _TEXT.fullmatch(kind) and len(kind) < 200:
            found.append(("Content-Type", kind))
        else:
            problems.add("content_type", "isn't a content type")
    for line in given.get("headers", "").splitlines()[:100]:
        if not line.strip():
            continue
        name, colon, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if not colon or not _HEADER_NAME.fullmatch(name) or not _TEXT.fullmatch(value):
            problems.add(
                "headers", f"{line.strip()[:60]!r} isn't a header such as Accept: text/csv"
            )
        elif _NOT_HERE.fullmatch(name):
            problems.add("headers", f"{name} can't be set here")
        elif len(value) > 4000:
            problems.add("headers", f"{name} is too long")
        else:
            found = [pair for pair in found if pair[0].lower() != name.lower()]
            found.append((name, value))
    return tuple(found)


def _pasted(problems: fields.Problems, given: QueryDict) -> Secret | None:
    text = given.get("credential", "").strip()
    if not text:
        return None
    if len(text) > LONGEST_CREDENTIAL or not re.fullmatch(r"[\x21-\x7e]+", text):
        problems.add("credential", "isn't a credential: it must be a text without spaces")
    return Secret(text)


def _shown(answer: consumer_call.Answer, secret: Secret) -> Shown:
    headers = tuple((name, _without(secret, value)) for name, value in answer.headers)
    kind = next((v for n, v in headers if n.lower() == "content-type"), "").lower()
    try:
        text = answer.body.decode("utf-8", "strict" if answer.complete else "ignore")
        binary = "\x00" in text
    except UnicodeDecodeError:
        text, binary = "", True
    content = _json(text) if "json" in kind else None
    request_id = next((v for n, v in headers if n.lower() == "x-request-id"), "")
    if isinstance(content, Mapping) and not request_id and "reason" in content:
        request_id = str(content.get("request_id", ""))
    if content is not None:
        text = json.dumps(content, indent=2, ensure_ascii=False)
    return Shown(
        answer=answer,
        headers=headers,
        body="" if binary else _without(secret, text),
        binary=binary,
        request_id=request_id[:100],
    )


def _json(text: str) -> object | None:
    try:
        content: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return content


def _without(secret: Secret, text: str) -> str:
    """The text without the credential, since upstreams may echo it."""
    return text.replace(secret.reveal(), "•••") if secret else text
