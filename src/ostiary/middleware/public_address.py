"""Requests are taken as made at the console's public URL, whatever a proxy in front makes of them.

The public URL is a setting, so Ostiary needs and believes no header of a proxy: what browsers
say of their own page (`Origin`) fits it or does not. Cookies are for https alone if it is https.
"""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse

from ostiary import settings
from ostiary.directory.workspace import origins, public_urls
from ostiary.middleware.trusted_proxies import UNASKED

#: Headers in which a browser tells the page that a request comes from.
TELLING = ("Origin", "HX-Current-URL", "Referer")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOrigin:
    """Where a request was made."""

    #: The console's public URL; empty: none is set.
    public: str
    #: The origin by Host header and connection, before it was put right.
    asked: str


class PublicAddress:
    """Puts scheme and host right before anything looks at them, and cookies after."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        if response.cookies and _is_https(request):
            for cookie in response.cookies.values():
                cookie["secure"] = True
        seconds = settings.current().console_hsts_seconds
        if seconds and request.scheme == "https":
            response.headers["Strict-Transport-Security"] = f"max-age={seconds}"
        return response

    def process_view(
        self, request: HttpRequest, view: object, args: object, kwargs: object
    ) -> None:
        match = request.resolver_match
        # The API has neither cookies nor forms.
        if match is not None and (match.namespaces or match.url_name in UNASKED):
            return
        try:
            public = public_urls.configured_console_url()
        except (DatabaseError, InterfaceError):
            # The view says so, in its own way.
            return
        set_address(request, RequestOrigin(public=public, asked=_asked(request)))
        if public and _is_at(request, public):
            parts = urlsplit(public)
            request.META["HTTP_HOST"] = parts.netloc
            _set_scheme(request, parts.scheme)


def address(request: HttpRequest) -> RequestOrigin:
    """Where the request was made, as it was before."""
    found = getattr(request, "public_address", None)
    return (
        found
        if isinstance(found, RequestOrigin)
        else RequestOrigin(public="", asked=_asked(request))
    )


def set_address(request: HttpRequest, found: RequestOrigin) -> None:
    request.public_address = found  # type: ignore[attr-defined]  # set by a middleware


def _is_https(request: HttpRequest) -> bool:
    return request.scheme == "https" or address(request).public.startswith("https:")


def _asked(request: HttpRequest) -> str:
    return f"{request.scheme}://{request.META.get('HTTP_HOST', '')}"


def _is_at(request: HttpRequest, public: str) -> bool:
    """Whether the Host header or the browser says that this is the public URL."""
    scheme = urlsplit(public).scheme
    if _origin(f"{scheme}://{request.META.get('HTTP_HOST', '')}") == public:
        return True
    said = next((value for name in TELLING if (value := request.headers.get(name))), "")
    parts = urlsplit(said) if said.isascii() and "[" not in said else None
    return parts is not None and _origin(f"{parts.scheme}://{parts.netloc}") == public


def _origin(text: str) -> str:
    try:
        return origins.parse(text)
    except origins.BadOrigin:
        return ""


def _set_scheme(request: HttpRequest, scheme: str) -> None:
    scope = getattr(request, "scope", None)
    if scope is None:
        request.META["wsgi.url_scheme"] = scheme
    else:
        # A copy: the server's own is about the connection.
        request.scope = {**scope, "scheme": scheme}  # type: ignore[attr-defined]  # set by a middleware
