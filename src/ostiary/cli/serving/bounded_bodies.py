"""Bounds for bodies of requests at the control port.

Django writes a whole body to the disk before it looks who sends it.
"""

import json
import re
from typing import Any, Final

from ostiary.api import body_bounds
from ostiary.directory.catalog import openapi

MEGABYTE: Final = 1024 * 1024
#: Bytes of a body; the API and forms take less.
LARGEST: Final = 8 * MEGABYTE
#: Bytes of a form with a document that is imported.
LARGEST_FORM: Final = openapi.LARGEST + LARGEST
_DOCUMENT: Final = re.compile(r"POST /collections/(new|[0-9]+/import)")
#: Bytes that are read of a body that is refused; the connection of a caller with more is just closed.
MOST_DRAINED: Final = 256 * MEGABYTE


def bound(method: str, path: str) -> int:
    """How many bytes the body of a request may have."""
    if _DOCUMENT.fullmatch(f"{method} {path}"):
        return LARGEST_FORM
    return body_bounds.largest(method, path) or LARGEST


class _TooLarge(Exception):
    """The body of this request is above its bound; `more`: it has not come whole."""

    def __init__(self, *, more: bool) -> None:
        super().__init__()
        self.more = more


class BoundedBodies:
    """Answers a request with too large a body itself, and leaves everything else to the application."""

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        largest = bound(scope["method"], scope["path"])
        said = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if int(said) > largest:
            await _drain(receive, int(said))
            await _refuse(scope, send, largest)
            return
        taken, answering = 0, False

        async def counted() -> Any:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > largest:
                raise _TooLarge(more=message.get("more_body", False))
            return message

        async def noted(message: Any) -> None:
            nonlocal answering
            answering = True
            await send(message)

        try:
            await self._application(scope, counted, noted)
        except _TooLarge as error:
            if not answering:
                if error.more:
                    await _drain(receive, 0)
                await _refuse(scope, send, largest)


async def _drain(receive: Any, said: int) -> None:
    """Read the rest and forget it: many a caller reads no answer before it has sent all."""
    left = MOST_DRAINED
    while said <= MOST_DRAINED and left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        if not message.get("more_body", False):
            return


#: What a form's sender sees. It has no address of a page: where the form was may be anything.
PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Nothing was saved · Ostiary</title>
<h1>Nothing was saved</h1>
<p>What you sent is larger than {megabytes} MB. Go back, choose a smaller file, and send the form again.</p>
</html>
"""


async def _refuse(scope: Any, send: Any, largest: int) -> None:
    megabytes = largest // MEGABYTE
    kind, body = b"text/html; charset=utf-8", PAGE.format(megabytes=megabytes).encode()
    if scope["path"].startswith("/api/"):
        sentence = f"The body of this call is larger than {megabytes} MB"
        kind, body = (
            b"application/json",
            json.dumps({"message": sentence, "code": "too_large"}).encode(),
        )
    headers = [
        (b"content-type", kind),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        (b"cache-control", b"no-store"),
        (b"content-security-policy", b"default-src 'none'"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
