"""Calls of browsers' pages from other origins (WHATWG Fetch, section 3.2), in HAProxy's words."""

from collections.abc import Iterator

#: Whether the collection lets a browser's page of this origin call.
ORIGIN = "var(txn.p),field(2,/),concat(|,txn.origin),map_str(cors.map)"
ALLOWED_ORIGIN = "{ var(txn.cors) -m found }"
SHOWN_TO_PAGES = (
    "RateLimit, RateLimit-Policy, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining,"
    " X-RateLimit-Reset"
)


def cross_origin() -> Iterator[str]:
    """Let the page that called read the answer, refusals too."""
    yield "http-request set-var(txn.origin) req.fhdr(origin)"
    yield f"http-request set-var(txn.cors) {ORIGIN} if {{ var(txn.origin) -m found }}"
    header = "http-after-response set-header Access-Control"
    yield f"{header}-Allow-Origin %[var(txn.origin)] if {ALLOWED_ORIGIN}"
    yield f'{header}-Expose-Headers "{SHOWN_TO_PAGES}" if {ALLOWED_ORIGIN}'
    yield f"http-after-response add-header Vary Origin if {ALLOWED_ORIGIN}"


def preflight() -> Iterator[str]:
    """Answer a browser that asks before it calls; such a question has no credential."""
    asked = "METH_OPTIONS { req.fhdr(access-control-request-method) -m found }"
    yield f"http-request set-var(txn.origin) req.fhdr(origin) if {asked}"
    yield f"http-request set-var(txn.cors) {ORIGIN} if {asked}"
    headers = (
        ("Access-Control-Allow-Origin", "%[var(txn.origin)]"),
        ("Access-Control-Allow-Methods", "GET,HEAD,POST,PUT,PATCH,DELETE"),
        ("Access-Control-Allow-Headers", "%[req.fhdr(access-control-request-headers)]"),
        ("Access-Control-Max-Age", "600"),
        ("Vary", "Origin"),
    )
    shown = "".join(f' hdr {name} "{value}"' for name, value in headers)
    yield f"http-request return status 204{shown} if {asked} {ALLOWED_ORIGIN}"
