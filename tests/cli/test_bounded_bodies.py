"""Bodies at the control port have a bound, before anything of them is kept."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from ostiary.cli.serving.bounded_bodies import LARGEST, MOST_DRAINED, BoundedBodies, bound

IMPORT = "/api/api_collections"


async def _application(scope: Any, receive: Any, send: Any) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


def _asked(path: str, pieces: Sequence[int], *, said: int | None, method: str) -> list[Any]:
    """What is sent for a request whose body comes in pieces of such sizes."""
    waiting = [
        {"type": "http.request", "body": bytes(size), "more_body": i < len(pieces)}
        for i, size in enumerate(pieces, start=1)
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [] if said is None else [(b"content-length", str(said).encode())]
    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    asyncio.run(BoundedBodies(_application)(scope, receive, send))
    return sent


@pytest.mark.parametrize(
    ("method", "path", "pieces", "said", "status"),
    [
        ("POST", "/api/connections", [LARGEST], LARGEST, 200),
        ("POST", "/api/connections", [0], LARGEST + 1, 413),
        ("POST", "/api/connections", [LARGEST, 1], None, 413),
        ("POST", "/api/connections", [LARGEST, 1, LARGEST], None, 413),
        ("POST", "/api/connections", [], 2 * MOST_DRAINED, 413),
        ("POST", "/api/connections", [LARGEST - 1, 1], None, 200),
        ("POST", IMPORT, [LARGEST, LARGEST], 2 * LARGEST, 200),
        ("POST", IMPORT, [LARGEST, LARGEST], None, 200),
        ("POST", IMPORT, [0], bound("POST", IMPORT) + 1, 413),
        ("PUT", IMPORT, [0], LARGEST + 1, 413),
        ("PUT", f"{IMPORT}/7/import", [LARGEST, LARGEST], 2 * LARGEST, 200),
        ("POST", "/collections/7/import", [LARGEST, LARGEST], 2 * LARGEST, 200),
        ("POST", "/collections/7/import/x", [0], LARGEST + 1, 413),
        ("POST", "/api/v2/plans", [LARGEST, LARGEST], 2 * LARGEST, 200),
        ("POST", f"{IMPORT}/7", [0], LARGEST + 1, 413),
        ("GET", "/", [0], None, 200),
    ],
)
def test_a_body_above_the_bound_of_its_path_is_refused(
    method: str, path: str, pieces: list[int], said: int | None, status: int
) -> None:
    start, body = _asked(path, pieces, said=said, method=method)
    assert start["status"] == status
    if status == 200:
        assert body["body"] == str(sum(pieces)).encode()
    else:
        assert b"larger than" in body["body"]
        assert (b"connection", b"close") in start["headers"]


def test_a_form_above_the_bound_gets_a_page_with_a_sentence() -> None:
    start, body = _asked("/clients/7/logo", [0], said=LARGEST + 1, method="POST")
    assert start["status"] == 413
    assert (b"content-type", b"text/html; charset=utf-8") in start["headers"]
    assert b"larger than 8 MB. Go back, choose a smaller file" in body["body"]
    start, body = _asked("/api/api_clients", [0], said=LARGEST + 1, method="POST")
    assert (b"content-type", b"application/json") in start["headers"]
