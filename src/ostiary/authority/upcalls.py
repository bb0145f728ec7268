"""The upcall service: questions of the gateway, framed by their length, on its socket.

A frame is the length of what follows in decimal, a line end, and a question or an answer of
`gateway.contract`. A connection carries one question at a time.
"""

import asyncio
import logging
import time
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, cast

from ostiary.authority import measures
from ostiary.authority.address_lists import NamedLists
from ostiary.authority.authentication import Prover
from ostiary.authority.budgets import Budgets
from ostiary.authority.ceilings import Busy, Gate
from ostiary.authority.decisions import answer, overloaded
from ostiary.authority.lookup import Lookup
from ostiary.authority.traces import Traces
from ostiary.gateway.contract import (
    BadQuestion,
    is_ask,
    read_ask,
    read_question,
    write_answer,
    write_grant,
)
from ostiary.telemetry import tracing

log = logging.getLogger(__name__)

Answering = Coroutine[Any, Any, bytes | None]

#: A credential, and what goes with it; headers are bounded by nginx.
LONGEST = 128 * 1024


class Upcalls:
    """Answers questions; on any error it sends no answer, and the gateway refuses the call."""

    def __init__(
        self,
        lookup: Lookup,
        prover: Prover,
        traces: Traces,
        gate: Gate,
        *,
        budgets: Budgets | None = None,
        at_once: bool = False,
    ) -> None:
        self._lookup, self._prover = lookup, prover
        self._traces, self._gate = traces, gate
        self._named = NamedLists(lookup)
        self._budgets = budgets
        #: Most answers need no task: the SQLite look-up returns without the event loop.
        self.at_once = at_once

    async def answer(self, body: bytes) -> bytes | None:
        """The answer to a question; nothing where there is none."""
        if is_ask(body):
            return await self._granted(body)
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
            if tracing.is_on():
                span.tell(**measures.attributes(question, verdict))
            return write_answer(verdict)

    async def _granted(self, body: bytes) -> bytes | None:
        if self._budgets is None:
            return None
        try:
            return write_grant(await self._budgets.grant(read_ask(body)))
        except BadQuestion:
            return None
        except Exception:
            # Fail closed, as above.
            log.exception("a block of a limit could not be granted")
            return None


class UpcallConnection(asyncio.Protocol):
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
        while self._task is None and self._transport is not None:
            body = self._next(self._transport)
            if body is None:
                return
            # A block of a limit comes from elsewhere, with a time limit, which a task must hold.
            self._begin(self._upcalls.answer(body), waits=is_ask(body))

    def _next(self, transport: asyncio.Transport) -> bytes | None:
        """The next whole question in the buffer."""
        end = self._buffer.find(b"\n", 0, 8)
        if end < 0:
            if len(self._buffer) >= 8:
                transport.abort()
            return None
        head = self._buffer[:end]
        if not head.isdigit() or int(head) > LONGEST:
            transport.abort()
            return None
        begin = end + 1
        end = begin + int(head)
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[begin:end])
        del self._buffer[:end]
        return body

    def _begin(self, answering: Answering, *, waits: bool) -> None:
        """Answer at once if nothing has to be waited for; a task costs a tenth of a decision."""
        if waits or not self._upcalls.at_once:
            self._task = asyncio.get_running_loop().create_task(self._finish(answering))
            return
        try:
            awaited = answering.send(None)
        except StopIteration as done:
            self._write(done.value)
        else:
            rest = self._finish(_rest(answering, awaited))
            self._task = asyncio.get_running_loop().create_task(rest)

    async def _finish(self, answering: Awaitable[bytes | None]) -> None:
        answered = await answering
        self._task = None
        self._write(answered)
        self.data_received(b"")

    def _write(self, answered: bytes | None) -> None:
        if self._transport is None:
            return
        if answered is None:
            self._transport.close()
            return
        self._transport.write(b"%d\n%s" % (len(answered), answered))


@types.coroutine
def _rest(begun: Answering, awaited: Any) -> Generator[Any, Any, bytes | None]:
    """The rest of a coroutine that was begun without a task, and waits for a future."""
    try:
        while True:
            try:
                value = yield awaited
            except BaseException as error:
                awaited = begun.throw(error)
            else:
                awaited = begun.send(value)
    except StopIteration as done:
        answered: bytes | None = done.value
        return answered


def protocol(upcalls: Upcalls) -> Callable[[], UpcallConnection]:
    """What makes a connection's protocol."""
    return lambda: UpcallConnection(upcalls)
