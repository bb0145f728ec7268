"""The upcall service: a bare ASGI application on the gateway's socket."""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ostiary import tracing
from ostiary.authority import measures
from ostiary.authority.answers import BadQuestion, read_question, write_answer
from ostiary.authority.deciding import answer
from ostiary.authority.lookup import Lookup
from ostiary.authority.proving import Prover
from ostiary.authority.traces import Traces
from ostiary.identity.tokens import fingerprint, looks_native

log = logging.getLogger(__name__)

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Mark = Callable[[str], Awaitable[None]]


class Upcalls:
    """Answers questions; whatever goes wrong is no answer, and the gateway refuses the call."""

    def __init__(self, lookup: Lookup, prover: Prover, traces: Traces, mark_bound: Mark) -> None:
        self._lookup, self._prover = lookup, prover
        self._traces, self._mark_bound = traces, mark_bound

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        with tracing.span("decide", scope["headers"]) as span:
            status, body = await self._answer(await _body(receive), span)
        await send({"type": "http.response.start", "status": status, "headers": _length(body)})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, body: bytes, span: tracing.Span) -> tuple[int, bytes]:
        began = time.perf_counter()
        try:
            question = read_question(body)
            verdict = await answer(
                question, self._prover, self._lookup, self._traces, int(time.time())
            )
            if verdict.bound and verdict.profile:
                await self._mark_bound(key_of(question.form, question.credential))
            measures.decided(verdict, began)
            span.tell(**measures.attributes(question, verdict))
            return 200, write_answer(verdict)
        except BadQuestion:
            return 400, b""
        except Exception:
            # Fail closed: the one broad except of a decision.
            log.exception("an upcall could not be answered")
            measures.failed(began)
            span.fail()
            return 500, b""


def key_of(form: str, credential: str) -> str:
    """The 65 characters by which the gateway knows a credential (see `gateway.rules`)."""
    if looks_native(credential):
        return credential
    return form + fingerprint(credential).hex().upper()


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        part: bytes = message.get("body", b"")
        body += part
        if not message.get("more_body"):
            return body


def _length(body: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", str(len(body)).encode())]
