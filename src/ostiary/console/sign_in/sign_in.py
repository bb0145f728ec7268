"""Signing in: the first step by link, password or passkey, then the second; signing out."""

from django.contrib import messages
from django.contrib.auth import authenticate, logout, update_session_auth_hash
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from ostiary.console.frame.questions import ConsequenceQuestion, counted, unanswered
from ostiary.console.frame.sign_in_redirects import signed_in
from ostiary.console.sign_in import lockout, passkeys, steps
from ostiary.console.sign_in.steps import actor_for, address_of, member_of
from ostiary.directory.models import Member
from ostiary.directory.people import second_factors, sign_ins, single_sign_on
from ostiary.directory.people.members import end_sessions, redeem_link

#: Said for every reason alike: nobody learns which addresses are members'.
NOT_IN = "Wrong email or password, or too many attempts. Try again in a minute."
WRONG_CODE = "Wrong code, used code, or too many attempts. Try again in a minute."
WRONG_PASSKEY = "The passkey was not accepted. Try again, or sign in another way."


@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
def with_password(request: HttpRequest) -> HttpResponse:
    then = steps.onward(request.POST.get("next") or request.GET.get("next"))
    if request.method == "GET":
        return _sign_in_page(request, then)
    email = request.POST.get("email", "").strip().lower()[:254]
    keys = (f"email:{email}", lockout.of_address(address_of(request)))
    member = None
    if lockout.may_try(*keys):
        member = authenticate(request, username=email, password=request.POST.get("password"))
        if member is None and lockout.is_slow(*keys):
            sign_ins.refused(email=email, address=address_of(request), step="password")
    if not isinstance(member, Member):
        return _sign_in_page(request, then, email=email, problem=NOT_IN)
    lockout.succeeded(*keys)
    return steps.after_first(request, member, step="password", then=then)


@require_POST
def with_passkey(request: HttpRequest) -> HttpResponse:
    """A passkey that also verified its owner is both steps at once."""
    then = steps.onward(request.POST.get("next"))
    factor = passkeys.answered(request, passkeys.SIGN_IN)
    if factor is None:
        return _sign_in_page(request, then, problem=WRONG_PASSKEY)
    return steps.enter(request, factor.member, ["passkey"], then=then, strong=True)


def _sign_in_page(
    request: HttpRequest, then: str, *, email: str = "", problem: str = ""
) -> HttpResponse:
    site = passkeys.site_of(request)
    context = {
        "next": then,
        "email": email,
        "problem": problem,
        "provider": single_sign_on.provider(),
        "origin": site.origin if second_factors.any_passkey(site.host) else "",
    }
    return render(request, "console/sign_in.html", context, status=400 if problem else 200)


@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def with_link(request: HttpRequest) -> HttpResponse:
    """The secret stands after the `#` of the link, so it gets here in a form and in no log."""
    if request.method == "POST":
        member = redeem_link(request.POST.get("code", "").strip()[:200])
        if member is not None:
            return steps.after_first(request, member, step="link")
        problem = "This link was used already, is older than 24 hours, or is incomplete."
        return render(request, "console/sign_in_link.html", {"problem": problem}, status=400)
    return render(request, "console/sign_in_link.html")


@sensitive_post_parameters("code", "passkey")
@require_http_methods(["GET", "POST"])
def second_step(request: HttpRequest) -> HttpResponse:
    """A code of an app, a recovery code, or a passkey; for who has the first step behind them."""
    first = steps.pending(request)
    if first is None:
        request.session.pop(steps.PENDING, None)
        return redirect("sign-in")
    member, problem = first.member, ""
    if request.method == "POST":
        if "passkey" in request.POST:
            shown = passkeys.shown_by(request, passkeys.SECOND_STEP, member)
            problem = WRONG_PASSKEY
        else:
            shown = code_of(request, member)
            problem = WRONG_CODE
        if shown:
            done = [first.step, shown]
            return steps.enter(request, member, done, then=first.then, strong=True, link=first.link)
    context = {"problem": problem, **passkeys.ways(request, member)}
    return render(request, "console/second_step.html", context, status=400 if problem else 200)


def code_of(request: HttpRequest, member: Member) -> str | None:
    """Which kind of code was sent, if it is right; wrong ones have to wait longer and longer.

    By member alone: who gets this far has a password that fits, from wherever they come.
    """
    key = f"code:{member.pk}"
    if not lockout.may_try(key):
        return None
    shown = second_factors.use_code(member, request.POST.get("code", "")[:64])
    if shown:
        lockout.succeeded(key)
    elif lockout.is_slow(key):
        sign_ins.refused(email=member.email, address=address_of(request), step="code")
    return shown


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """Sign out; who could not come back is asked first."""
    if request.user.is_authenticated and not steps.can_return(member_of(request)):
        answer = unanswered(request, _locked_out, back=reverse("home"))
        if answer:
            return answer
    logout(request)
    return redirect("sign-in")


def _locked_out() -> ConsequenceQuestion:
    return ConsequenceQuestion(
        title="Sign out without a password?",
        sentences=(
            (
                "Your sign-in link is used up and you have no password yet, so you cannot sign in again"
                " until an admin makes you a new link."
            ),
        ),
        verb="Sign out anyway",
        more=reverse("set-password"),
        more_label="Set a password first",
    )


@signed_in
@require_POST
def sign_out_everywhere(request: HttpRequest) -> HttpResponse:
    """End every other session of the member; this one goes on."""
    member = member_of(request)
    if answer := unanswered(request, lambda: _elsewhere(member), back=reverse("account")):
        return answer
    ended = end_sessions(by=actor_for(request, member), member=member)
    update_session_auth_hash(request, ended)
    messages.success(request, "You are signed out everywhere else.")
    return redirect("account")


def _elsewhere(member: Member) -> ConsequenceQuestion:
    others = counted(max(0, sign_ins.sessions(member).count() - 1), "other session")
    return ConsequenceQuestion(
        title="Sign out everywhere else?",
        sentences=(f"This ends {others}. You stay signed in here.",),
        verb="Sign out",
    )
