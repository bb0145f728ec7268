"""The upcall service: questions of the gateway, framed by their length, on its socket.

A frame is the length of what follows in decimal, a line end, and a question or an answer of
`gateway.contract`. A connection carries one question at a time.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import cast

from ostiary import tracing
from ostiary.authority import measures
from ostiary.authority.ceilings import Busy, Gate
from ostiary.authority.deciding import answer, overloaded
from ostiary.authority.lookup import Lookup
from ostiary.authority.named_lists import NamedLists
from ostiary.authority.proving import Prover
from ostiary.authority.traces import Traces
from ostiary.gateway.contract import BadQuestion, read_question, write_answer

log = logging.getLogger(__name__)

#: A credential, and what goes with it; headers are bounded by nginx.
LONGEST = 128 * 1024


class Upcalls:
    """Answers questions; whatever goes wrong is no answer, and the gateway refuses the call."""

    def __init__(self, lookup: Lookup, prover: Prover, traces: Traces, gate: Gate) -> None:
        self._lookup, self._prover = lookup, prover
        self._traces, self._gate = traces, gate
        self._named = NamedLists(lookup)

    async def answer(self, body: bytes) -> bytes | None:
        """The answer to a question; nothing where there is none."""
        began = time.perf_counter()
        try:
            question = read_question(body)
        except BadQuestion:
            return None
        headers = {"traceparent": question.trace} if question.trace else {}
        with tracing.span("decide", headers) as span:
            try:
                verdict = await answer(
                    question,
                    self._prover,
                    self._lookup,
                    self._traces,
                    self._gate,
                    int(time.time()),
                    self._named,
                )
            except Busy:
                verdict = overloaded()
            except Exception:
                # Fail closed: the one broad except of a decision.
                log.exception("an upcall could not be answered")
                measures.failed(began)
                span.fail()
                return None
            measures.decided(verdict, began)
            span.tell(**measures.attributes(question, verdict))
            return write_answer(verdict)


class Connection(asyncio.Protocol):
    """One connection of a gateway's worker."""

    def __init__(self, upcalls: Upcalls) -> None:
        self._upcalls = upcalls
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # That of a stream server; uvloop's class isn't an asyncio.Transport.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._next()

    def _next(self) -> None:
        if self._task is not None or self._transport is None:
            return
        end = self._buffer.find(b"\n", 0, 8)
        head = bytes(self._buffer[:end])
        if end < 0:
            if len(self._buffer) >= 8:
                self._transport.abort()
            return
        if not head.isdigit() or int(head) > LONGEST:
            self._transport.abort()
            return
        length = int(head)
        if len(self._buffer) < end + 1 + length:
            return
        body = bytes(self._buffer[end + 1 : end + 1 + length])
        del self._buffer[: end + 1 + length]
        self._task = asyncio.get_running_loop().create_task(self._serve(body))

    async def _serve(self, body: bytes) -> None:
        answered = await self._upcalls.answer(body)
        self._task = None
        if self._transport is None:
            return
        if answered is None:
            self._transport.close()
            return
        self._transport.write(b"%d\n%s" % (len(answered), answered))
        self._next()


def protocol(upcalls: Upcalls) -> Callable[[], Connection]:
    """What makes a connection's protocol."""
    return lambda: Connection(upcalls)
