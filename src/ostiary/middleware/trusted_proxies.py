"""Where a call of console or API comes from, if a trusted proxy stands in front.

Else everybody behind the proxy would have one address: in the audit log, in the list of sessions,
and when wrong tries from it have to wait.
"""

from collections.abc import Callable, Sequence

from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse

from ostiary.access import addresses
from ostiary.directory.workspace import workspace_settings

#: These answer while the database does not, and ask for no address.
UNASKED = frozenset({"healthz", "readyz", "metrics", "openapi-json"})


def caller(peer: str, forwarded: str, trusted: Sequence[str]) -> str:
    """The first address from the right that is no trusted proxy's; `forwarded` as the header has it.

    A caller may have forged what stands left of it. An entry that isn't an
    address ends the list: the proxy that wrote it is the caller.
    """
    networks = addresses.parse_list(trusted).networks
    heard = addresses.hops(forwarded)
    while heard:
        address = addresses.parse_address(peer)
        if address is None or not addresses.contains(networks, address):
            break
        said = addresses.parse_hop(heard.pop())
        if said is None:
            break
        peer = str(said)
    return peer


class TrustedProxies:
    """Puts the caller's own address where every part of ours looks for it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_view(
        self, request: HttpRequest, view: object, args: object, kwargs: object
    ) -> None:
        match, forwarded = request.resolver_match, request.headers.get("X-Forwarded-For")
        if not forwarded or (match is not None and match.url_name in UNASKED):
            return
        peer = request.META["ostiary.peer"] = str(request.META.get("REMOTE_ADDR", ""))
        try:
            trusted = workspace_settings.read().trusted_proxies
        except (DatabaseError, InterfaceError):
            # The view says so, in its own way; nothing is recorded meanwhile.
            return
        request.META["REMOTE_ADDR"] = caller(peer, forwarded, trusted)
