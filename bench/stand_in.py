"""Stands in for authority and collector where a benchmark is of the gateway alone.

    stand_in.py UPCALL_SOCKET COUNTS_SOCKET [PROFILES [legacy]]

Every question is answered with a lease that has a rate limit and a quota, and with `legacy` also the
X-RateLimit headers. Credentials are spread over so many profiles. Pushes are acknowledged and
forgotten.
"""

import asyncio
import sys
import time
import zlib
from typing import cast

from ostiary.gateway.contract import Lease, read_question, write_answer

#: Longer than any benchmark: no lease is asked about twice.
LEASE_SECONDS = 3600
#: Whether every answer has the X-RateLimit headers.
LEGACY = int("legacy" in sys.argv[3:])
RATE_LIMIT, QUOTA = 100_000_000, 900_000_000


def lease(credential: str, endpoint: int, collection: int, profiles: int) -> Lease:
    now = int(time.time())
    number = zlib.crc32(credential.encode("latin-1")) % profiles + 1
    return Lease(
        profile=number, client=number, policy=1, collection=collection, endpoint=endpoint,
        credential=number, sequence=1, expires=now + LEASE_SECONDS, ends=0, method=1, bound=0,
        would=0, report_only=0, legacy_headers=LEGACY,
        rates=f"{RATE_LIMIT}:60", rates_used="0:0", quota=QUOTA,
        quota_starts=now - now % 86_400, quota_ends=now - now % 86_400 + 30 * 86_400, quota_used=0,
        announced=f'"rate";q={RATE_LIMIT};w=60, "quota";q={QUOTA};w=2592000',
    )  # fmt: skip


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
            question = read_question(bytes(self._buffer[end + 1 : end + 1 + length]))
            del self._buffer[: end + 1 + length]
            answer = write_answer(
                lease(question.credential, question.endpoint, question.collection, self.profiles)
            )
            self._transport.write(b"%d\n%s" % (len(answer), answer))


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
