"""Stands in for authority and collector where a benchmark is of the gateway alone.

    stand_in.py UPCALL_SOCKET COUNTS_SOCKET [PROFILES [legacy]]

Every question for a block of a shared limit is answered with a hundredth of it. Every other question is answered with a lease that has a rate limit and a quota, and with `legacy` also the
X-RateLimit headers. Credentials are spread over so many profiles. Pushes are acknowledged and
forgotten.
"""

import asyncio
import sys
import time
import zlib
from functools import lru_cache
from typing import cast

from ostiary.gateway.contract import (
    STORE_STATES,
    BlockGrant,
    Lease,
    is_ask,
    read_ask,
    read_question,
    write_answer,
    write_grant,
)

#: Longer than any benchmark: no lease is asked about twice.
LEASE_SECONDS = 3600
#: Whether every answer has the X-RateLimit headers.
LEGACY = int("legacy" in sys.argv[3:])
RATE_LIMIT, QUOTA = 100_000_000, 900_000_000


@lru_cache(maxsize=10_000)
def lease(number: int, endpoint: int, collection: int, hour: int) -> bytes:
    """The framed lease of a profile for an endpoint."""
    start = hour * 3600
    answer = write_answer(
        Lease(
            profile=number, client=number, project=1, policy=1, collection=collection, endpoint=endpoint,
            credential=number, sequence=1, expires=start + 3600 + LEASE_SECONDS, ends=0, method=1,
            bound=0, would=0, report_only=0, legacy_headers=LEGACY, rates=f"{RATE_LIMIT}:60",
            rates_used="0:0", quota=QUOTA, quota_starts=start - start % 86_400,
            quota_ends=start - start % 86_400 + 30 * 86_400, quota_used=0,
            announced=f'"rate";q={RATE_LIMIT};w=60, "quota";q={QUOTA};w=2592000',
        )
    )  # fmt: skip
    return b"%d\n%s" % (len(answer), answer)


def grant(body: bytes) -> bytes:
    """The framed answer to a question for a block."""
    ask = read_ask(body)
    block = max(ask.need, ask.limit // 100)
    answer = write_grant(
        BlockGrant(
            granted=block, counted=ask.counted + block, left=max(0, ask.limit - ask.counted - block),
            low=block // 4, store=STORE_STATES["answers"],
        )
    )  # fmt: skip
    return b"%d\n%s" % (len(answer), answer)


class Authority(asyncio.Protocol):
    """One connection on which the gateway asks; see authority.upcalls for the frames."""

    profiles = 1

    def __init__(self) -> None:
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\n")) > 0:
            length = int(self._buffer[:end])
            if len(self._buffer) < end + 1 + length:
                return
            body = bytes(self._buffer[end + 1 : end + 1 + length])
            del self._buffer[: end + 1 + length]
            if is_ask(body):
                self._transport.write(grant(body))
                continue
            question = read_question(body)
            number = zlib.crc32(question.credential.encode("latin-1")) % self.profiles + 1
            hour = int(time.time()) // 3600
            self._transport.write(lease(number, question.endpoint, question.collection, hour))


async def _take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A push ends with an empty line, and is answered `ok`."""
    try:
        while await reader.readuntil(b"\n\n"):
            writer.write(b"ok\n")
            await writer.drain()
    except (asyncio.IncompleteReadError, OSError):
        pass
    finally:
        writer.close()


async def _serve(upcall: str, counts: str) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_unix_server(Authority, upcall, backlog=4096)
    await asyncio.start_unix_server(_take, counts, limit=64 * 1024 * 1024)
    await asyncio.Event().wait()


def main() -> None:
    import uvloop

    Authority.profiles = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(sys.argv[1], sys.argv[2]))


if __name__ == "__main__":
    main()
