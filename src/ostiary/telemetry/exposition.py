"""Metrics between the parts of one machine: each serves its own on a socket, control collects them.

There is no protocol but this: whoever connects is sent the registry in Prometheus' text format,
and the connection ends. The event loop of the part itself answers, so an answer also tells that
the part is not stuck.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import Metric, disable_created_metrics, generate_latest
from prometheus_client.parser import text_string_to_metric_families

#: The parts that serve metrics here; the gateway has its own socket for them.
SUPERVISOR = "supervisor"
#: The one of `ostiary recipes`, which runs beside a gateway's.
RECIPES_SUPERVISOR = "recipes-supervisor"
PARTS = (SUPERVISOR, RECIPES_SUPERVISOR, "authority", "recipes", "collector", "publisher")
#: The largest answer that is read, in bytes; ours have a few thousand lines at most.
LARGEST = 4 * 1024 * 1024

disable_created_metrics()  # type: ignore[no-untyped-call]  # without types in the library


class PartSilent(Exception):
    """A part did not answer in time, or its answer has no metrics."""


def socket_path(run: Path, part: str) -> Path:
    """The socket where a part serves its metrics."""
    return run / f"{part}.metrics"


async def show(run: Path, part: str) -> asyncio.Server:
    """Serve this process's metrics as those of `part`, until the server is closed."""
    path = socket_path(run, part)
    path.unlink(missing_ok=True)
    # The folder is ours alone.
    return await asyncio.start_unix_server(_answer, path)


async def _answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.write(generate_latest())
        await writer.drain()
    writer.close()


def read(run: Path, part: str, *, seconds: float) -> list[Metric]:
    """The current metrics of a part; raises PartSilent."""
    give_up = time.monotonic() + seconds
    content = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(seconds)
            sock.connect(str(socket_path(run, part)))
            while chunk := sock.recv(65536):
                content += chunk
                left = give_up - time.monotonic()
                if left <= 0 or len(content) > LARGEST:
                    raise PartSilent(f"{part} does not come to an end")
                sock.settimeout(left)
        return list(text_string_to_metric_families(content.decode()))
    except (OSError, ValueError) as error:
        raise PartSilent(f"{part} does not answer") from error


def forget(run: Path, parts: Iterable[str]) -> None:
    """Delete sockets that stopped parts left behind, before others start."""
    for part in parts:
        socket_path(run, part).unlink(missing_ok=True)
