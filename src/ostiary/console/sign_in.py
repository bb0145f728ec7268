"""Signing in: by a one-time link, then by password; signing out."""

from django.contrib import messages
from django.contrib.auth import authenticate, login, logout, update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from ostiary.console import lockout
from ostiary.directory.members import actor_of, end_sessions, redeem_link
from ostiary.directory.models import Member

BACKEND = "django.contrib.auth.backends.ModelBackend"


def _next(request: HttpRequest) -> str:
    """Where to go after signing in: a page of ours, whatever the query says."""
    wanted = request.POST.get("next") or request.GET.get("next") or "/"
    safe = url_has_allowed_host_and_scheme(wanted, allowed_hosts=None)
    return wanted if safe and wanted.startswith("/") else "/"


@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
def with_password(request: HttpRequest) -> HttpResponse:
    context: dict[str, object] = {"next": _next(request)}
    if request.method == "POST":
        email = request.POST.get("email", "").strip().lower()[:254]
        address = str(request.META.get("REMOTE_ADDR", ""))
        member = None
        if lockout.may_try(email, address):
            member = authenticate(request, username=email, password=request.POST.get("password"))
            if member is None:
                lockout.failed(email, address)
        if isinstance(member, Member):
            lockout.succeeded(email, address)
            login(request, member, backend=BACKEND)
            return redirect(_next(request))
        context |= {
            "email": email,
            "problem": "That e-mail and password do not fit, or there were too many tries; wait a minute.",
        }
    return render(
        request, "console/sign_in.html", context, status=400 if "problem" in context else 200
    )


@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def with_link(request: HttpRequest) -> HttpResponse:
    """The secret stands after the `#` of the link, so it gets here in a form and in no log."""
    if request.method == "POST":
        member = redeem_link(request.POST.get("code", "").strip()[:200])
        if member is not None:
            login(request, member, backend=BACKEND)
            return redirect("set-password" if not member.has_usable_password() else "home")
        problem = "This link was used already, is older than 24 hours, or is incomplete."
        return render(request, "console/sign_in_link.html", {"problem": problem}, status=400)
    return render(request, "console/sign_in_link.html")


@sensitive_post_parameters("password", "again")
@login_required
@require_http_methods(["GET", "POST"])
def set_password(request: HttpRequest) -> HttpResponse:
    member = request.user
    assert isinstance(member, Member)  # noqa: S101 - `login_required` stands before
    problems: list[str] = []
    if request.method == "POST":
        password = request.POST.get("password", "")
        if password != request.POST.get("again", ""):
            problems.append("The two passwords differ.")
        else:
            try:
                validate_password(password, member)
            except ValidationError as error:
                problems += error.messages
        if not problems:
            member.set_password(password)
            member.save(update_fields=["password"])
            update_session_auth_hash(request, member)
            messages.success(request, "Your password is set.")
            return redirect("home")
    context = {"problems": problems}
    return render(request, "console/set_password.html", context, status=400 if problems else 200)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return redirect("sign-in")


@login_required
@require_POST
def sign_out_everywhere(request: HttpRequest) -> HttpResponse:
    """End every other session of the member; this one goes on."""
    member = request.user
    assert isinstance(member, Member)  # noqa: S101 - `login_required` stands before
    by = actor_of(member, str(request.META.get("REMOTE_ADDR", "")))
    update_session_auth_hash(request, end_sessions(by=by, member=member))
    messages.success(request, "You are signed out everywhere else.")
    return redirect("account")
