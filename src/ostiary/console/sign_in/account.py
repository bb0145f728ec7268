"""The member's own page: password, second factors, single sign-on, and where they are signed in."""

import base64
import io
import secrets
from collections.abc import Mapping

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ostiary import settings
from ostiary.console.frame.form_pages import once_page
from ostiary.console.frame.questions import ConsequenceQuestion, counted, unanswered
from ostiary.console.frame.saving import first_time
from ostiary.console.frame.sign_in_redirects import signed_in
from ostiary.console.sign_in import lockout, passkeys, steps
from ostiary.console.sign_in.sessions import digest_of
from ostiary.console.sign_in.sign_in import WRONG_CODE, WRONG_PASSKEY, code_of
from ostiary.console.sign_in.steps import actor_for, member_of
from ostiary.directory.changes.errors import InUse, Invalid, NotFound
from ostiary.directory.models import Member, SecondFactor
from ostiary.directory.people import second_factors, sign_ins, single_sign_on
from ostiary.directory.people.second_factors import Added
from ostiary.directory.workspace import workspace_settings
from ostiary.identity import one_time_codes
from ostiary.identity.sealing import KeyRing, SealingError
from ostiary.identity.secret import Secret

#: The first mark that is found names it.
_BROWSERS = (
    ("Edg", "Edge"), ("OPR/", "Opera"), ("SamsungBrowser", "Samsung Internet"),
    ("Firefox/", "Firefox"), ("FxiOS", "Firefox"), ("Chrome/", "Chrome"), ("CriOS", "Chrome"),
    ("Safari/", "Safari"),
)  # fmt: skip
_SYSTEMS = (
    ("Windows", "Windows"), ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"),
    ("Mac OS X", "macOS"), ("CrOS", "ChromeOS"), ("Linux", "Linux"),
)  # fmt: skip
#: The secret of an app that is being set up, sealed in the session.
DRAFT, DRAFT_CONTEXT = "app", "session:app"
WRONG_PASSWORD = "Wrong password, or too many attempts. Try again in a minute."  # noqa: S105 - a sentence


@signed_in
@require_safe
def show(request: HttpRequest) -> HttpResponse:
    member = member_of(request)
    current = digest_of(request.session.session_key or "")
    context = {
        "factors": second_factors.of(member),
        "codes_left": second_factors.codes_left(member),
        "sessions": [
            {"row": row, "browser": browser_of(row.browser), "this": row.digest == current}
            for row in sign_ins.sessions(member)
        ],
        "required": second_factors.are_required(),
        "links": single_sign_on.links(member),
    }
    return render(request, "console/account.html", context)


def browser_of(agent: str) -> str:
    """A browser's name for its owner to know it by; most claim to be several others as well."""
    found = next((name for mark, name in _BROWSERS if mark in agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    if found and system:
        return f"{found} on {system}"
    return found or system or agent[:40] or "Unknown"


@sensitive_post_parameters()
@signed_in
@require_http_methods(["GET", "POST"])
def confirm(request: HttpRequest) -> HttpResponse:
    """Who is there? The password again, or a second factor."""
    member = member_of(request)
    then = steps.onward(request.POST.get("next") or request.GET.get("next"))
    problem = ""
    if request.method == "POST":
        if "passkey" in request.POST:
            shown = passkeys.shown_by(request, passkeys.CONFIRM, member)
            problem = WRONG_PASSKEY
        elif "code" in request.POST:
            shown = code_of(request, member)
            problem = WRONG_CODE
        else:
            shown = "password" if _is_password(request, member) else None
            problem = WRONG_PASSWORD
        if shown:
            steps.confirm(request)
            return redirect(then)
    context = {
        "next": then,
        "problem": problem,
        "has_password": member.has_usable_password(),
        "by_link": steps.came_by_link(request),
        **passkeys.ways(request, member),
    }
    return render(request, "console/confirm.html", context, status=400 if problem else 200)


def _is_password(request: HttpRequest, member: Member) -> bool:
    """Whether the member's present password was sent; wrong ones have to wait."""
    key = f"password:{member.pk}"
    if not lockout.may_try(key):
        return False
    right = member.check_password(request.POST.get("present", ""))
    if right:
        lockout.succeeded(key)
    elif lockout.is_slow(key):
        address = steps.address_of(request)
        sign_ins.refused(email=member.email, address=address, step="password again")
    return right


@sensitive_post_parameters()
@signed_in
@require_http_methods(["GET", "POST"])
def set_password(request: HttpRequest) -> HttpResponse:
    """A new password: with the present one, unless a one-time link led here just now."""
    member = member_of(request)
    by_link = steps.came_by_link(request)
    asks = member.has_usable_password() and not by_link
    if not (asks or by_link or steps.is_confirmed(request)):
        return steps.to_confirm(request.path)
    problems: list[str] = []
    if request.method == "POST":
        if asks and not _is_password(request, member):
            problems.append(WRONG_PASSWORD)
        else:
            problems += _save_password(request, member)
        if not problems:
            messages.success(request, "Your password is set. Your other sessions have ended.")
            return redirect("home")
    context = {"problems": problems, "asks": asks, "by_link": by_link}
    return render(request, "console/set_password.html", context, status=400 if problems else 200)


def _save_password(request: HttpRequest, member: Member) -> list[str]:
    try:
        sign_ins.set_password(
            by=actor_for(request, member),
            member=member,
            password=request.POST.get("password", ""),
            again=request.POST.get("again", ""),
        )
    except Invalid as error:
        return [said for all_ in error.errors.values() for said in all_]
    request.session.pop(steps.LINKED, None)
    update_session_auth_hash(request, member)
    return []


# Second factors.


@signed_in
@require_safe
def second_factor(request: HttpRequest) -> HttpResponse:
    """Which one to add; who must have one is led here."""
    member = member_of(request)
    has = second_factors.of(member).exists()
    context = {
        "must": second_factors.are_required() and not has,
        "no_passkey": passkeys.site_of(request).problem,
    }
    return render(request, "console/second_factor.html", context)


@sensitive_post_parameters()
@signed_in
@require_http_methods(["GET", "POST"])
def add_app(request: HttpRequest) -> HttpResponse:
    """An authenticator app: its secret as a picture and as text, then a code that it shows."""
    if not steps.may_add(request):
        return steps.to_confirm(request.path)
    member, errors = member_of(request), {}
    if request.method == "POST":
        secret = _draft(request)
        if secret is None:
            return redirect("add-app")
        try:
            added = second_factors.add_app(
                by=actor_for(request, member),
                member=member,
                name=request.POST.get("name"),
                secret=secret,
                code=request.POST.get("code", "")[:16],
            )
        except Invalid as error:
            errors = error.errors
        else:
            request.session.pop(DRAFT, None)
            return _added(request, member, added)
    else:
        secret = one_time_codes.new_secret()
        request.session[DRAFT] = _ring().seal(secret.reveal(), DRAFT_CONTEXT)
    return _app_page(request, member, secret, errors)


def _app_page(
    request: HttpRequest, member: Member, secret: Secret, errors: Mapping[str, list[str]]
) -> HttpResponse:
    name = workspace_settings.read().name
    address = one_time_codes.address(secret, account=member.email, issuer=name)
    text = secret.reveal()
    context = {
        "picture": _picture(address),
        "secret": " ".join(text[start : start + 4] for start in range(0, len(text), 4)),
        "name": request.POST.get("name", "Authenticator app"),
        "errors": errors,
    }
    return render(request, "console/add_app.html", context, status=400 if errors else 200)


def _picture(address: Secret) -> str:
    """A QR code as an address of data: it is in no file and in no URL that is asked for."""
    # They load lxml and Pillow, which nothing else of the console needs.
    from qrcode.image.svg import SvgPathFillImage
    from qrcode.main import QRCode

    code = QRCode(image_factory=SvgPathFillImage, border=2)
    code.add_data(address.reveal())
    out = io.BytesIO()
    code.make_image().save(out)
    return "data:image/svg+xml;base64," + base64.b64encode(out.getvalue()).decode()


def _ring() -> KeyRing:
    return KeyRing.load(settings.current().data / "keyring.json")


def _draft(request: HttpRequest) -> Secret | None:
    sealed = request.session.get(DRAFT)
    try:
        return Secret(_ring().open(sealed, DRAFT_CONTEXT)) if sealed else None
    except SealingError:
        return None


@sensitive_post_parameters()
@signed_in
@require_http_methods(["GET", "POST"])
def add_passkey(request: HttpRequest) -> HttpResponse:
    if not steps.may_add(request):
        return steps.to_confirm(request.path)
    member, site = member_of(request), passkeys.site_of(request)
    errors: Mapping[str, list[str]] = {}
    if request.method == "POST":
        passkey = passkeys.registered(request)
        if passkey is None:
            errors = {"passkey": ["was not made; try again."]}
        else:
            try:
                added = second_factors.add_passkey(
                    by=actor_for(request, member),
                    member=member,
                    name=request.POST.get("name"),
                    passkey=passkey,
                )
            except Invalid as error:
                errors = error.errors
            else:
                return _added(request, member, added)
    context = {
        "origin": "" if site.problem else site.origin,
        "no_passkey": site.problem,
        "name": request.POST.get("name", "Passkey"),
        "errors": errors,
    }
    return render(request, "console/add_passkey.html", context, status=400 if errors else 200)


def _added(request: HttpRequest, member: Member, added: Added) -> HttpResponse:
    """The session goes on, and counts as one that has shown a second factor."""
    steps.mark_strong(request)
    update_session_auth_hash(request, member)
    messages.success(request, f"{added.factor.name} is now a second factor of yours.")
    return _codes(request, added.recovery_codes) if added.recovery_codes else redirect("account")


def _codes(request: HttpRequest, codes: tuple[Secret, ...]) -> HttpResponse:
    context = {"codes": "\n".join(code.reveal() for code in codes), "count": len(codes)}
    replace = reverse("recovery-codes")
    return once_page(request, "console/recovery_codes.html", context, replace=replace)


@signed_in
@steps.confirmed
@require_http_methods(["GET", "POST"])
def change_factor(request: HttpRequest, factor_id: int) -> HttpResponse:
    """Another name for it, or its removal."""
    member = member_of(request)
    by = actor_for(request, member)
    errors: Mapping[str, list[str]] = {}
    try:
        factor = second_factors.find(member, factor_id)
        if request.method == "POST" and "remove" in request.POST:
            back = reverse("account")
            if answer := unanswered(request, lambda: _removed(member, factor), back=back):
                return answer
            second_factors.remove(by=by, member=member, factor_id=factor_id)
            messages.success(request, f"{factor.name} was removed.")
            return redirect("account")
        if request.method == "POST":
            name = request.POST.get("name")
            second_factors.rename(by=by, member=member, factor_id=factor_id, name=name)
            messages.success(request, "The name was changed.")
            return redirect("account")
    except NotFound as error:
        raise Http404 from error
    except Invalid as error:
        errors = error.errors
    except InUse as error:
        messages.error(request, f"{error}.")
        return redirect("account")
    context = {
        "factor": factor,
        "name": request.POST.get("name", factor.name),
        "errors": errors,
        "last": second_factors.of(member).count() == 1,
    }
    return render(request, "console/change_factor.html", context, status=400 if errors else 200)


def _removed(member: Member, factor: SecondFactor) -> ConsequenceQuestion:
    left = second_factors.of(member).count() - 1
    if left:
        after = f"It can no longer be used to sign in. {counted(left, 'second factor')} remain{'s' if left == 1 else ''}."
    else:
        codes = counted(second_factors.codes_left(member), "recovery code")
        after = f"It is your only one. Your password alone is enough to sign in then, and {codes} stop working."
    return ConsequenceQuestion(
        title=f"Remove {factor.name}?", sentences=(after,), verb="Remove", in_place=False
    )


@signed_in
@steps.confirmed
@require_http_methods(["GET", "POST"])
def recovery_codes(request: HttpRequest) -> HttpResponse:
    """New recovery codes for the old ones."""
    member = member_of(request)
    if request.method == "POST" and first_time(request):
        try:
            codes = second_factors.new_recovery_codes(by=actor_for(request, member), member=member)
        except InUse as error:
            messages.error(request, f"{error}.")
            return redirect("account")
        return _codes(request, codes)
    if request.method == "POST":
        return redirect("account")
    context = {"once": secrets.token_urlsafe(16)}
    return render(request, "console/new_recovery_codes.html", context)


# Sessions.


@signed_in
@require_POST
def end_session(request: HttpRequest, digest: str) -> HttpResponse:
    member = member_of(request)
    try:
        sign_ins.end_session(by=actor_for(request, member), member=member, digest=digest)
    except NotFound as error:
        raise Http404 from error
    messages.success(request, "That session has ended.")
    return redirect("account")


@signed_in
@steps.confirmed
@require_http_methods(["GET", "POST"])
def unlink(request: HttpRequest, link_id: int) -> HttpResponse:
    """Single sign-on off for this member; the way back is the password or a sign-in link."""
    member = member_of(request)
    found = single_sign_on.links(member).filter(pk=link_id).first()
    if found is None:
        raise Http404
    if request.method == "POST":
        try:
            by = actor_for(request, member)
            single_sign_on.unlink(by=by, member=member, link_id=link_id)
        except NotFound as error:
            raise Http404 from error
        messages.success(request, "The link to your account there is gone.")
        return redirect("account")
    return render(request, "console/unlink.html", {"link": found})
