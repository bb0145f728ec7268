"""Refused forms and the cause: mostly a public URL that differs from what browsers see."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from ostiary import settings as environment
from ostiary.console.frame.form_pages import UnkeptPage
from ostiary.console.frame.sign_in_redirects import page_of
from ostiary.middleware import public_address

OLD_FORM = (
    "That form is older than your sign-in, so it was not accepted. Go back and send it again: what"
    " you typed is filled in, but for secrets."
)
#: Where the public URL of the console is set.
SETTING = "OSTIARY_CONSOLE_URL (or “Public URL of the console” under Settings)"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedForm:
    """The facts about a refused form."""

    #: The public URL that is set, or empty.
    public: str
    #: The origin by Host header and connection.
    asked: str
    #: What the browser says: the origin of the form's page, and how it relates to where it was sent.
    origin: str
    fetch_site: str
    has_cookie: bool
    #: Cookies are for https alone.
    secure: bool

    @property
    def is_foreign(self) -> bool:
        """Another site sent the form; what it calls itself is nothing to suggest to anybody."""
        if self.fetch_site:
            return self.fetch_site != "same-origin"
        return urlsplit(self.origin).hostname != urlsplit(self.asked).hostname


def refused_form(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form without the token that belongs to this browser's session: it changes nothing."""
    address = public_address.address(request)
    problem = explained(
        RefusedForm(
            public=address.public,
            asked=address.asked,
            origin=request.headers.get("Origin", ""),
            fetch_site=request.headers.get("Sec-Fetch-Site", ""),
            has_cookie=settings.CSRF_COOKIE_NAME in request.COOKIES,
            secure=environment.current().secure_cookies or address.public.startswith("https:"),
        )
    )
    context = {
        "title": "Nothing was saved",
        "text": problem or OLD_FORM,
        "back": "" if problem else page_of(request),
    }
    answer = render(request, "console/problem.html", context, status=403)
    # Where the address is wrong, a cookie that leads to a kept page would not come back.
    return UnkeptPage(answer.content, status=403) if problem else answer


def explained(form: RefusedForm) -> str:
    """What is wrong with where the console was opened; empty: nothing, the form itself is old."""
    return _wrong_origin(form) or _no_cookie(form)


def _wrong_origin(form: RefusedForm) -> str:
    origin, public = form.origin, form.public
    if origin in {"", public} or (origin == form.asked and not _is_other_scheme(form)):
        return ""
    if origin == "null":
        return (
            "Your browser did not say which page the form came from. A proxy that sets Referrer-Policy"
            " to no-referrer, or an extension of the browser, makes it do so; take that off for the"
            " console."
        )
    if public and _is_other_scheme(form):
        return (
            f"You opened the console at {origin}, and its public URL is {public}. Open it there, and"
            " let your proxy redirect the one to the other."
        )
    if form.is_foreign:
        return (
            "That form was sent by a page at another address than the console's. If you opened the"
            f" console at the right address, set {SETTING} to that address, and restart Ostiary."
        )
    if public:
        return (
            f"You opened the console at {origin}, and its public URL is {public}. Open it there; or,"
            f" if {origin} is right, set {SETTING} to {origin}."
        )
    return (
        f"You opened the console at {origin}, and behind your proxy it looks like {form.asked}. Set"
        f" OSTIARY_CONSOLE_URL={origin} and start Ostiary again; nothing else is needed."
    )


def _is_other_scheme(form: RefusedForm) -> bool:
    """The page is at the public URL, but for the scheme."""
    one, other = urlsplit(form.origin), urlsplit(form.public)
    return one.hostname == other.hostname and one.scheme != other.scheme


def _no_cookie(form: RefusedForm) -> str:
    if form.has_cookie:
        return ""
    if form.secure and not form.origin.startswith("https:"):
        if form.public.startswith("https:"):
            return (
                f"The console's public URL is {form.public}, so its cookies are for https alone, and"
                f" you opened it without. Open {form.public}; or, if the console has another address,"
                f" correct {SETTING}."
            )
        return (
            "OSTIARY_SECURE_COOKIES is 1, so cookies of the console are for https alone, and you"
            " opened it without. Open it over https, or remove that setting and start Ostiary again."
        )
    return (
        "Your browser sent no cookie of the console. Allow its cookies, go back, and send it again."
    )
